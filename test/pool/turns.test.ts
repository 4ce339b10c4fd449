/** Tasks that share a thread in turns. By itself: it measures how long somebody waits. */
import t, { type Test } from "tap";
import { Fault } from "../../src/base/fault.js";
import { LIMITS } from "../../src/base/limits.js";
import { loadKernels } from "../../src/cli/server/kernels.js";
import { createPool, type PoolOptions, type ThreadPool } from "../../src/pool/pool.js";
import { task } from "../../src/pool/task.js";
import type { RunOptions } from "../../src/pool/task.js";

const doors = new URL("./doors/", import.meta.url).href;
const kernelsModule = await loadKernels();

function pool(t: Test, options: Partial<PoolOptions> = {}): ThreadPool {
  const threads = createPool({ kernelsModule, threads: 2, doors, ...options });
  t.teardown(() => threads.close());
  return threads;
}

const codeOf = (error: unknown) => (error instanceof Fault ? error.code : String(error));

const sharedRun = (threads: ThreadPool, repository: string) => {
  const pool = threads.sharedBy({ repository, caller: repository });
  return (name: string, request = {}, options: RunOptions = {}) =>
    pool.run(task(`probe/${name}`), request as never, options) as Promise<unknown>;
};

t.test(
  "a long task gives its thread to another's that waits, and nobody waits longer than 250 ms for it",
  { timeout: 60_000 },
  async (t) => {
    const threads = pool(t, { threads: 1 });
    const [long, short] = [sharedRun(threads, "long"), sharedRun(threads, "short")];
    await short("echo");
    const running = long("share", { ms: 3_000 });
    const waits: number[] = [];
    for (let at = 0; at < 10; at++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      const asked = performance.now();
      await short("echo", { value: at });
      waits.push(performance.now() - asked);
    }
    t.ok(
      waits.every((ms) => ms < 250),
      waits.map(Math.round).join(" "),
    );
    t.ok(((await running) as { turns: number }).turns >= 5);
    t.equal(threads.figures().paused, 0);
  },
);

t.test("alone, or among tasks of one repository and caller, nobody gives up a turn", async (t) => {
  const threads = pool(t, { threads: 1 });
  const run = sharedRun(threads, "one");
  t.same(await Promise.all([run("share", { ms: 400 }), run("share", { ms: 400 })]), [
    { turns: 0 },
    { turns: 0 },
  ]);
});

t.test(
  "two long tasks of two callers share a thread in turns; a task of the background gives way and takes none",
  { timeout: 60_000 },
  async (t) => {
    const threads = pool(t, { threads: 1 });
    const ends: string[] = [];
    const note = (name: string) => (result: unknown) => {
      ends.push(name);
      return result as { turns: number };
    };
    const one = sharedRun(threads, "one")("share", { ms: 1_000 }).then(note("one"));
    const two = sharedRun(threads, "two")("share", { ms: 300 }).then(note("two"));
    const behind = sharedRun(threads, "three")(
      "share",
      { ms: 100 },
      { priority: "background" },
    ).then(note("behind"));
    t.ok((await one).turns >= 1, "the long one gave way");
    await two;
    await behind;
    t.equal(ends.at(-1), "behind");
  },
);

t.test(
  "a task that waits for its turn hears an abort, and the one that has it goes on",
  { timeout: 60_000 },
  async (t) => {
    const threads = pool(t, { threads: 1 });
    const abort = new AbortController();
    const first = sharedRun(threads, "one")("share", { ms: 2_000 }, { signal: abort.signal }).catch(
      codeOf,
    );
    await new Promise((resolve) => setTimeout(resolve, 400));
    const second = sharedRun(threads, "two")("listen", { ms: 800 });
    while (threads.figures().paused === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    abort.abort();
    t.equal(await second, "ran to its end");
    t.equal(await first, "base/aborted");
    t.match(threads.figures(), { paused: 0, running: 0, queued: 0, replaced: 0 });
    t.equal(await sharedRun(threads, "three")("echo", { value: 1 }), 1);
  },
);

t.test(
  "so many give up their turn in one thread and no more; all come to their end, though the pool shrinks meanwhile",
  { timeout: 60_000 },
  async (t) => {
    const threads = pool(t, { threads: 2, queueMax: 100 });
    const tasks = Array.from({ length: 30 }, (_, at) =>
      sharedRun(threads, `caller ${at}`)("share", { ms: 250 }),
    );
    let most = 0;
    const look = setInterval(() => {
      most = Math.max(most, threads.figures().paused);
    }, 10);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    threads.resize({ threads: 1, queueMax: 100 });
    t.equal((await Promise.all(tasks)).length, 30);
    clearInterval(look);
    t.ok(most > 0 && most <= 8, `${most} at once`);
    t.match(threads.figures(), { paused: 0, running: 0, threads: 1 });
  },
);

t.test(
  "a thread that dies takes with it the tasks that wait in it, and the pool goes on",
  { timeout: 60_000 },
  async (t) => {
    const threads = pool(t, { threads: 1 });
    const first = sharedRun(threads, "one")("share", { ms: 1_000 }).catch(codeOf);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const second = sharedRun(threads, "two")("die").catch(codeOf);
    t.equal(await second, "pool/worker-died");
    t.equal(await first, "pool/worker-died");
    t.equal(await sharedRun(threads, "three")("echo", { value: 1 }), 1);
    t.match(threads.figures(), { paused: 0, running: 0 });
  },
);

// Away --------------------------------------------------------------------------------------------

t.test(
  "tasks that wait for somebody else leave the thread to others, and come back one after the other",
  { timeout: 60_000 },
  async (t) => {
    const threads = pool(t, { threads: 1 });
    const heard: boolean[] = [];
    const waiting = ["one", "two", "three"].map((name) =>
      sharedRun(threads, name)(
        "away",
        { ms: 1_500 },
        { onAway: (isAway) => void heard.push(isAway) },
      ),
    );
    while (threads.figures().paused < 3) await new Promise((resolve) => setTimeout(resolve, 10));
    t.match(threads.figures(), { running: 0, queued: 0 });
    const asked = performance.now();
    t.equal(
      await sharedRun(threads, "one")("echo", { value: 1 }),
      1,
      "one of the same caller and repository, too",
    );
    t.ok(performance.now() - asked < 500, "at once");
    t.same(await Promise.all(waiting), ["came back", "came back", "came back"]);
    t.same(heard, [true, true, true, false, false, false]);
    t.match(threads.figures(), { paused: 0, running: 0 });
  },
);

t.test(
  "one that computes on gives those that are away their time, and they come back into the middle of it",
  { timeout: 60_000 },
  async (t) => {
    const threads = pool(t, { threads: 1 });
    const ends: string[] = [];
    const gone = sharedRun(threads, "gone")("away", { ms: 500 }).then(() => ends.push("gone"));
    while (threads.figures().paused === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    const long = sharedRun(threads, "long")("share", { ms: 3_000 }).then(() => ends.push("long"));
    await Promise.all([gone, long]);
    t.same(ends, ["gone", "long"]);
  },
);

t.test(
  "more than may be away keep the thread, and all come to their end",
  { timeout: 60_000 },
  async (t) => {
    const threads = pool(t, { threads: 1, queueMax: 100 });
    const many = LIMITS.taskAwayMax + 4;
    let [away, most] = [0, 0];
    const onAway = (isAway: boolean) => {
      away += isAway ? 1 : -1;
      most = Math.max(most, away);
    };
    const tasks = Array.from({ length: many }, (_, at) =>
      sharedRun(threads, `caller ${at}`)("away", { ms: 600 }, { onAway }),
    );
    t.same(await Promise.all(tasks), Array(many).fill("came back"));
    t.same([away, most], [0, LIMITS.taskAwayMax]);
    t.match(threads.figures(), { paused: 0, running: 0, queued: 0 });
  },
);

t.test(
  "one that is away hears an abort, dies with its thread, and ends with a pool that shrinks",
  { timeout: 60_000 },
  async (t) => {
    const threads = pool(t, { threads: 2 });
    const abort = new AbortController();
    let away = 0;
    const onAway = (isAway: boolean) => {
      away += isAway ? 1 : -1;
    };
    const aborted = sharedRun(threads, "one")(
      "away",
      { ms: 20_000 },
      { signal: abort.signal, onAway },
    ).catch(codeOf);
    const shrunk = sharedRun(threads, "two")("away", { ms: 1_000 }, { onAway });
    while (threads.figures().paused < 2) await new Promise((resolve) => setTimeout(resolve, 10));
    threads.resize({ threads: 1, queueMax: 10 });
    abort.abort();
    t.equal(await aborted, "base/aborted");
    t.equal(await shrunk, "came back");
    threads.resize({ threads: 1, queueMax: 10 });
    const dying = sharedRun(threads, "three")("away", { ms: 20_000 }, { onAway }).catch(codeOf);
    while (threads.figures().paused === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    t.equal(await sharedRun(threads, "four")("die").catch(codeOf), "pool/worker-died");
    t.equal(await dying, "pool/worker-died");
    t.equal(away, 0);
    t.match(threads.figures(), { paused: 0, running: 0, threads: 1 });
    t.equal(await sharedRun(threads, "five")("echo", { value: 1 }), 1);
  },
);
