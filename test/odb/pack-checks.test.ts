/**
 * A repository of more packs than the pool's queue has room: they are looked at some at a time, and
 * no fetch is turned away for it.
 */
import t from "tap";
import { LIMITS } from "../../src/base/limits.js";
import { PackChecks } from "../../src/odb/packs/checks.js";
import type { Pool } from "../../src/pool/task.js";
import type { PackHandle } from "../../src/odb/packs/handle.js";

t.test("a thousand packs are checked a few at a time, once", async (t) => {
  let [running, most, runs] = [0, 0, 0];
  const pool = {
    run: async () => {
      most = Math.max(most, ++running);
      runs++;
      await new Promise((wake) => setImmediate(wake));
      running--;
      return true;
    },
  } as unknown as Pool;
  const packs = Array.from(
    { length: 1_000 },
    (_, at) => ({ path: `/p/${at}`, checksum: String(at), bytes: 100 }) as unknown as PackHandle,
  );
  const checks = new PackChecks();
  const { signal } = new AbortController();
  await Promise.all([checks.check(packs, pool, signal), checks.check(packs, pool, signal)]);
  await checks.check(packs, pool, signal);
  t.equal(runs, 1_000);
  t.ok(most <= LIMITS.packChecksAtOnce, `${most} at once`);
});
