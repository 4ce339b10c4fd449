/**
 * The tasks of a landing as a pool thread runs them: requests in (pool/landing-tasks), results out.
 */
import { parseCommit } from "../../git/commit.js";
import type { Kernels } from "../../kernels/kernels.js";
import { ObjectReader, threadReaderCaches } from "../../odb/packs/reader.js";
import { TaskWatch } from "../../pool/control.js";
import type {
  LandingTasks,
  NewCommitsRequest,
  NewCommitsResult,
  PushedCommit,
} from "../../pool/landing-tasks.js";
import type { PackHandle } from "../../pool/tasks.js";
import { buildTrees } from "./build-trees.js";
import { explainDifference } from "./tree-difference.js";

type Work<K extends keyof LandingTasks> = (
  request: LandingTasks[K]["request"],
) => LandingTasks[K]["result"] | Promise<LandingTasks[K]["result"]>;

export interface LandingWork {
  readonly newCommits: Work<"landing/newCommits">;
  readonly buildTrees: Work<"landing/buildTrees">;
  readonly rawObjects: Work<"landing/rawObjects">;
  readonly difference: Work<"landing/difference">;
}

export function landingWork(kernels: Kernels): LandingWork {
  const open = (packs: readonly PackHandle[]) =>
    new ObjectReader(packs, kernels, threadReaderCaches());
  return {
    newCommits: (request) => newCommits(open(request.packs), request),
    buildTrees: (request) => buildTrees(open(request.packs), request),
    rawObjects({ packs, oids }) {
      const reader = open(packs);
      // Copies: what inflate gives may be a part of a larger buffer, all of which a message would
      // take along.
      return oids.map((oid) => Uint8Array.from(reader.readOid(oid).data));
    },
    difference: ({ packs, pushed, read }) => explainDifference(open(packs), pushed, read),
  };
}

/** Breadth first from the tip, so that what is near it comes first. */
function newCommits(
  reader: ObjectReader,
  { tip, known, max, control }: NewCommitsRequest,
): NewCommitsResult {
  const watch = new TaskWatch(control);
  const seen = new Set(known);
  const queue = seen.has(tip) ? [] : [tip];
  const commits: PushedCommit[] = [];
  seen.add(tip);
  for (const oid of queue) {
    watch.step();
    if (commits.length === max) return { commits, complete: false };
    const { tree, parents } = parseCommit(reader.readAs("commit", reader.space.need(oid)));
    commits.push({ oid, tree, parents });
    for (const parent of parents) {
      if (seen.has(parent)) continue;
      seen.add(parent);
      queue.push(parent);
    }
  }
  return { commits, complete: true };
}
