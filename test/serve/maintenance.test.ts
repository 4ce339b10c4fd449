/**
 * When the work that nobody waits for is done: soon after a change, once more when it is quiet, and
 * what of it an end of the server cuts short.
 */
import { mock } from "node:test";
import t from "tap";
import { LIMITS } from "../../src/base/limits.js";
import type { Log } from "../../src/observe/log.js";
import { Maintenance } from "../../src/serve/repositories/maintenance.js";

const warned: unknown[] = [];
const log = { warn: (...said: unknown[]) => void warned.push(said) } as unknown as Log;

t.beforeEach(() => mock.timers.enable({ apis: ["setTimeout"] }));
t.afterEach(() => mock.timers.reset());

/** Lets what the clock has begun come to its end. */
const settled = async () => {
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
};

t.test("work is done once, a little after the first change", async (t) => {
  const maintenance = new Maintenance(log);
  const done: string[] = [];
  const work = (name: string) => async () => void done.push(name);
  maintenance.plan("one", work("first"));
  maintenance.plan("one", work("again"));
  maintenance.plan("other", work("other"));
  mock.timers.tick(LIMITS.maintenanceDelayMs - 1);
  await settled();
  t.same(done, []);
  mock.timers.tick(1);
  await settled();
  t.same(done, ["first", "other"]);
  maintenance.plan("one", work("later"));
  mock.timers.tick(LIMITS.maintenanceDelayMs);
  await settled();
  t.same(done, ["first", "other", "later"]);
});

t.test(
  "what waits for quiet waits from the last change on, and leaves alone what is planned",
  async (t) => {
    const maintenance = new Maintenance(log);
    const done: string[] = [];
    for (let change = 0; change < 5; change++) {
      maintenance.planQuiet("one", async () => void done.push("quiet"));
      mock.timers.tick(LIMITS.maintenanceQuietMs - 1);
      await settled();
    }
    t.same(done, []);
    maintenance.plan("one", async () => void done.push("soon"));
    mock.timers.tick(1);
    await settled();
    t.same(done, ["quiet"]);
    mock.timers.tick(LIMITS.maintenanceDelayMs);
    await settled();
    t.same(done, ["quiet", "soon"], "both, one after the other");
  },
);

t.test(
  "a server that ends does what is planned, cuts short what can wait, and forgets what waits for quiet",
  async (t) => {
    const maintenance = new Maintenance(log);
    const done: string[] = [];
    maintenance.planQuiet("one", async () => void done.push("quiet"));
    maintenance.plan("one", async (signal, leaving) => {
      done.push("derived");
      await new Promise<void>((resolve) =>
        leaving.aborted
          ? resolve()
          : leaving.addEventListener("abort", () => resolve(), { once: true }),
      );
      done.push(signal.aborted ? "aborted" : "cut short");
    });
    mock.timers.tick(LIMITS.maintenanceDelayMs);
    await settled();
    t.same(done, ["derived"]);
    await maintenance.stop();
    mock.timers.tick(2 * LIMITS.maintenanceQuietMs);
    await settled();
    t.same(done, ["derived", "cut short"]);
    maintenance.plan("one", async () => void done.push("too late"));
    maintenance.planQuiet("one", async () => void done.push("too late"));
    mock.timers.tick(2 * LIMITS.maintenanceQuietMs);
    await settled();
    t.same(done, ["derived", "cut short"]);
    t.same(warned, []);
  },
);

t.test("who waits for work of his own has it done in turn, and hears how it ended", async (t) => {
  const maintenance = new Maintenance(log);
  const done: string[] = [];
  let end = (): void => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  maintenance.plan("one", async () => {
    await ended;
    done.push("planned");
  });
  mock.timers.tick(LIMITS.maintenanceDelayMs);
  const asked = maintenance.inTurn("one", async () => done.push("asked"));
  const refused = maintenance.inTurn("one", async () => {
    throw new Error("refused");
  });
  await settled();
  t.same(done, []);
  end();
  t.equal(await asked, 2);
  await t.rejects(refused, /refused/);
  t.same([done, warned], [["planned", "asked"], []]);
});
