/**
 * A pool without threads: it runs a task where it is asked for, by the same functions that the
 * doors of workers/ export. For unit tests; whoever tests turns, aborts or memory of threads needs
 * the real pool.
 */
import { checkAborted } from "../../src/base/flow.js";
import { loadKernels } from "../../src/cli/server/kernels.js";
import { AttributeRules, isLfsPath } from "../../src/git/gitattributes.js";
import type { Kernels } from "../../src/kernels/kernels.js";
import { plainKernels } from "../../src/kernels/plain.js";
import { hashPiece } from "../../src/lfs/hash-piece.js";
import { pointerWork } from "../../src/lfs/pushed-pointers.js";
import { conclude, trailer } from "../../src/odb/index-pack/conclude.js";
import { large } from "../../src/odb/index-pack/large.js";
import { resolve } from "../../src/odb/index-pack/resolve.js";
import { link, scan, type TaskParts } from "../../src/odb/index-pack/scan.js";
import { cut, join, segments } from "../../src/odb/index-pack/segments.js";
import { small } from "../../src/odb/index-pack/small.js";
import { fetchWork } from "../../src/odb/pack-objects/fetch-work.js";
import { pushWork } from "../../src/odb/walk/push-work.js";
import { CONTROL_ABORT, CONTROL_BYTES } from "../../src/pool/control.js";
import type { Asked, Pool, RunOptions, Task, TaskControl } from "../../src/pool/task.js";

type Run = (request: never) => unknown;

export interface InlinePool extends Pool {
  /** Names of the tasks that were asked for, in order. */
  readonly ran: string[];
}

export async function inlinePool(): Promise<InlinePool> {
  return poolOf(tasksOf({ module: await loadKernels(), kernels: plainKernels }));
}

/** A pool that knows these tasks alone: "door/function" to what is done. */
export function poolOf(tasks: Readonly<Record<string, Run>>): InlinePool {
  const ran: string[] = [];
  const pool: InlinePool = {
    threads: 1,
    ran,
    async run<Request extends TaskControl, Result>(
      { name }: Task<Request, Result>,
      request: Asked<Request>,
      { signal }: RunOptions = {},
    ): Promise<Result> {
      checkAborted(signal);
      const work = tasks[name];
      if (work === undefined) throw new Error(`no task ${name} here`);
      ran.push(name);
      const control = new SharedArrayBuffer(CONTROL_BYTES);
      const abort = () => void Atomics.store(new Int32Array(control), CONTROL_ABORT, 1);
      signal?.addEventListener("abort", abort, { once: true });
      try {
        return (await work({ ...request, control } as never)) as Result;
      } finally {
        signal?.removeEventListener("abort", abort);
      }
    },
    sharedBy: () => pool,
    checkRoom: () => undefined,
  };
  return pool;
}

function tasksOf(parts: TaskParts): Readonly<Record<string, Run>> {
  const ingest = { scan, cut, segments, join, link, resolve, large, small, conclude };
  return {
    "index-pack/trailer": trailer,
    ...Object.fromEntries(
      Object.entries(ingest).map(([name, work]) => [
        `index-pack/${name}`,
        (request: never) => (work as (request: never, parts: TaskParts) => unknown)(request, parts),
      ]),
    ),
    ...named("pack-objects", fetchWork(parts.kernels)),
    ...named("receive-pack", pushWork(parts.kernels)),
    ...named("lfs", { hash: hashPiece, ...lfsWork(parts.kernels) }),
  };
}

function lfsWork(kernels: Kernels) {
  return pointerWork(kernels, { parse: (text) => new AttributeRules(text), isLfs: isLfsPath });
}

function named(door: string, work: object): Record<string, Run> {
  return Object.fromEntries(
    Object.entries(work).map(([name, run]) => [`${door}/${name}`, run as Run]),
  );
}
