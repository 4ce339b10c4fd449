/**
 * The plain reading of a pack that lies in memory: entries in order, inflated. Reference for the
 * streaming reader in wasm/scan.ts and enough for small packs. gitformat-pack(5).
 */
import { createHash } from "node:crypto";
import { Fault } from "../../src/base/fault.js";
import { LIMITS } from "../../src/base/limits.js";
import type { Kernels } from "../../src/kernels/kernels.js";
import { OBJECT_TYPE, OID_BYTES, type Oid, oidAt } from "../../src/git/oid.js";
import { EntryHead, readEntryHead } from "../../src/git/pack-entry.js";

export interface PackEntry {
  /** 1 to 4 whole objects, 6 and 7 deltas. */
  readonly type: number;
  /** ofs-delta: where its base starts. */
  readonly baseOffset: number | undefined;
  /** ref-delta: its base. */
  readonly baseOid: Oid | undefined;
  readonly offset: number;
  /** Offset where the next entry starts. */
  readonly next: number;
  /** CRC-32 of the entry as it lies in the pack. */
  readonly crc: number;
  /** The object, or the delta. */
  readonly data: Uint8Array;
}

const HEADER_BYTES = 12;

/**
 * All entries. Throws "pack/bad-signature", "pack/bad-count", "pack/bad-trailer", and what an
 * entry's reading throws.
 */
export function parsePack(pack: Uint8Array, kernels: Kernels): PackEntry[] {
  const view = new DataView(pack.buffer, pack.byteOffset, pack.length);
  if (pack.length < HEADER_BYTES + OID_BYTES)
    throw new Fault("pack/truncated", { bytes: pack.length });
  const version = view.getUint32(4);
  if (view.getUint32(0) !== 0x5041434b || (version !== 2 && version !== 3))
    throw new Fault("pack/bad-signature", { version });
  const count = view.getUint32(8);
  const end = pack.length - OID_BYTES;
  const entries: PackEntry[] = [];
  let at = HEADER_BYTES;
  while (entries.length < count) {
    const entry = parseEntry(pack.subarray(0, end), at, kernels);
    entries.push(entry);
    at = entry.next;
  }
  if (at !== end) throw new Fault("pack/bad-count", { promised: count, excess: end - at });
  if (!createHash("sha1").update(pack.subarray(0, end)).digest().equals(pack.subarray(end)))
    throw new Fault("pack/bad-trailer");
  return entries;
}

function parseEntry(pack: Uint8Array, offset: number, kernels: Kernels): PackEntry {
  const head = new EntryHead();
  if (!readEntryHead(pack, offset, head)) throw new Fault("pack/truncated", { offset });
  if (head.size > LIMITS.deltaResultBytesMax)
    throw new Fault("pack/too-large", { offset, size: head.size });
  const inflated = kernels.inflate(pack, head.end, head.size);
  if (inflated === undefined) throw new Fault("pack/truncated", { offset });
  const next = head.end + inflated.consumed;
  const baseOffset = head.type === OBJECT_TYPE.ofsDelta ? head.baseOffset : undefined;
  const baseOid = head.type === OBJECT_TYPE.refDelta ? oidAt(pack, head.baseAt) : undefined;
  return {
    type: head.type,
    baseOffset,
    baseOid,
    offset,
    next,
    crc: kernels.crc32(pack.subarray(offset, next), 0),
    data: inflated.data,
  };
}
