/**
 * Loaded into a server under test (`node --import`): how long its event loop was busy in one go. In
 * CPU time of that thread, not by the clock: the tests share their machine, and what others run is
 * no fault of the server. Writes {"turns":[milliseconds, largest first],"count":n} to
 * LOOP_MONITOR_FILE whenever that file has been removed.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { isMainThread } from "node:worker_threads";

const TICK_MS = 5;
const LOOK_MS = 100;
/** Turns told: one in a thousand of two minutes' ticks, and some. */
const TOLD_MAX = 200;

const file = process.env["LOOP_MONITOR_FILE"];
if (isMainThread && file !== undefined) watch(file);

function watch(target: string): void {
  const path = `/proc/self/task/${process.pid}/schedstat`;
  const cpuMs = () => Number(readFileSync(path, "latin1").split(" ", 1)[0]) / 1e6;
  let before = cpuMs();
  let turns: number[] = [];
  let lookedMs = performance.now();
  setInterval(() => {
    const now = cpuMs();
    turns.push(now - before);
    before = now;
    if (performance.now() - lookedMs < LOOK_MS) return;
    lookedMs = performance.now();
    if (existsSync(target)) return;
    const largest = Float64Array.from(turns).sort().reverse();
    writeFileSync(
      `${target}.new`,
      JSON.stringify({ turns: [...largest.subarray(0, TOLD_MAX)], count: turns.length }),
    );
    renameSync(`${target}.new`, target);
    turns = [];
    before = cpuMs();
  }, TICK_MS).unref();
}
