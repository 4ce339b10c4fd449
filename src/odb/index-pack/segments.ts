/**
 * Pass 1 of what is all here, in several pool threads: wasm/segments.ts says how the cuts are found
 * and why that is safe.
 */
import { closeSync, openSync } from "node:fs";
import { asFault, Fault, toRecord } from "../../base/fault.js";
import { CODE } from "../../kernels/codes.js";
import { TaskWatch } from "../../pool/control.js";
import type {
  CutRequest,
  CutResult,
  JoinRequest,
  ScanResult,
  SegmentResult,
  SegmentsRequest,
} from "./tasks.js";
import {
  openOrResume,
  readExactly,
  type TaskParts,
  WINDOW_BYTES,
  WINDOW_SLACK_BYTES,
} from "./scan.js";
import { Session } from "./session.js";

/**
 * Bytes looked through behind each cut. A stream that starts there and is longer than this is not
 * found: one part fewer.
 */
const PROBE_BYTES = 256 * 1024;
const CHECKSUM_BYTES = 20;
/** Above every offset. */
const NO_STOP = 2n ** 64n - 1n;

/** Guesses where entries start near `parts` - 1 cuts of what is not scanned yet. */
export function cut(request: CutRequest, { module }: TaskParts): CutResult {
  const { session, window } = openOrResume(request, module);
  session.setPackBytes(request.bytes);
  const { from } = request;
  const end = request.bytes - CHECKSUM_BYTES;
  const file = openSync(request.path, "r");
  const starts = [from];
  try {
    for (let part = 1; part < request.parts; part++) {
      const at = from + Math.floor(((end - from) * part) / request.parts);
      const length = Math.min(PROBE_BYTES, end - at);
      readExactly(file, session.view(window, length), at);
      const guess = session.kernels.findGuess(window, window + length);
      const offset = at + guess - window;
      if (guess !== 0 && offset > (starts.at(-1) as number) && offset < end) starts.push(offset);
    }
  } finally {
    closeSync(file);
  }
  const stops = session.reserve((starts.length + 1) * 8);
  new BigUint64Array(request.memory.buffer, stops, starts.length + 1).set(
    [...starts.slice(1), end].map(BigInt).concat(NO_STOP),
  );
  return { session: window, starts, stops };
}

/** The pack's file, and where its bytes are put for the kernels. */
interface ScanParts {
  readonly file: number;
  readonly window: number;
}

/**
 * Scans segments until none is left to begin. A failure is told, not thrown: it counts only if the
 * chain comes by.
 */
export async function segments(
  request: SegmentsRequest,
  { module }: TaskParts,
): Promise<readonly SegmentResult[]> {
  const results: SegmentResult[] = [];
  const next = new Int32Array(request.next);
  const file = openSync(request.path, "r");
  let window = 0;
  try {
    for (
      let part = Atomics.add(next, 0, 1);
      part < request.starts.length;
      part = Atomics.add(next, 0, 1)
    ) {
      const session = new Session(module, request.memory, { rules: request.rules });
      session.setPackBytes(request.bytes);
      if (window === 0) window = session.reserve(WINDOW_BYTES + WINDOW_SLACK_BYTES);
      results.push(await scanSegment(session, request, part, { file, window }));
    }
  } finally {
    closeSync(file);
  }
  return results;
}

async function scanSegment(
  session: Session,
  request: SegmentsRequest,
  part: number,
  { file, window }: ScanParts,
): Promise<SegmentResult> {
  const { kernels } = session;
  const start = request.starts[part] as number;
  const segment = kernels.openSegment(start, request.stops + 8 * part);
  if (segment === 0) throw new Fault("pack/too-large");
  const about = { segment, start, linkSet: kernels.currentLinkSet() };
  try {
    await readEntries(session, request, file, window);
    return { ...about, landed: kernels.scanPosition(), marks: session.marks, failure: undefined };
  } catch (error) {
    const fault = asFault(error);
    if (fault.code === "base/aborted") throw fault;
    return { ...about, landed: 0, marks: session.marks, failure: toRecord(fault) };
  }
}

async function readEntries(
  session: Session,
  request: SegmentsRequest,
  file: number,
  window: number,
): Promise<void> {
  const { kernels } = session;
  const watch = new TaskWatch(request.control);
  let position = kernels.scanPosition();
  while (!kernels.scanDone()) {
    watch.check();
    if (watch.shouldYield()) await watch.turn();
    const length = Math.min(WINDOW_BYTES, request.bytes - position);
    readExactly(file, session.view(window, length), position);
    const code = kernels.scan(window, window + length, position + length === request.bytes ? 1 : 0);
    if (code !== CODE.needMore) session.check(code);
    const before = position;
    position = kernels.scanPosition();
    if (code !== CODE.needMore || position !== before) continue;
    if (length < WINDOW_BYTES) throw new Fault("pack/truncated", { bytes: request.bytes });
    kernels.scanLargeNext();
  }
  kernels.flushScan();
  session.checkLinks();
}

/** Puts the segments of the chain together. */
export function join(request: JoinRequest, { module }: TaskParts): ScanResult {
  const session = new Session(module, request.memory);
  const { kernels } = session;
  for (const set of request.droppedLinkSets) kernels.dropLinkSet(set);
  for (const segment of request.chain) session.check(kernels.adoptSegment(segment));
  kernels.endSegments(request.bytes - CHECKSUM_BYTES);
  const counts = { objects: kernels.recordCount(), claimed: kernels.recordClaim() };
  if (counts.objects !== counts.claimed)
    throw new Fault("pack/bad-count", { objects: counts.objects, promised: counts.claimed });
  return {
    session: 0,
    position: kernels.scanPosition(),
    done: true,
    inside: false,
    ...counts,
    hashed: kernels.hashedCount(),
    marks: session.marks,
  };
}
