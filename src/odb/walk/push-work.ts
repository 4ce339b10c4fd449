/** The tasks of a push as a pool thread runs them: requests in (tasks.ts), results out. */
import type { Kernels } from "../../kernels/kernels.js";
import { TaskWatch } from "../../pool/control.js";
import type {
  ObjectSummary,
  Unconnected,
  ancestorTask,
  connectedTask,
  describeTask,
} from "./tasks.js";
import type { PackHandle } from "../packs/handle.js";
import { AncestorWalks, ConnectivityWalk, describeObject } from "./connected.js";
import { ObjectReader, threadReaderCaches } from "../packs/reader.js";
import { ObjectNumbers } from "../packs/numbering.js";
import { PackLookup } from "../packs/lookup.js";
import type { Work } from "../../pool/task.js";

export interface PushWork {
  readonly describe: Work<typeof describeTask>;
  readonly connected: Work<typeof connectedTask>;
  readonly ancestor: Work<typeof ancestorTask>;
}

export function pushWork(kernels: Kernels): PushWork {
  const open = (packs: readonly PackHandle[]) =>
    new ObjectReader(packs, kernels, threadReaderCaches());
  return {
    async describe({ packs, oids, control }) {
      const reader = open(packs);
      const watch = new TaskWatch(control);
      const found: (ObjectSummary | undefined)[] = [];
      for (const oid of oids) {
        watch.step();
        if (watch.shouldYield()) await watch.turn();
        found.push(describeObject(reader, oid));
      }
      return found;
    },
    async connected({ packs, closed, tips, promised = [], control }) {
      const complete = new ObjectNumbers(
        packs
          .filter(({ checksum }) => closed.includes(checksum))
          .map((pack) => ({ lookup: new PackLookup(pack) })),
      );
      const walk = new ConnectivityWalk(
        open(packs),
        complete,
        new TaskWatch(control),
        promised.map((ids) => new Uint8Array(ids)),
      );
      const found: (Unconnected | undefined)[] = [];
      for (const tip of tips) found.push(await walk.below(tip));
      return found;
    },
    async ancestor({ packs, pairs, control }) {
      const walks = new AncestorWalks(open(packs), new TaskWatch(control));
      const found: boolean[] = [];
      for (const pair of pairs) found.push(await walks.isAncestor(pair.old, pair.new));
      return found;
    },
  };
}
