/**
 * The shortcut of a clone: where the wants reach everything that is stored, the answer is all of
 * it, and no tree need be read.
 *
 * Every pack must be closed (all links lead into closed packs), so nothing can lack; and every
 * object of a pack is reachable from the pack's tips (objects that nothing else in it links to). So
 * it is enough that each tip is met among the commits and tags reachable from the wants, or lies in
 * another pack that is reachable as a whole (the bases that complete a thin pack do).
 */
import type { Oid } from "../../git/oid.js";
import type { TaskWatch } from "../../pool/control.js";
import { MARK } from "./commit-walk.js";
import { type Commits, peel } from "./commits.js";
import { DateQueue } from "./date-queue.js";
import type { ObjectReader } from "../packs/reader.js";
import { NONE } from "../packs/numbering.js";

/** Tips of every closed pack, by checksum. */
export type PackTips = Readonly<Record<string, readonly Oid[]>>;

/**
 * Returns whether the wants reach everything that is stored. Commits are walked only as far back
 * as the oldest tip, newest first.
 */
export async function wantsReachEverything(
  commits: Commits,
  wants: readonly Oid[],
  packTips: PackTips,
  watch: TaskWatch,
): Promise<boolean> {
  const { space } = commits.reader;
  const tips = space.packs.map(({ handle }) =>
    packTips[handle.checksum]?.map((tip) => space.findOid(tip)),
  );
  if (space.packs.length === 0 || tips.some((each) => each === undefined || each.includes(NONE)))
    return false;
  const known = tips as number[][];
  const met = await meet(commits, wants, new Set(known.flat()), watch);
  return isCovered(commits.reader, known, met);
}

/**
 * Commits and tags reached from the wants, until all that are looked for are among them or history
 * is older than they are.
 */
async function meet(
  commits: Commits,
  wants: readonly Oid[],
  lookedFor: ReadonlySet<number>,
  watch: TaskWatch,
): Promise<ReadonlySet<number>> {
  const { reader } = commits;
  const met = new Set<number>();
  const queue = new DateQueue();
  const missing = new Set([...lookedFor].filter((tip) => reader.type(tip) === "commit"));
  let oldest = Number.POSITIVE_INFINITY;
  for (const tip of missing) oldest = Math.min(oldest, commits.node(tip).date);
  const add = (number: number): void => {
    if (met.has(number)) return;
    met.add(number);
    missing.delete(number);
    queue.push(commits.node(number));
  };
  for (const want of wants) {
    const { tags, target, type } = peel(reader, reader.space.need(want));
    for (const tag of tags) met.add(tag);
    if (type === "commit" && target !== NONE) add(target);
    else if (target !== NONE) met.add(target);
  }
  for (
    let node = queue.pop();
    node !== undefined && missing.size > 0 && node.date >= oldest;
    node = queue.pop()
  ) {
    watch.step();
    if (watch.shouldYield()) await watch.turn();
    for (const parent of commits.parents(node)) if (parent !== NONE) add(parent);
  }
  return met;
}

/**
 * Fixed point: a pack is covered when all its tips are reached or lie in a covered pack. Repeats
 * until nothing changes.
 */
function isCovered(
  reader: ObjectReader,
  tips: readonly (readonly number[])[],
  met: ReadonlySet<number>,
): boolean {
  const open = new Set(tips.keys());
  const lies = (tip: number): boolean => {
    const id = reader.space.oidView(tip);
    return reader.space.packs.some((pack, at) => !open.has(at) && pack.lookup.find(id, 0) >= 0);
  };
  for (let found = true; found && open.size > 0; ) {
    found = false;
    for (const at of open) {
      if (!(tips[at] as readonly number[]).every((tip) => met.has(tip) || lies(tip))) continue;
      open.delete(at);
      found = true;
    }
  }
  return open.size === 0;
}

/**
 * Returns a test of the objects to leave out of the pack at `at` of the numbering, by their
 * position in it.
 */
export type LeavesOut = (at: number) => Promise<(position: number) => boolean>;

/**
 * Marks every stored object as to be sent, once, under its number: one that an earlier pack of the
 * space holds too goes by that. Answers how many.
 */
export async function markAll(
  { space }: ObjectReader,
  marks: Uint8Array,
  watch: TaskWatch,
  leavesOut?: LeavesOut,
): Promise<number> {
  let count = 0;
  for (const [at, { lookup }] of space.packs.entries()) {
    const first = space.starts[at] as number;
    const earlier = space.packs.slice(0, at);
    const isLeftOut = await leavesOut?.(at);
    for (let position = 0; position < lookup.count; position++) {
      watch.step();
      if (watch.shouldYield()) await watch.turn();
      if (isLeftOut?.(position) === true) continue;
      const id = at === 0 ? undefined : lookup.oidView(position);
      if (id !== undefined && earlier.some((pack) => pack.lookup.find(id, 0) >= 0)) continue;
      marks[first + position] = MARK.sent;
      count++;
    }
  }
  return count;
}
