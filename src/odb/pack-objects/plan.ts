/**
 * From a set of objects to the plan of their pack. Objects go out in the order in which they are
 * stored (each pack as its writer laid it out: recent first, by type), so that what lies together
 * is copied together.
 */
import { PackPlan } from "../../git/pack-plan.js";
import { OBJECT_TYPE } from "../../git/oid.js";
import type { TaskWatch } from "../../pool/control.js";
import { MARK } from "../walk/commit-walk.js";
import type { ObjectReader } from "../packs/reader.js";
import { EntryHeader, type PackFile } from "../packs/entries.js";
import type { WalkedObjects } from "../walk/walk.js";

/** `thin`: bases that the client has may stay out of the pack. */
export async function planPack(
  reader: ObjectReader,
  walked: WalkedObjects,
  thin: boolean,
  watch: TaskWatch,
): Promise<PackPlan> {
  const plan = new PackPlan(walked.count);
  placeInOrder(reader, walked, plan);
  const header = new EntryHeader();
  for (let row = 0; row < plan.count; row++) {
    watch.step();
    if (watch.shouldYield()) await watch.turn();
    const pack = reader.space.packs[plan.pack[row] as number] as PackFile;
    pack.readHeader(plan.start[row] as number, header);
    if (!header.isDelta) plan.setPlace(row, "reuse");
    else placeDelta(reader, walked, plan, row, header, thin);
  }
  return plan;
}

function placeDelta(
  reader: ObjectReader,
  walked: WalkedObjects,
  plan: PackPlan,
  row: number,
  header: EntryHeader,
  thin: boolean,
): void {
  const at = plan.pack[row] as number;
  const near = header.type === OBJECT_TYPE.ofsDelta ? plan.find(at, header.baseOffset) : -1;
  if (near >= 0) {
    plan.setPlace(row, "delta", near);
    return;
  }
  const { space } = reader;
  const base = reader.baseNumber(space.packs[at] as PackFile, header);
  const marks = walked.marks[base] as number;
  if ((marks & MARK.sent) !== 0) {
    const pack = space.packIndex(base);
    const there = (space.packs[pack] as PackFile).lookup.offset(space.position(base));
    plan.setPlace(row, "delta", plan.find(pack, there));
  } else if (thin && (marks & MARK.uninteresting) !== 0) plan.setPlace(row, "thin");
  else plan.setPlace(row, "whole");
}

/** Fills `pack`, `start` and `end` of every row. */
function placeInOrder(
  { space }: ObjectReader,
  { count, marks, few }: WalkedObjects,
  plan: PackPlan,
): void {
  const sorted = few === undefined ? undefined : Float64Array.from(few).sort();
  let row = 0;
  for (let at = 0; at < space.packs.length && row < count; at++) {
    const { lookup } = space.packs[at] as PackFile;
    const first = space.starts[at] as number;
    const ranks =
      sorted === undefined
        ? markedRanks(lookup, marks, first)
        : ranksOf(lookup, sorted.subarray(row), first);
    const offsets = sorted === undefined ? lookup.offsets() : undefined;
    for (const rank of ranks) {
      plan.pack[row] = at;
      plan.start[row] =
        offsets === undefined ? lookup.offset(lookup.positionAt(rank)) : (offsets[rank] as number);
      plan.end[row] = offsets === undefined ? lookup.endAt(rank) : (offsets[rank + 1] as number);
      row++;
    }
  }
}

/**
 * Ranks of the objects of one pack that are to be sent, rising: its whole order is read off the
 * .rev.
 */
function* markedRanks(
  lookup: PackFile["lookup"],
  marks: Uint8Array,
  first: number,
): Generator<number> {
  for (let rank = 0; rank < lookup.count; rank++)
    if (((marks[first + lookup.positionAt(rank)] as number) & MARK.sent) !== 0) yield rank;
}

/**
 * Ranks, rising, of those of `numbers` (rising, from this pack on) that lie in the pack whose first
 * is `first`.
 */
function ranksOf(lookup: PackFile["lookup"], numbers: Float64Array, first: number): Float64Array {
  let own = 0;
  while (own < numbers.length && (numbers[own] as number) < first + lookup.count) own++;
  return numbers
    .slice(0, own)
    .map((number) => lookup.rankOf(lookup.offset(number - first)))
    .sort();
}
