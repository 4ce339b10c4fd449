/**
 * Decides when a fetch can stop asking for haves: every want has an ancestor the client has. Only
 * then may a server say "ready" (gitprotocol-v2(5) "acknowledgments", gitprotocol-pack(5)
 * "multi_ack").
 */
import type { TaskWatch } from "../../pool/control.js";
import type { CommonAncestry } from "./tasks.js";
import { Commits, type CommitNode, knownCommits } from "./commits.js";
import type { ObjectReader } from "../packs/reader.js";
import { NONE } from "../packs/numbering.js";

/**
 * True when every wanted commit reaches a common one. Wants that are no commits say nothing and
 * count as reached. History older than the oldest common commit is not looked at, so that the cost
 * follows the difference; a wrong clock can then only make the answer "not yet".
 */
export async function allReachCommon(
  reader: ObjectReader,
  { wants, common, shallow }: CommonAncestry,
  watch: TaskWatch,
): Promise<boolean> {
  const commits = new Commits(reader);
  commits.cutAt(
    new Set(shallow.map((oid) => reader.locate(oid)).filter((number) => number !== NONE)),
  );
  const have = new Set(knownCommits(reader, common));
  if (have.size === 0) return false;
  let oldest = Number.POSITIVE_INFINITY;
  for (const number of have) oldest = Math.min(oldest, commits.node(number).date);
  const outcomes = new Map<number, boolean>([...have].map((number) => [number, true]));
  for (const want of knownCommits(reader, wants))
    if (!(await reaches(commits, want, outcomes, oldest, watch))) return false;
  return true;
}

interface Step {
  readonly number: number;
  readonly parents: readonly number[];
  next: number;
}

/**
 * Depth first. `outcomes` remembers every commit that was left: true for all on the way to a common
 * one, false for those left behind, so that many wants cost no more than one.
 */
async function reaches(
  commits: Commits,
  start: number,
  outcomes: Map<number, boolean>,
  oldest: number,
  watch: TaskWatch,
): Promise<boolean> {
  const known = outcomes.get(start);
  if (known !== undefined) return known;
  outcomes.set(start, false);
  const path: Step[] = [stepInto(commits, commits.node(start), oldest)];
  for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
    watch.step();
    if (watch.shouldYield()) await watch.turn();
    const parent = top.parents[top.next++];
    if (parent === undefined) {
      path.pop();
      continue;
    }
    const outcome = parent === NONE ? false : outcomes.get(parent);
    if (outcome === true) {
      for (const { number } of path) outcomes.set(number, true);
      return true;
    }
    if (outcome === false) continue;
    outcomes.set(parent, false);
    path.push(stepInto(commits, commits.node(parent), oldest));
  }
  return false;
}

function stepInto(commits: Commits, node: CommitNode, oldest: number): Step {
  return { number: node.number, parents: node.date < oldest ? [] : commits.parents(node), next: 0 };
}
