/** Guesses wait, and remembering who guessed takes bounded memory. */
import t from "tap";
import { FailedLogins, failedLoginWait } from "../../src/auth/failed-logins.js";
import { LIMITS } from "../../src/base/limits.js";

const { signal } = new AbortController();

t.test("a few cost nothing, each later one twice as long, up to a bound", async (t) => {
  const waits = Array.from({ length: 14 }, (_, at) => failedLoginWait(at + 1));
  t.same(waits, [0, 0, 0, 0, 0, 250, 500, 1_000, 2_000, 4_000, 4_000, 4_000, 4_000, 4_000]);
});

t.test("sources without number are forgotten, the longest quiet first", async (t) => {
  const failed = new FailedLogins();
  for (let at = 0; at < 5 * LIMITS.failedLoginSourcesMax; at++)
    await failed.failed(`source ${at}`, signal);
  t.equal(failed.sources, LIMITS.failedLoginSourcesMax);
});

t.test("of one source so many wait and no more; who goes makes room", async (t) => {
  const failed = new FailedLogins();
  for (let at = 0; at < LIMITS.failedLoginsFree; at++) await failed.failed("one", signal);
  const gone = new AbortController();
  const waiting = Array.from({ length: LIMITS.failedLoginQueueMax }, () =>
    failed.failed("one", gone.signal),
  );
  await t.rejects(failed.failed("one", signal), { code: "auth/throttled" });
  const first = await Promise.race([
    failed.failed("two", signal).then(() => "two"),
    Promise.race(waiting).catch(() => "one"),
  ]);
  t.equal(first, "two", "another source does not wait");
  gone.abort();
  for (const { status } of await Promise.allSettled(waiting)) t.equal(status, "rejected");
  const again = failed.failed("one", AbortSignal.timeout(20));
  await t.rejects(again, { code: /^base\/aborted$|undefined/ }, "it waits again: there is room");
});
