/** One holder at a time, whoever sleeps, dies or comes back. */
import t, { type Test } from "tap";
import { asFault, type Fault } from "../../src/base/fault.js";
import { DiskStore } from "../../src/store/disk.js";
import { StoreLease } from "../../src/store/lease.js";
import { claimStore } from "../../src/store/claim.js";
import { tempFolder } from "../support/temp-folder.js";

const TIMES = { renewMs: 30, lapseMs: 300 };

async function storeOf(t: Test) {
  const store = new DiskStore(await tempFolder(t));
  const take = async (holder: string, lost: Fault[] = []) => {
    const options = { store, key: "server", holder, where: `host of ${holder}`, ...TIMES };
    const lease = await StoreLease.take({ ...options, onLost: (fault) => lost.push(fault) });
    t.teardown(() => lease.release());
    return lease;
  };
  return { store, take };
}

const faultOf = (work: Promise<unknown>) => work.then(() => undefined, asFault);
const pause = (ms: number) => new Promise((wake) => setTimeout(wake, ms));

t.test("one that lives keeps it; given back it is free at once", async (t) => {
  const { take } = await storeOf(t);
  const first = await take("a");
  const refused = await faultOf(take("b"));
  t.match(refused, { code: "store/held", message: /another lakepack \(host of a\) serves/ });
  await pause(100);
  t.match(await faultOf(take("b")), { code: "store/held" });
  await first.release();
  const began = performance.now();
  await take("b");
  t.ok(performance.now() - began < 200, "nobody waits");
});

t.test("one that died is replaced after a while, by itself at once", async (t) => {
  const { store, take } = await storeOf(t);
  const frozen = store.putIfMatch.bind(store);
  const lost: Fault[] = [];
  await take("a", lost);
  let isDead = true;
  store.putIfMatch = (key, bytes, tag, signal) =>
    isDead && Buffer.from(bytes).toString().startsWith("a\n")
      ? new Promise(() => undefined)
      : frozen(key, bytes, tag, signal);
  const began = performance.now();
  await take("b");
  t.ok(performance.now() - began >= TIMES.lapseMs, "not before it may be dead");
  isDead = false;
  t.same(await faultOf(take("b")), undefined, "who knows that the one before is dead");
});

t.test("one that slept is told that another has it", async (t) => {
  const { store, take } = await storeOf(t);
  const lost: Fault[] = [];
  await take("a", lost);
  const there = await store.get("server", 1_000);
  // As another one does it when nothing was heard for long enough.
  await store.putIfMatch("server", Buffer.from("b\nx\nhost of b\n"), there?.tag).catch(() => 0);
  const again = await store.get("server", 1_000);
  if (
    !Buffer.from(again?.bytes ?? [])
      .toString()
      .startsWith("b")
  )
    await store.putIfMatch("server", Buffer.from("b\ny\nhost of b\n"), again?.tag);
  await pause(150);
  t.match(lost, [{ code: "store/conflict" }], "once");
});

t.test("a place is one installation's", async (t) => {
  const { store } = await storeOf(t);
  await Promise.all([1, 2, 3].map(() => claimStore(store, "one")));
  await claimStore(store, "one");
  t.match(await faultOf(claimStore(store, "two")), { code: "store/claimed" });
  await store.delete("installation");
  await claimStore(store, "two");
});
