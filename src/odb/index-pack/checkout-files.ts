/**
 * Blobs that a tree calls .gitmodules or .gitattributes: Git reads them on every checkout, so fsck
 * looks inside.
 */
import { readFileSync } from "node:fs";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { checkGitattributes } from "../../git/fsck/fsck.js";
import type { Refusal } from "../../git/fsck/refusal.js";
import type { Report } from "../../git/fsck/levels.js";
import { readSubmodules, submoduleRefusal } from "../../git/fsck/gitmodules.js";
import { type Oid, oidAt, oidBytes } from "../../git/oid.js";
import type { Kernels } from "../../kernels/kernels.js";
import { TaskWatch } from "../../pool/control.js";
import { LINK } from "../../kernels/abi.js";
import type { ConcludeRequest } from "./tasks.js";
import type { PackHandle } from "../packs/handle.js";
import type { Session } from "./session.js";
import { createReaderCaches, ObjectReader } from "../packs/reader.js";
import { NONE } from "../packs/numbering.js";
import { holdsId } from "../../git/sorted-ids.js";

/** Settings read between two looks at the control word. */
const SETTINGS_PER_LOOK = 1_024;
/** Bases of a few small files. */
const BASES_BYTES = 1024 * 1024;

/**
 * Throws "pack/fsck" for the first that Git would refuse, wherever it lies: another pack may hold
 * it under a name that nobody looks at. `own`: the new pack.
 */
export async function checkSpecials(
  session: Session,
  request: ConcludeRequest,
  own: OwnPack,
  { kernels, stored }: SpecialParts,
): Promise<void> {
  const names = collect(session, request);
  if (names.size === 0) return;
  if (names.size > LIMITS.specialFilesMax)
    throw new Fault("pack/too-much-work", { specialFilesMax: LIMITS.specialFilesMax });
  const watch = new TaskWatch(request.control);
  const caches = createReaderCaches(BASES_BYTES);
  const readers: SpecialReaders = {
    own: new ObjectReader([ownHandle(session, request, own)], kernels, caches),
    stored,
    promised: (request.promised ?? []).map((ids) => new Uint8Array(ids)),
  };
  try {
    for (const [oid, flags] of names) {
      watch.check();
      if (watch.shouldYield()) await watch.turn();
      const spend = (size: number) => session.spend(size * LIMITS.ingestJudgedWork);
      const refusal = await judge(readers, oid, flags, {
        watch,
        spend,
        report: session.reportOn(() => oid),
      });
      if (refusal === undefined) continue;
      throw new Fault("pack/fsck", {
        object: oid,
        id: refusal.id,
        message: `${refusal.id}: ${refusal.text}`,
      });
    }
  } finally {
    caches.blocks.close();
  }
}

export type OwnPack = Pick<PackHandle, "checksum" | "bytes">;

export interface SpecialParts {
  readonly kernels: Kernels;
  /** Reads the packs that were here before; made only when it is asked for. */
  readonly stored: () => ObjectReader;
}

interface SpecialReaders {
  readonly own: ObjectReader;
  readonly stored: () => ObjectReader;
  /** Tables of ids of blobs whose contents are still elsewhere. */
  readonly promised: readonly Uint8Array[];
}

function collect(session: Session, { marks }: ConcludeRequest): Map<Oid, number> {
  const names = new Map<Oid, number>();
  const add = (oid: Oid, flags: number) => names.set(oid, (names.get(oid) ?? 0) | flags);
  const { kernels } = session;
  const count = kernels.specialLinkCount();
  const list = session.view(kernels.specialLinks(), count * LINK.ENTRY_BYTES);
  const words = new DataView(list.buffer, list.byteOffset, list.length);
  for (let at = 0; at < list.length; at += LINK.ENTRY_BYTES)
    add(oidAt(list, at), words.getUint32(at + 20, true));
  for (const oid of marks.gitmodules) add(oid, LINK.IS_GITMODULES);
  for (const oid of marks.gitattributes) add(oid, LINK.IS_GITATTRIBUTES);
  return names;
}

/** The new pack as the reader of stored packs sees one. */
function ownHandle(
  { kernels }: Session,
  { path, idxPath, revPath }: ConcludeRequest,
  own: OwnPack,
): PackHandle {
  return {
    ...own,
    path,
    objectCount: kernels.recordCount(),
    idx: shared(idxPath),
    rev: shared(revPath),
  };
}

function shared(path: string): SharedArrayBuffer {
  const content = readFileSync(path);
  const copy = new SharedArrayBuffer(content.length);
  new Uint8Array(copy).set(content);
  return copy;
}

/**
 * The rules of one kind of look: its cost, whom it keeps waiting, and what becomes of its findings.
 */
interface Looking {
  readonly report: Report;
  readonly watch: TaskWatch;
  readonly spend: (size: number) => void;
}

async function judge(
  readers: SpecialReaders,
  oid: Oid,
  flags: number,
  looking: Looking,
): Promise<Refusal | undefined> {
  const isModules = (flags & LINK.IS_GITMODULES) !== 0;
  const refusal = isModules ? await judgeFile(readers, oid, "gitmodules", looking) : undefined;
  if (refusal !== undefined || (flags & LINK.IS_GITATTRIBUTES) === 0) return refusal;
  return judgeFile(readers, oid, "gitattributes", looking);
}

async function judgeFile(
  { own, stored, promised }: SpecialReaders,
  oid: Oid,
  file: "gitmodules" | "gitattributes",
  { watch, spend, report }: Looking,
): Promise<Refusal | undefined> {
  const reader = own.locate(oid) === NONE ? stored() : own;
  const number = reader.locate(oid);
  if (number === NONE) {
    if (promised.some((ids) => holdsId(ids, oidBytes(oid), 0))) return undefined;
    return report(`${file}Missing`, `unable to read .${file} blob`);
  }
  if (reader.type(number) !== "blob") return report(`${file}Blob`, `non-blob found at .${file}`);
  const size = reader.size(number);
  if (size > LIMITS.specialFileBytesMax)
    return report(`${file}Large`, `.${file} too large to parse`);
  spend(size);
  const { data } = reader.read(number);
  return file === "gitmodules"
    ? checkSubmodules(data, watch, report)
    : checkGitattributes(data, report);
}

/** git/fsck/fsck.ts → checkGitmodules, a file of a million settings in turns. */
async function checkSubmodules(
  data: Uint8Array,
  watch: TaskWatch,
  report: Report,
): Promise<Refusal | undefined> {
  const settings = readSubmodules(data);
  let next = settings.next();
  for (let count = 1; next.done !== true; next = settings.next()) {
    const refusal = submoduleRefusal(next.value, report);
    if (refusal !== undefined) return refusal;
    if (++count % SETTINGS_PER_LOOK !== 0) continue;
    watch.check();
    if (watch.shouldYield()) await watch.turn();
  }
  return next.value ? report("gitmodulesParse", "could not parse gitmodules blob") : undefined;
}
