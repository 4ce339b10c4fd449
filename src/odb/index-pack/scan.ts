/**
 * Pass 1 and the linking after it, in a pool thread. The work is in wasm/scan.ts and wasm/link.ts;
 * here bytes are fetched for it.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { OBJECT_TYPE, oidBytes } from "../../git/oid.js";
import { RECORD } from "../../kernels/abi.js";
import { CODE } from "../../kernels/codes.js";
import type { Kernels } from "../../kernels/kernels.js";
import { TaskWatch } from "../../pool/control.js";
import type { LinkRequest, LinkResult, ScanRequest, ScanResult } from "./tasks.js";
import { Session } from "./session.js";
import { ObjectReader, threadReaderCaches } from "../packs/reader.js";

/**
 * Bytes of the pack a kernel sees at once. Larger calls would stay in V8's baseline code: a running
 * one is never replaced.
 */
export const WINDOW_BYTES = 1024 * 1024;
/** Readable bytes behind the window: kernels look ahead. */
export const WINDOW_SLACK_BYTES = 64;

export interface TaskParts {
  readonly module: WebAssembly.Module;
  readonly kernels: Kernels;
}

/**
 * Takes what the spool holds from where the last call stopped. Throws "pack/…" at the first defect.
 */
export async function scan(request: ScanRequest, { module }: TaskParts): Promise<ScanResult> {
  const { session, window } = openOrResume(request, module);
  const { kernels } = session;
  session.setPackBytes(request.to);
  kernels.useFirstLinkSet();
  const file = openSync(request.path, "r");
  try {
    await scanSpool(session, request, window, file);
  } finally {
    closeSync(file);
  }
  const done = kernels.scanDone() !== 0;
  if (request.final && !done) throw cutFault(session, request.to);
  return {
    session: window,
    position: kernels.scanPosition(),
    done,
    inside: kernels.scanInLarge() !== 0,
    objects: kernels.recordCount(),
    claimed: kernels.recordClaim(),
    hashed: kernels.hashedCount(),
    marks: session.marks,
  };
}

/** The first call of an ingest opens its tables and makes the window; later ones find both. */
export function openOrResume(
  { memory, session: given, rules }: Pick<ScanRequest, "memory" | "session" | "rules">,
  module: WebAssembly.Module,
): { session: Session; window: number } {
  if (typeof given === "number")
    return { session: new Session(module, memory, { rules }), window: given };
  const session = new Session(module, memory, { settings: given, rules });
  return { session, window: session.reserve(WINDOW_BYTES + WINDOW_SLACK_BYTES) };
}

async function scanSpool(
  session: Session,
  request: ScanRequest,
  window: number,
  file: number,
): Promise<void> {
  const { kernels } = session;
  const watch = new TaskWatch(request.control);
  let position = kernels.scanPosition();
  while (position < request.to && !kernels.scanDone()) {
    watch.check();
    if (watch.shouldYield()) await watch.turn();
    const length = Math.min(WINDOW_BYTES, request.to - position);
    readExactly(file, session.view(window, length), position);
    const code = kernels.scan(
      window,
      window + length,
      request.final && position + length === request.to ? 1 : 0,
    );
    if (code !== CODE.needMore) session.check(code);
    const before = position;
    position = kernels.scanPosition();
    if (code !== CODE.needMore || position !== before) continue;
    if (length < WINDOW_BYTES) break; // the rest of this entry has not arrived
    kernels.scanLargeNext(); // a window full and no end of it: in pieces then
  }
  kernels.flushScan();
  session.checkLinks();
}

/**
 * Makes the fault of a spool that ended too early: fewer objects than promised, or in the middle of
 * one.
 */
function cutFault({ kernels }: Session, bytes: number): Fault {
  const left = bytes - kernels.scanPosition();
  const counts = { objects: kernels.recordCount(), promised: kernels.recordClaim() };
  // Where the next entry should be stands exactly a checksum: then the count is wrong, not the end.
  return left === 20 && !kernels.scanInLarge()
    ? new Fault("pack/bad-count", counts)
    : new Fault("pack/truncated", { bytes, ...counts });
}

export function readExactly(file: number, target: Uint8Array, position: number): void {
  for (let filled = 0; filled < target.length; ) {
    const count = readSync(file, target, filled, target.length - filled, position + filled);
    if (count === 0)
      throw new Fault("store/failed", {
        reason: "the spool is shorter than what was written to it",
      });
    filled += count;
  }
}

// Linking -----------------------------------------------------------------------------------------
/** Finds every delta's base, here or in `packs`, and orders the families for pass 2. */
export async function link(
  request: LinkRequest,
  { module, kernels: calls }: TaskParts,
): Promise<LinkResult> {
  const session = new Session(module, request.memory, { rules: request.rules });
  const { kernels } = session;
  kernels.useFirstLinkSet();
  if (kernels.uncheckedCount() > 0) await checkLarge(session, request);
  session.checkLinks();
  session.check(kernels.linkBases());
  session.spend(0); // linkBases has counted what the deltas make
  const externals = kernels.looseCount() === 0 ? 0 : await findExternals(session, request, calls);
  session.check(kernels.linkChildren());
  return {
    deltas: kernels.deltaCount(),
    externals,
    families: kernels.familyCount(),
    marks: session.marks,
  };
}

/**
 * Commits, trees and tags that were too large for the window are looked at now, one after the other
 * in one room.
 */
async function checkLarge(session: Session, request: LinkRequest): Promise<void> {
  const { kernels } = session;
  const watch = new TaskWatch(request.control);
  const file = openSync(request.path, "r");
  let room = 0;
  let roomBytes = 0;
  try {
    for (let index = 0, count = kernels.recordCount(); index < count; index++) {
      const record = session.record(index);
      if (!record.unchecked) continue;
      watch.check();
      if (watch.shouldYield()) await watch.turn();
      const start = record.offset + record.headerBytes;
      const packed =
        (index + 1 < count ? session.record(index + 1).offset : kernels.packEnd()) - start;
      const need = packed + record.size + 512;
      if (need > roomBytes) {
        if (need > 2 ** 31) throw new Fault("pack/too-large", session.facts(index));
        room = session.reserve(need);
        roomBytes = need;
      }
      const target = room + packed + 128;
      readExactly(file, session.view(room, packed), start);
      session.check(kernels.inflateWhole(room, room + packed, target, record.size));
      if (!kernels.checkObject(index, record.type, target, record.size)) session.check(CODE.ok);
      await session.judgeDeferred(watch);
    }
  } finally {
    closeSync(file);
  }
}

/** Bases of a thin pack: those our packs hold become records behind the pack's own. */
async function findExternals(
  session: Session,
  request: LinkRequest,
  calls: Kernels,
): Promise<number> {
  const { kernels } = session;
  if (request.packs.length === 0) return 0;
  const reader = new ObjectReader(request.packs, calls, threadReaderCaches());
  const numbers = new Map<string, number>();
  const list = new Uint32Array(
    session.memory.buffer,
    kernels.loose(),
    kernels.looseCount(),
  ).slice();
  const watch = new TaskWatch(request.control);
  const scaled = LIMITS.ingestMemoryBytesMin + kernels.packEnd() * LIMITS.ingestMemoryPerPackByte;
  const keepBytes = Math.min(request.keepBytes, scaled);
  let kept = 0;
  for (const index of list) {
    watch.step();
    if (watch.shouldYield()) await watch.turn();
    const { id } = session.record(index);
    let number = numbers.get(id);
    if (number === undefined) {
      const place = reader.locate(id);
      if (place < 0) continue; // perhaps another delta makes it
      number = numbers.size;
      const size = reader.size(place);
      session.spend(size * LIMITS.ingestBaseWork);
      const keep = size <= LIMITS.objectInMemoryBytesMax && kept + size <= keepBytes;
      if (keep) kept += size;
      addExternal(session, number, {
        type: OBJECT_TYPE[reader.type(place)],
        size,
        id: oidBytes(id),
        data: keep ? reader.read(place).data : undefined,
      });
      numbers.set(id, number);
    }
    kernels.setExternal(index, number);
  }
  return numbers.size;
}

interface External {
  readonly type: number;
  readonly size: number;
  readonly id: Uint8Array;
  /** Undefined: pass 2 reads it again. */
  readonly data: Uint8Array | undefined;
}

function addExternal(session: Session, number: number, { type, size, id, data }: External): void {
  const at = session.reserve((data?.length ?? 0) + 64);
  session.view(at, id.length).set(id);
  if (data !== undefined) session.view(at + 32, data.length).set(data);
  if (!session.kernels.addExternal(number, type, size, data === undefined ? 0 : at + 32, at))
    throw new Fault("pack/too-large");
}

/** True where `base` is a record number. */
export function isBase(base: number): boolean {
  return base !== RECORD.NONE;
}
