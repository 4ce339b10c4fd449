/** Blobs that a tree calls .gitmodules or .gitattributes: Git reads them on every checkout, so fsck looks inside. */
import { readFileSync } from "node:fs";
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import { checkGitattributes, checkGitmodules, type Refusal } from "../git/fsck.js";
import { type Oid, oidAt } from "../git/oid.js";
import type { Kernels } from "../kernels/kernels.js";
import type { ConcludeRequest } from "../pool/ingest-tasks.js";
import type { PackHandle } from "../pool/tasks.js";
import type { Session } from "./index-pack-session.js";
import { createReaderCaches, ObjectReader } from "./object-reader.js";
import { PackLookup } from "./pack-lookup.js";

/** wasm/links.ts: entries {id, flags} and two of the flags. */
const LINK_BYTES = 24;
const IS_GITMODULES = 32;
const IS_GITATTRIBUTES = 64;
/** Bases of a few small files. */
const BASES_BYTES = 1024 * 1024;

/** Throws "pack/fsck" for the first that Git would refuse. Those that other packs hold were looked at when they came. */
export function checkSpecials(session: Session, request: ConcludeRequest, checksum: string, bytes: number, kernels: Kernels): void {
  const names = collect(session, request);
  if (names.size === 0) return;
  const caches = createReaderCaches(BASES_BYTES);
  const reader = new ObjectReader([ownHandle(session, request, checksum, bytes)], kernels, caches);
  const others = request.packs.map((pack) => new PackLookup(pack));
  try {
    for (const [oid, flags] of names) {
      const refusal = judge(reader, others, oid, flags);
      if (refusal !== undefined) throw new Fault("pack/fsck", { object: oid, message: `${refusal.id}: ${refusal.text}` });
    }
  } finally {
    caches.blocks.close();
  }
}

function collect(session: Session, { marks }: ConcludeRequest): Map<Oid, number> {
  const names = new Map<Oid, number>();
  const add = (oid: Oid, flags: number) => names.set(oid, (names.get(oid) ?? 0) | flags);
  const { kernels } = session;
  const count = kernels.specialLinkCount();
  const list = session.view(kernels.specialLinks(), count * LINK_BYTES);
  const words = new DataView(list.buffer, list.byteOffset, list.length);
  for (let at = 0; at < list.length; at += LINK_BYTES) add(oidAt(list, at), words.getUint32(at + 20, true));
  for (const oid of marks.gitmodules) add(oid, IS_GITMODULES);
  for (const oid of marks.gitattributes) add(oid, IS_GITATTRIBUTES);
  return names;
}

/** The new pack as the reader of stored packs sees one. */
function ownHandle({ kernels }: Session, { path, idxPath, revPath }: ConcludeRequest, checksum: string, bytes: number): PackHandle {
  return { checksum, path, bytes, objectCount: kernels.recordCount(), idx: shared(idxPath), rev: shared(revPath) };
}

function shared(path: string): SharedArrayBuffer {
  const content = readFileSync(path);
  const copy = new SharedArrayBuffer(content.length);
  new Uint8Array(copy).set(content);
  return copy;
}

function judge(reader: ObjectReader, others: readonly PackLookup[], oid: Oid, flags: number): Refusal | undefined {
  const file = flags & IS_GITMODULES ? "gitmodules" : "gitattributes";
  const number = reader.locate(oid);
  if (number < 0) {
    if (others.some((pack) => pack.findOid(oid) >= 0)) return undefined;
    return { id: `${file}Missing`, text: `unable to read .${file} blob` };
  }
  if (reader.type(number) !== "blob") return { id: `${file}Blob`, text: `non-blob found at .${file}` };
  if (reader.size(number) > LIMITS.specialFileBytesMax) return { id: `${file}Large`, text: `.${file} too large to parse` };
  const { data } = reader.read(number);
  return (flags & IS_GITMODULES ? checkGitmodules(data) : undefined) ?? (flags & IS_GITATTRIBUTES ? checkGitattributes(data) : undefined);
}
