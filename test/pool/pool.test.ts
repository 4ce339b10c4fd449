import { setMaxListeners } from "node:events";
import t, { type Test } from "tap";
import { Fault } from "../../src/base/fault.js";
import { loadKernels } from "../../src/cli/server/kernels.js";
import { createPool, type PoolOptions, type ThreadPool } from "../../src/pool/pool.js";
import { task } from "../../src/pool/task.js";
import type { RunOptions } from "../../src/pool/task.js";

const doors = new URL("./doors/", import.meta.url).href;
const kernelsModule = await loadKernels();

/** A pool over the doors of these tests. */
function pool(
  t: Test,
  options: Partial<PoolOptions> = {},
): {
  run: (name: string, request?: object, options?: RunOptions) => Promise<unknown>;
  pool: ThreadPool;
} {
  const threads = createPool({ kernelsModule, threads: 2, doors, ...options });
  t.teardown(() => threads.close());
  return {
    pool: threads,
    run: (name, request = {}, runOptions = {}) =>
      threads.run(task(`probe/${name}`), request as never, runOptions),
  };
}

const codeOf = (error: unknown) => (error instanceof Fault ? error.code : String(error));

t.test("a task's result comes back, shared memory stays shared", async (t) => {
  const { run } = pool(t);
  const shared = new SharedArrayBuffer(4);
  const back = (await run("echo", { value: { shared, n: 1 } })) as { shared: SharedArrayBuffer };
  new Int32Array(shared)[0] = 7;
  t.equal(new Int32Array(back.shared)[0], 7);
});

t.test(
  "a fault keeps its code and facts across the threads; a bug becomes an internal error that says nothing",
  async (t) => {
    const { run } = pool(t);
    const fault = await run("fault").catch((error: unknown) => error);
    t.ok(fault instanceof Fault);
    t.match(fault, { code: "pack/bad-entry", facts: { at: 12 } });
    const bug = (await run("bug").catch((error: unknown) => error)) as Fault;
    t.equal(bug.code, "base/internal");
    t.notMatch(bug.message, /secret/);
  },
);

t.test("a running task hears an abort, and its thread lives on", async (t) => {
  const { run } = pool(t, { threads: 1 });
  const abort = new AbortController();
  const running = run("listen", { ms: 20_000 }, { signal: abort.signal }).catch(codeOf);
  setTimeout(() => abort.abort(), 100);
  const start = performance.now();
  t.equal(await running, "base/aborted");
  const why = new AbortController();
  const told = run("listen", { ms: 20_000 }, { signal: why.signal }).catch(codeOf);
  setTimeout(() => why.abort(new Fault("lakefs/replaced")), 100);
  t.equal(await told, "lakefs/replaced", "and the caller reads why it was aborted");
  t.ok(performance.now() - start < 4_000, "it was asked, not ended");
  t.equal(await run("echo", { value: 1 }), 1);
});

t.test("a waiting task leaves the queue when its caller goes", async (t) => {
  const { run } = pool(t, { threads: 1 });
  const first = run("listen", { ms: 400 });
  const abort = new AbortController();
  const second = run("bug", {}, { signal: abort.signal }).catch(codeOf);
  abort.abort();
  t.equal(await second, "base/aborted");
  t.equal(await first, "ran to its end");
});

t.test(
  "a task that does not listen is ended with its thread, and only its own request fails",
  async (t) => {
    const { run } = pool(t, { threads: 2 });
    const abort = new AbortController();
    const deaf = run("deaf", {}, { signal: abort.signal }).catch(codeOf);
    const other = run("listen", { ms: 500 });
    setTimeout(() => abort.abort(), 200);
    t.equal(await other, "ran to its end");
    t.equal(await deaf, "base/aborted");
    t.same(await Promise.all([run("echo", { value: 1 }), run("echo", { value: 2 })]), [1, 2]);
  },
);

t.test("a thread that dies fails its own request and is replaced", async (t) => {
  const { run } = pool(t, { threads: 1 });
  t.equal(await run("die").catch(codeOf), "pool/worker-died");
  t.equal(await run("echo", { value: 3 }), 3);
});

t.test("saturated: refused at once", async (t) => {
  const { run } = pool(t, { threads: 1, queueMax: 2 });
  const running = Array.from({ length: 3 }, () => run("listen", { ms: 300 }));
  t.equal(await run("echo").catch(codeOf), "pool/saturated");
  t.same(await Promise.all(running), Array(3).fill("ran to its end"));
  t.equal(await run("echo", { value: 1 }), 1);
});

t.test("interactive tasks go before background ones", async (t) => {
  const { run } = pool(t, { threads: 1 });
  const order: string[] = [];
  const note = (name: string) => () => order.push(name);
  const first = run("listen", { ms: 300 });
  const background = [1, 2, 3].map((at) =>
    run("echo", {}, { priority: "background" }).then(note(`background ${at}`)),
  );
  const interactive = [1, 2].map((at) =>
    run("echo", {}, { priority: "interactive" }).then(note(`interactive ${at}`)),
  );
  await Promise.all([first, ...background, ...interactive]);
  t.same(order, ["interactive 1", "interactive 2", "background 1", "background 2", "background 3"]);
});

t.test("who asks for much does not keep others waiting, nor fill the queue for them", async (t) => {
  const { run, pool: threads } = pool(t, { threads: 1, queueMax: 40 });
  const of = (repository: string, caller: string) => {
    const shared = threads.sharedBy({ repository, caller });
    return {
      shared,
      run: (name: string, request = {}) => shared.run(task(`probe/${name}`), request as never),
    };
  };
  const greedy = of("one", "greedy");
  const running = run("listen", { ms: 300 });
  const order: string[] = [];
  const many = Array.from({ length: 30 }, () =>
    greedy.run("listen", { ms: 20 }).then(() => order.push("greedy")),
  );
  t.throws(() => greedy.shared.checkRoom(), { code: "pool/saturated" }, "three quarters are his");
  t.equal(await greedy.run("echo").catch(codeOf), "pool/saturated");
  const modest = of("two", "modest");
  t.doesNotThrow(() => modest.shared.checkRoom(), "the rest is for others");
  await Promise.all(
    [1, 2, 3].map(() => modest.run("listen", { ms: 20 }).then(() => order.push("modest"))),
  );
  t.ok(
    order.filter((one) => one === "greedy").length <= 5,
    `${order.length} tasks ran until three of somebody else's were done`,
  );
  await Promise.all([running, ...many]);
});

t.test(
  "a task that shows no sign of life is ended, its request alone fails, and the thread is replaced",
  { timeout: 60_000 },
  async (t) => {
    const { run, pool: threads } = pool(t, { threads: 2, hangMs: 2_000 });
    const hung = run("deaf").catch(codeOf);
    t.equal(
      await run("compute", { ms: 5_000 }),
      "computed",
      "one that computes long and looks at its words goes on",
    );
    t.equal(await hung, "pool/worker-hung");
    t.equal(await run("wait", { ms: 4_000 }), "waited", "one that waits goes on");
    t.same(await Promise.all([run("echo", { value: 1 }), run("echo", { value: 2 })]), [1, 2]);
    t.equal(threads.figures().replaced, 1);
  },
);

t.test(
  "threads and queue change while tasks run, and none is dropped",
  { timeout: 60_000 },
  async (t) => {
    const { run, pool: threads } = pool(t, { threads: 1, queueMax: 100 });
    const results: unknown[] = [];
    const tasks = Array.from({ length: 60 }, (_, value) =>
      run("listen", { ms: 30 }).then(() => results.push(value)),
    );
    for (const [count, queueMax] of [
      [4, 100],
      [2, 1],
      [6, 3],
      [1, 100],
      [3, 50],
    ] as const) {
      await run("wait", { ms: 30 }).catch(codeOf);
      threads.resize({ threads: count, queueMax });
      t.match(threads.figures(), { threads: count, queueMax });
    }
    await Promise.all(tasks);
    t.equal(results.length, 60, "all came to their end");
    const [a, b, c] = [1, 2, 3].map(() => run("listen", { ms: 400 }));
    t.equal(threads.figures().running, 3, "three at once");
    threads.resize({ threads: 1, queueMax: 1 });
    const waiting = run("echo", { value: "waited" });
    t.equal(await run("echo").catch(codeOf), "pool/saturated", "the new limit holds");
    t.same(await Promise.all([a, b, c, waiting]), [...Array(3).fill("ran to its end"), "waited"]);
    t.equal(threads.threads, 1);
  },
);

t.test("every wait for a thread can be abandoned, by the hundred", async (t) => {
  const { run, pool: threads } = pool(t, { threads: 2, queueMax: 1_000 });
  const busy = [1, 2].map(() => run("listen", { ms: 300 }));
  const abort = new AbortController();
  setMaxListeners(0, abort.signal);
  const waiting = Array.from({ length: 700 }, () =>
    run("echo", {}, { signal: abort.signal }).catch(codeOf),
  );
  abort.abort();
  t.same(new Set(await Promise.all(waiting)), new Set(["base/aborted"]));
  t.equal(threads.figures().queued, 0);
  await Promise.all(busy);
  t.equal(await run("echo", { value: 1 }), 1);
});
