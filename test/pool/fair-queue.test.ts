import t from "tap";
import { FairQueue } from "../../src/pool/fair-queue.js";
import type { Priority, TaskShare } from "../../src/pool/task.js";
import { seeded } from "../support/random.js";

const share = (repository: string, caller: string): TaskShare => ({ repository, caller });

/** Takes `count` tasks out, each running `ms` before the next: whose they were. */
function serve(queue: FairQueue<string>, count: number, ms = 10): string[] {
  const order: string[] = [];
  for (let at = 0; at < count; at++) {
    const next = queue.shift();
    if (next === undefined) break;
    order.push(next.item);
    queue.started(next.share);
    queue.ended(next.share, ms);
  }
  return order;
}

function fill(
  queue: FairQueue<string>,
  item: string,
  of: TaskShare,
  count: number,
  priority: Priority = "interactive",
): void {
  for (let at = 0; at < count; at++) queue.push({ item, share: of, priority });
}

const countOf = (order: readonly string[], item: string) =>
  order.filter((one) => one === item).length;

t.test("a caller who asks for everything shares with one who asks for little", async (t) => {
  const queue = new FairQueue<string>();
  for (let at = 0; at < 100; at++) fill(queue, "greedy", share(`repository ${at}`, "greedy"), 3);
  fill(queue, "modest", share("quiet", "modest"), 10);
  t.equal(countOf(serve(queue, 20), "modest"), 10, "half of the turns are the other's");
});

t.test("a repository everybody asks for shares with one that few ask for", async (t) => {
  const queue = new FairQueue<string>();
  for (let at = 0; at < 100; at++) fill(queue, "hot", share("hot", `caller ${at}`), 2);
  fill(queue, "quiet", share("quiet", "modest"), 10);
  t.equal(countOf(serve(queue, 20), "quiet"), 10);
});

t.test("time counts, not the number of tasks", async (t) => {
  const queue = new FairQueue<string>();
  fill(queue, "long", share("a", "a"), 100);
  fill(queue, "short", share("b", "b"), 100);
  let [long, short] = [0, 0];
  for (let at = 0; at < 100; at++) {
    const next = queue.shift();
    if (next === undefined) break;
    queue.started(next.share);
    const isLong = next.item === "long";
    queue.ended(next.share, isLong ? 90 : 10);
    if (isLong) long += 90;
    else short += 10;
  }
  t.ok(Math.abs(long - short) <= 100, `${long} ms and ${short} ms`);
});

t.test("who was away saves nothing up", async (t) => {
  const queue = new FairQueue<string>();
  fill(queue, "early", share("b", "early"), 1);
  serve(queue, 1);
  fill(queue, "busy", share("a", "busy"), 200);
  serve(queue, 100);
  fill(queue, "early", share("b", "early"), 100);
  const order = serve(queue, 40);
  t.ok(
    countOf(order, "busy") >= 18,
    `${countOf(order, "busy")} of 40 turns stay with the busy one`,
  );
});

t.test("interactive before background; within one share first come, first served", async (t) => {
  const queue = new FairQueue<string>();
  fill(queue, "background", share("a", "a"), 1, "background");
  fill(queue, "first", share("b", "b"), 1);
  fill(queue, "second", share("b", "b"), 1);
  t.same(serve(queue, 4), ["first", "second", "background"]);
});

t.test("what is taken out leaves no trace, whatever the order", async (t) => {
  const random = seeded(7);
  const queue = new FairQueue<string>();
  const waiting: Parameters<typeof queue.push>[0][] = [];
  for (let at = 0; at < 5_000; at++) {
    if (random.below(2) === 0) {
      const one = {
        item: String(at),
        share: share(`r${random.below(20)}`, `c${random.below(20)}`),
        priority: random.pick(["interactive", "background"] as const),
      };
      waiting.push(one);
      queue.push(one);
    } else if (waiting.length > 0) {
      const [one] = waiting.splice(random.below(waiting.length), 1);
      if (one !== undefined && !queue.remove(one)) t.fail("was there");
      if (one !== undefined && queue.remove(one)) t.fail("once only");
    }
    if (queue.size !== waiting.length) t.fail(`${queue.size} and ${waiting.length}`);
  }
  t.equal(serve(queue, 10_000).length, waiting.length);
  t.equal(queue.size, 0);
  t.equal(queue.waitingOf(share("r1", "c1")), 0);
});

t.test("100,000 callers cost little each", async (t) => {
  const started = performance.now();
  const queue = new FairQueue<string>();
  for (let at = 0; at < 100_000; at++) {
    fill(queue, "x", share("r", `c${at}`), 1);
    serve(queue, 1);
  }
  t.equal(queue.size, 0);
  t.ok(performance.now() - started < 10_000);
});

t.test("a paused task waits for its own thread, and before its pair's others", async (t) => {
  const queue = new FairQueue<string>();
  const [one, two] = [{}, {}];
  const mine = share("repository", "caller");
  fill(queue, "fresh", mine, 1);
  queue.push({ item: "paused", share: mine, priority: "interactive", on: one });
  t.equal(queue.size, 1, "one has not begun");
  t.equal(queue.waitingBeside(mine, "interactive"), 0, "none of another's waits");
  t.equal(queue.waitingBeside(share("other", "other"), "interactive"), 1);
  t.equal(queue.shiftPaused(two), undefined, "not on another thread");
  t.equal(queue.shift(one)?.item, "paused", "what was begun ends first");
  t.equal(queue.shift(one)?.item, "fresh");
  queue.push({ item: "paused", share: mine, priority: "background", on: one });
  fill(queue, "fresh", mine, 1);
  t.equal(queue.shift(two)?.item, "fresh");
  t.equal(queue.shift(two), undefined);
  t.equal(queue.shiftPaused(one)?.item, "paused");
});

t.test("tasks of the background do not make one of the foreground give way", async (t) => {
  const queue = new FairQueue<string>();
  fill(queue, "behind", share("other", "other"), 3, "background");
  t.equal(queue.waitingBeside(share("mine", "me"), "interactive"), 0);
  t.equal(queue.waitingBeside(share("mine", "me"), "background"), 3);
});
