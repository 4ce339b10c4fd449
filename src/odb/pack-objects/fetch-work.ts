/** The tasks of a fetch as a pool thread runs them: requests in (tasks.ts), results out. */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import type { Oid } from "../../git/oid.js";
import type { PackPlan } from "../../git/pack-plan.js";
import { TreeCursor } from "../../git/tree.js";
import type { Kernels } from "../../kernels/kernels.js";
import { LIMITS } from "../../base/limits.js";
import { TaskWatch } from "../../pool/control.js";
import type {
  foldTask,
  GenerateRequest,
  GenerateResult,
  generateTask,
  GenerationNews,
  helpTask,
  holdsTask,
  PlanFigures,
  resolvePathTask,
  sizesTask,
} from "./tasks.js";
import type { PacksRequest } from "../packs/handle.js";
import { TaskPort } from "../../pool/port.js";
import type { TaskControl, Work } from "../../pool/task.js";
import { Commits, peel } from "../walk/commits.js";
import { SharedDeflate } from "./shared-deflate.js";
import { checkHolds, foldPacks } from "./fold.js";
import { generatePack } from "./generation.js";
import { allReachCommon } from "../walk/negotiate.js";
import { ObjectReader, threadReaderCaches } from "../packs/reader.js";
import { NONE } from "../packs/numbering.js";
import { planPack } from "./plan.js";
import { findReachable } from "../walk/reachable.js";
import { findBoundary } from "../walk/shallow.js";
import { walkObjects } from "../walk/walk.js";
import type { deepenTask, negotiateTask, reachableTask } from "../walk/tasks.js";
import type { checkPackTask } from "../packs/tasks.js";

/** The tasks of a fetch over one thread's kernels. */
export interface FetchWork {
  readonly generate: Work<typeof generateTask>;
  readonly help: Work<typeof helpTask>;
  readonly negotiate: Work<typeof negotiateTask>;
  readonly deepen: Work<typeof deepenTask>;
  readonly reachable: Work<typeof reachableTask>;
  readonly sizes: Work<typeof sizesTask>;
  readonly resolve: Work<typeof resolvePathTask>;
  readonly check: Work<typeof checkPackTask>;
  readonly fold: Work<typeof foldTask>;
  readonly holds: Work<typeof holdsTask>;
}

export function fetchWork(kernels: Kernels): FetchWork {
  const open = ({ packs, control }: PacksRequest): [ObjectReader, TaskWatch] => [
    new ObjectReader(packs, kernels, threadReaderCaches()),
    new TaskWatch(control),
  ];
  return {
    generate: (request) => generate(request, ...open(request)),
    async help(request) {
      const [reader, watch] = open(request);
      const board = new SharedDeflate(request.board);
      let batches = 0;
      for (; board.help(reader, watch); batches++) if (watch.shouldYield()) await watch.turn();
      return batches;
    },
    negotiate(request) {
      const [reader, watch] = open(request);
      return allReachCommon(reader, request, watch);
    },
    deepen(request) {
      const [reader, watch] = open(request);
      return findBoundary(reader, request, watch);
    },
    reachable(request) {
      const [reader, watch] = open(request);
      return findReachable(reader, request, watch);
    },
    sizes(request) {
      const [reader, watch] = open(request);
      return sizes(reader, request.oids, watch);
    },
    resolve: (request) => resolvePath(open(request)[0], request.oid, request.path),
    check,
    fold: (request) => {
      const [reader, watch] = open(request);
      return foldPacks(
        reader,
        request.packs.map(({ checksum }) => checksum),
        request.path,
        watch,
      );
    },
    async holds({ packs, by, control }) {
      await checkHolds(packs, by, new TaskWatch(control));
      return undefined;
    },
  };
}

async function generate(
  request: GenerateRequest,
  reader: ObjectReader,
  watch: TaskWatch,
): Promise<GenerateResult> {
  const port = new TaskPort<GenerationNews>(request.port);
  const tell = (news: GenerationNews): void => port.tell(news);
  try {
    const started = performance.now();
    const walked = await walkObjects(reader, request.walk, watch, (objects) =>
      tell({ kind: "found", objects }),
    );
    const walkedAt = performance.now();
    const plan = await planPack(reader, walked, request.thin, watch);
    const figures = figuresOf(plan);
    tell({ kind: "planned", plan: figures });
    const plannedAt = performance.now();
    const pack = await generatePack(reader, plan, {
      path: request.path,
      ofsDelta: request.ofsDelta,
      watch,
      onWritten: (bytes, objects) => tell({ kind: "written", bytes, objects }),
      onBoard: (board) => tell({ kind: "board", board: board.message }),
    });
    const writeMs = performance.now() - plannedAt;
    return {
      ...pack,
      plan: figures,
      sizes: walked.sizes ?? { keptMax: -1, refusedMin: Number.POSITIVE_INFINITY },
      walkMs: walkedAt - started,
      planMs: plannedAt - walkedAt,
      writeMs,
    };
  } finally {
    port.close();
  }
}

function figuresOf({ count, tally, start, end }: PackPlan): PlanFigures {
  let storedBytes = 0;
  for (let row = 0; row < count; row++)
    storedBytes += (end[row] as number) - (start[row] as number);
  return {
    objects: count,
    deltas: tally.delta + tally.thin,
    reused: count - tally.whole,
    whole: tally.whole,
    storedBytes,
  };
}

async function sizes(
  reader: ObjectReader,
  oids: readonly Oid[],
  watch: TaskWatch,
): Promise<(number | undefined)[]> {
  const found: (number | undefined)[] = [];
  for (const oid of oids) {
    watch.step();
    if (watch.shouldYield()) await watch.turn();
    const number = reader.locate(oid);
    found.push(number === NONE ? undefined : reader.size(number));
  }
  return found;
}

/** "" is the tree itself. */
function resolvePath(reader: ObjectReader, oid: Oid, path: string): Oid | undefined {
  const start = reader.locate(oid);
  if (start === NONE) return undefined;
  const { target, type } = peel(reader, start);
  if (target === NONE || type === "blob") return undefined;
  let number = type === "commit" ? new Commits(reader).node(target).tree : target;
  for (const name of path.split("/").filter((part) => part !== "")) {
    if (number === NONE || reader.type(number) !== "tree") return undefined;
    number = entryNamed(reader, number, name);
  }
  return number === NONE ? undefined : reader.space.oid(number);
}

function entryNamed(reader: ObjectReader, tree: number, name: string): number {
  const cursor = new TreeCursor(reader.readAs("tree", tree));
  while (cursor.next())
    if (cursor.name === name) return reader.space.find(cursor.data, cursor.oidAt);
  return NONE;
}

/** Reads the whole file. A pack of ours from before a restart is hashed once, never again. */
async function check({ path, control }: TaskControl & { readonly path: string }): Promise<boolean> {
  const watch = new TaskWatch(control);
  const file = openSync(path, "r");
  try {
    const hash = createHash("sha1");
    const buffer = Buffer.allocUnsafe(LIMITS.streamChunkBytes);
    let tail = Buffer.alloc(0);
    for (let at = 0, read = 1; read > 0; at += read) {
      watch.check();
      if (watch.shouldYield()) await watch.turn();
      read = readSync(file, buffer, 0, buffer.length, at);
      // The last 20 bytes are the trailer: held back until more has come.
      const bytes = Buffer.concat([tail, buffer.subarray(0, read)]);
      const body = Math.max(0, bytes.length - 20);
      hash.update(bytes.subarray(0, body));
      tail = bytes.subarray(body);
    }
    return tail.length === 20 && tail.equals(hash.digest());
  } finally {
    closeSync(file);
  }
}
