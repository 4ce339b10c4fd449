/**
 * Finds the trees and blobs that the other side has: everything in the trees of its commits at
 * the boundary. Those trees are not read whole. They are compared with the trees to be sent, path
 * by path, and only where both sides have something at a path is it read: so the cost follows the
 * change, not the size of the tree. A folder that moved is sent again; Git's own sparse walk
 * (git-config(1) "pack.useSparse") decides the same way.
 */
import { LIMITS } from "../../base/limits.js";
import { TreeCursor } from "../../git/tree.js";
import type { TaskWatch } from "../../pool/control.js";
import { MARK } from "./commit-walk.js";
import type { ObjectReader } from "../packs/reader.js";
import { NONE } from "../packs/numbering.js";

/** The trees found at one path, on either side. */
type PathGroup = Set<number>;

/**
 * Marks as uninteresting what the trees in `theirs` and those in `ours` both hold at the same path,
 * down to the blobs beside a change. `theirs` themselves are marked too.
 */
export async function markEdgeTrees(
  reader: ObjectReader,
  marks: Uint8Array,
  theirs: readonly number[],
  ours: readonly number[],
  watch: TaskWatch,
): Promise<void> {
  for (const tree of theirs) setUninteresting(marks, tree);
  const waiting: PathGroup[] = [new Set([...theirs, ...ours])];
  let groupsLeft = LIMITS.edgeGroupsBase + LIMITS.edgeGroupsPerObject * reader.space.size;
  for (let group = waiting.pop(); group !== undefined; group = waiting.pop()) {
    // What is not marked is sent though the other side has it: a pack of folders within folders of
    // one tree gets larger, not wrong.
    if (groupsLeft-- <= 0) return;
    if (watch.shouldYield()) await watch.turn();
    if (!isMixed(marks, group)) continue;
    const children = new Map<string, PathGroup>();
    // Marks first: then an unchanged folder is seen to be unchanged whichever side is read first.
    for (const tree of group)
      if (isUninteresting(marks, tree)) readGroup(reader, marks, tree, true, children, watch);
    for (const tree of group)
      if (!isUninteresting(marks, tree)) readGroup(reader, marks, tree, false, children, watch);
    for (const child of children.values()) waiting.push(child);
  }
}

function isMixed(marks: Uint8Array, group: PathGroup): boolean {
  let ours = false;
  let theirs = false;
  for (const tree of group) {
    if (isUninteresting(marks, tree)) theirs = true;
    else ours = true;
  }
  return ours && theirs;
}

/** Marks the entries of a tree of theirs, and sorts subfolders by name into `children`. */
function readGroup(
  reader: ObjectReader,
  marks: Uint8Array,
  tree: number,
  theirs: boolean,
  children: Map<string, PathGroup>,
  watch: TaskWatch,
): void {
  watch.step();
  const cursor = new TreeCursor(reader.readAs("tree", tree));
  while (cursor.next()) {
    if (cursor.isGitlink || (!theirs && !cursor.isTree)) continue;
    const number = reader.space.find(cursor.data, cursor.oidAt);
    if (number === NONE) continue; // on our side the walk proper says so
    if (theirs) setUninteresting(marks, number);
    if (!cursor.isTree) continue;
    const { name } = cursor;
    const group = children.get(name);
    if (group === undefined) children.set(name, new Set([number]));
    else group.add(number);
  }
}

function isUninteresting(marks: Uint8Array, number: number): boolean {
  return ((marks[number] as number) & MARK.uninteresting) !== 0;
}

function setUninteresting(marks: Uint8Array, number: number): void {
  marks[number] = (marks[number] as number) | MARK.uninteresting;
}
