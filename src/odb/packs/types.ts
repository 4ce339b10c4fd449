/**
 * The types of all stored objects, from the heads of their entries: for a clone that leaves blobs
 * out and would else read every tree to learn which objects are none. Nothing is inflated; a delta
 * is what its base is, and that stands before it in a pack nearly always.
 */
import { OBJECT_TYPE } from "../../git/oid.js";
import type { TaskWatch } from "../../pool/control.js";
import type { ObjectReader } from "./reader.js";
import { EntryHeader, type PackFile } from "./entries.js";

/** Entries looked at per pack to guess how many trees there are. */
const SAMPLE = 64;
/**
 * A tree inflated and read costs as much as this many heads, a KiB of pack passed over as half a
 * head. Estimated from the row `blob:none` of `npm run bench -- fetch`: 1.7 s with 110,000 objects'
 * trees read, 0.31 s without.
 */
const HEADS_PER_TREE = 20;
const HEADS_PER_KIB = 0.5;

/**
 * Returns whether reading all heads is less work than reading all trees: not where a few trees
 * name large or many blobs.
 */
export function isCheaperThanTrees(reader: ObjectReader): boolean {
  let [heads, trees] = [0, 0];
  reader.space.packs.forEach(({ lookup, handle }, at) => {
    const looks = Math.min(SAMPLE, lookup.count);
    let found = 0;
    for (let look = 0; look < looks; look++) {
      const position = lookup.positionAt(Math.floor((look * lookup.count) / looks));
      if (reader.type((reader.space.starts[at] as number) + position) === "tree") found++;
    }
    if (looks > 0) trees += (found / looks) * lookup.count;
    heads += lookup.count + (handle.bytes / 1024) * HEADS_PER_KIB;
  });
  return heads < trees * HEADS_PER_TREE;
}

/**
 * OBJECT_TYPE of every object of the pack at `at` of the space, by position. Throws "odb/damaged".
 */
export async function storedTypes(
  reader: ObjectReader,
  at: number,
  watch: TaskWatch,
): Promise<Uint8Array> {
  const { lookup } = reader.space.packs[at] as PackFile;
  const types = new Uint8Array(lookup.count);
  const late: number[] = [];
  const header = new EntryHeader();
  const offsets = lookup.offsets();
  for (let rank = 0; rank < lookup.count; rank++) {
    watch.step();
    if (watch.shouldYield()) await watch.turn();
    const position = lookup.positionAt(rank);
    const type = typeAt(reader.space.packs[at] as PackFile, offsets[rank] as number, header, types);
    if (type === 0) late.push(position);
    types[position] = type;
  }
  for (const position of late)
    types[position] = OBJECT_TYPE[reader.type((reader.space.starts[at] as number) + position)];
  return types;
}

/** 0: its base comes later. */
function typeAt(pack: PackFile, offset: number, header: EntryHeader, types: Uint8Array): number {
  pack.readHeader(offset, header);
  if (!header.isDelta) return header.type;
  const base =
    header.type === OBJECT_TYPE.ofsDelta
      ? pack.lookup.positionOf(header.baseOffset)
      : pack.lookup.find(header.baseOid, 0);
  return base < 0 ? 0 : (types[base] as number);
}
