/**
 * The tasks of a landing as a pool thread runs them: requests in (tasks.ts), results out.
 */
import { parseCommit } from "../../git/commit.js";
import type { Kernels } from "../../kernels/kernels.js";
import { ObjectReader, threadReaderCaches } from "../../odb/packs/reader.js";
import { TaskWatch } from "../../pool/control.js";
import type {
  NewCommitsRequest,
  NewCommitsResult,
  PushedCommit,
  buildTreesTask,
  differenceTask,
  newCommitsTask,
  rawObjectsTask,
} from "./tasks.js";
import type { PackHandle } from "../../odb/packs/handle.js";
import { buildTrees } from "./build-trees.js";
import { explainDifference } from "./tree-difference.js";
import type { Work } from "../../pool/task.js";

export interface LandingWork {
  readonly newCommits: Work<typeof newCommitsTask>;
  readonly buildTrees: Work<typeof buildTreesTask>;
  readonly rawObjects: Work<typeof rawObjectsTask>;
  readonly difference: Work<typeof differenceTask>;
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
