import t from "tap";
import { Fault } from "../../src/base/fault.js";
import {
  BoundedQueue,
  failureToTell,
  failureUnder,
  lookAhead,
  orAbort,
  Semaphore,
  SingleFlight,
  sleep,
} from "../../src/base/flow.js";

const codeOf = (error: unknown) => (error instanceof Fault ? error.code : String(error));
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

t.test("orAbort ends with the signal, and listens to it no longer than it waits", async (t) => {
  const abort = new AbortController();
  const never = new Promise<void>(() => undefined);
  const waiting = orAbort(never, abort.signal).catch(codeOf);
  abort.abort();
  t.equal(await waiting, "base/aborted");
  t.equal(await orAbort(never, abort.signal).catch(codeOf), "base/aborted", "aborted before");
  t.equal(await orAbort(Promise.resolve(1), undefined), 1);
  const reason = new AbortController();
  reason.abort(new Fault("base/timeout"));
  t.equal(await orAbort(never, reason.signal).catch(codeOf), "base/timeout", "the reason is kept");
});

t.test("a failure of abandoned work: why, and what is told to who is still there", async (t) => {
  const gone = new Fault("base/aborted");
  const abort = new AbortController();
  t.equal(failureUnder(abort.signal, gone), gone, "not aborted: as it is");
  t.equal(failureToTell(abort.signal, gone).code, "base/called-off");
  abort.abort(new Fault("lakefs/replaced"));
  t.equal(failureUnder(abort.signal, gone).code, "lakefs/replaced");
  t.equal(failureUnder(abort.signal, new Fault("store/failed")).code, "store/failed");
  t.equal(failureUnder(undefined, gone), gone);
  t.equal(failureToTell(abort.signal, gone), gone, "nobody reads it");
});

t.test("a semaphore lets in as many as it has permits, in order", async (t) => {
  const gate = new Semaphore(2);
  let inside = 0;
  let most = 0;
  const order: number[] = [];
  await Promise.all(
    Array.from({ length: 10 }, (_, n) =>
      gate.run(async () => {
        order.push(n);
        most = Math.max(most, ++inside);
        await turn();
        inside--;
      }),
    ),
  );
  t.equal(most, 2);
  t.same(
    order,
    [...order].sort((a, b) => a - b),
  );
  t.ok(gate.idle);
});

t.test("an aborted waiter gives its place up and loses no permit", async (t) => {
  const gate = new Semaphore(1);
  let release!: () => void;
  const holding = gate.run(() => new Promise<void>((resolve) => (release = resolve)));
  const abort = new AbortController();
  const waiting = gate.run(async () => t.fail("ran after its abort"), abort.signal).catch(codeOf);
  const next = gate.run(async () => "ran");
  abort.abort();
  t.equal(await waiting, "base/aborted");
  release();
  await holding;
  t.equal(await next, "ran");
  t.ok(gate.idle);
});

t.test("a failing holder releases its permit", async (t) => {
  const gate = new Semaphore(1);
  await gate.run(() => Promise.reject(new Fault("base/timeout"))).catch(() => undefined);
  t.equal(await gate.run(async () => 7), 7);
});

t.test("single flight: one run for all who ask at the same time, a new one after", async (t) => {
  const flights = new SingleFlight<string, number>();
  let runs = 0;
  const work = async () => {
    await turn();
    return ++runs;
  };
  t.same(
    await Promise.all([flights.run("k", work), flights.run("k", work), flights.run("other", work)]),
    [1, 1, 2],
  );
  t.equal(await flights.run("k", work), 3);
  t.equal(flights.size, 0);
});

t.test(
  "single flight: the work goes on while one waiter is left and stops with the last",
  async (t) => {
    const flights = new SingleFlight<string, void>();
    let stopped = false;
    const work = (signal: AbortSignal) =>
      new Promise<void>((_, reject) =>
        signal.addEventListener("abort", () => {
          stopped = true;
          reject(new Fault("base/aborted"));
        }),
      );
    const [first, second] = [new AbortController(), new AbortController()];
    const waits = [flights.run("k", work, first.signal), flights.run("k", work, second.signal)].map(
      (wait) => wait.catch(codeOf),
    );
    first.abort();
    t.equal(await waits[0], "base/aborted");
    t.equal(stopped, false);
    second.abort();
    t.equal(await waits[1], "base/aborted");
    await turn();
    t.equal(stopped, true);
    t.equal(flights.size, 0);
  },
);

t.test("single flight: a failure reaches every waiter and is not kept", async (t) => {
  const flights = new SingleFlight<string, number>();
  const fail = () => Promise.reject(new Fault("store/failed"));
  t.same(
    await Promise.all([flights.run("k", fail).catch(codeOf), flights.run("k", fail).catch(codeOf)]),
    ["store/failed", "store/failed"],
  );
  t.equal(await flights.run("k", async () => 5), 5);
});

t.test("a bounded queue holds its capacity and no more, and ends in order", async (t) => {
  const queue = new BoundedQueue<number>(2);
  await queue.push(1);
  await queue.push(2);
  let third = false;
  const pushing = queue.push(3).then(() => (third = true));
  await turn();
  t.equal(third, false, "the third waits");
  t.equal(await queue.shift(), 1);
  await pushing;
  queue.end();
  t.same([await queue.shift(), await queue.shift(), await queue.shift()], [2, 3, undefined]);
  t.equal(await queue.push(4).catch(codeOf), "base/aborted");
});

t.test("a failed queue fails both sides at once", async (t) => {
  const queue = new BoundedQueue<number>(1);
  await queue.push(1);
  const pushing = queue.push(2).catch(codeOf);
  queue.fail(new Fault("store/failed"));
  t.equal(await pushing, "store/failed");
  t.equal(await queue.shift().catch(codeOf), "store/failed");
});

t.test("sleep ends early with its signal", { timeout: 5_000 }, async (t) => {
  const abort = new AbortController();
  const sleeping = sleep(2_000_000_000, abort.signal).catch(codeOf);
  abort.abort();
  t.equal(await sleeping, "base/aborted");
});

t.test(
  "looking ahead keeps the order and at most two under way, and lets both end before a failure is told",
  async (t) => {
    let underWay = 0;
    let most = 0;
    const work = async (item: number) => {
      most = Math.max(most, ++underWay);
      for (let turns = 0; turns < 5 - item; turns++) await turn();
      underWay--;
      if (item === 4) throw new Fault("base/timeout");
      return item * 10;
    };
    async function* items(last: number) {
      for (let item = 0; item <= last; item++) yield item;
    }
    const seen: number[][] = [];
    for await (const { item, result } of lookAhead(items(3), work)) seen.push([item, result]);
    t.same(seen, [
      [0, 0],
      [1, 10],
      [2, 20],
      [3, 30],
    ]);
    t.equal(most, 2);
    const failed = async () => {
      for await (const { item } of lookAhead(items(9), work)) seen.push([item]);
    };
    t.equal(await failed().catch(codeOf), "base/timeout");
    t.equal(underWay, 0);
    t.same(seen.slice(4), [[0], [1], [2], [3]]);
  },
);
