/**
 * Finds where a shallow fetch ends: the commits that become the client's boundary, and which of its
 * old ones are none any more.
 *
 * Source: gitprotocol-pack(5) "shallow-update"; git-fetch-pack(1) "--depth", "--shallow-since",
 * "--shallow-exclude", "--deepen-relative".
 */
import { Fault } from "../../base/fault.js";
import type { TaskWatch } from "../../pool/control.js";
import type { Boundary, DeepenBy, DeepenRequest } from "./tasks.js";
import { INFINITE_DEPTH } from "../../wire/depth.js";
import { walkCommits } from "./commit-walk.js";
import { Commits, knownCommits } from "./commits.js";
import type { ObjectReader } from "../packs/reader.js";
import { NONE } from "../packs/numbering.js";

/** Commits inside the new depth, and among them those at its edge. */
interface Reach {
  readonly edge: ReadonlySet<number>;
  readonly inside: ReadonlySet<number>;
}

/** Throws "odb/missing" where history ends before the depth does without being complete. */
export async function findBoundary(
  reader: ObjectReader,
  request: DeepenRequest,
  watch: TaskWatch,
): Promise<Boundary> {
  const commits = new Commits(reader);
  const client = new Set(
    request.clientShallow.map((oid) => reader.locate(oid)).filter((number) => number !== NONE),
  );
  const { edge, inside } = await reach(commits, request, client, watch);
  const { space } = reader;
  const unshallow = [...client].filter((number) => inside.has(number));
  const parents = new Set(unshallow.flatMap((number) => commits.node(number).parents));
  if (parents.has(NONE))
    throw new Fault("odb/missing", {
      reason: "history ends here; this repository is itself incomplete",
    });
  return {
    shallow: [...edge]
      .filter((number) => !client.has(number) && !inside.has(number))
      .map((number) => space.oid(number))
      .sort(),
    unshallow: unshallow.map((number) => space.oid(number)).sort(),
    parents: [...parents].map((number) => space.oid(number)).sort(),
  };
}

async function reach(
  commits: Commits,
  { wants, depth: asked, clientShallow }: DeepenRequest,
  client: ReadonlySet<number>,
  watch: TaskWatch,
): Promise<Reach> {
  const { reader } = commits;
  if (asked.by === "revisions")
    return reachByRevisions(commits, knownCommits(reader, wants), asked, watch);
  if (asked.depth === INFINITE_DEPTH) return { edge: new Set(), inside: client };
  if (!asked.relative)
    return reachByDepth(commits, knownCommits(reader, wants), asked.depth, watch);
  // From the client's boundary on: its commits are at depth 1.
  return reachByDepth(commits, knownCommits(reader, clientShallow), asked.depth + 1, watch);
}

/** Breadth first: a commit's depth is that of the shortest way to it. The starts have depth 1. */
async function reachByDepth(
  commits: Commits,
  starts: readonly number[],
  depth: number,
  watch: TaskWatch,
): Promise<Reach> {
  const met = new Set(starts);
  const inside = new Set<number>();
  let level = [...met];
  for (let at = 1; at < depth && level.length > 0; at++) {
    const next: number[] = [];
    for (const number of level) {
      watch.step();
      if (watch.shouldYield()) await watch.turn();
      inside.add(number);
      const node = commits.node(number);
      for (const parent of node.parents) {
        if (parent === NONE) throw commits.missingLink(node);
        if (met.has(parent)) continue;
        met.add(parent);
        next.push(parent);
      }
    }
    level = next;
  }
  return { edge: new Set(level), inside };
}

/**
 * Commits newer than `since` that nothing in `not` reaches; those with a parent that is left out
 * are the edge.
 */
async function reachByRevisions(
  commits: Commits,
  wants: readonly number[],
  { since, not }: Extract<DeepenBy, { by: "revisions" }>,
  watch: TaskWatch,
): Promise<Reach> {
  const { reader } = commits;
  const range = {
    wants,
    haves: knownCommits(reader, not),
    ...(since === undefined ? {} : { since }),
  };
  const walked = await walkCommits(commits, new Uint8Array(reader.space.size), range, watch);
  if (walked.commits.length === 0)
    throw new Fault("wire/bad-request", { reason: "no commits selected for shallow requests" });
  const selected = new Set(walked.commits.map(({ number }) => number));
  const edge = new Set<number>();
  for (const { number, parents } of walked.commits) {
    if (parents.some((parent) => !selected.has(parent))) edge.add(number);
  }
  return {
    edge: reachedEdge(commits, wants, selected, edge),
    inside: new Set([...selected].filter((number) => !edge.has(number))),
  };
}

/**
 * The edge commits that the client will really have: the parents of an edge commit are cut off, and
 * another one may be among them. Git announces those too; a client that was told so cannot be
 * unshallowed any more ("error in object: unshallow").
 */
function reachedEdge(
  commits: Commits,
  wants: readonly number[],
  selected: ReadonlySet<number>,
  edge: ReadonlySet<number>,
): ReadonlySet<number> {
  const met = new Set(wants.filter((want) => selected.has(want)));
  for (const number of met) {
    if (edge.has(number)) continue;
    for (const parent of commits.node(number).parents) if (selected.has(parent)) met.add(parent);
  }
  return new Set([...edge].filter((number) => met.has(number)));
}
