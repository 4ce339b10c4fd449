/** Tasks that misbehave, for the pool's own tests. */
import { Fault } from "../../../src/base/fault.js";
import { TaskWatch } from "../../../src/pool/control.js";
import type { TaskControl } from "../../../src/pool/task.js";

type Request<T = unknown> = TaskControl & T;

export function echo({ value }: Request<{ value: unknown }>): unknown {
  return value;
}

export function fault(): never {
  throw new Fault("pack/bad-entry", { at: 12 });
}

export function bug(): never {
  throw new TypeError("a secret detail");
}

/** Runs until it is told to stop or `ms` are over; how it ended. */
export function listen({ control, ms }: Request<{ ms: number }>): string {
  const words = new Int32Array(control);
  for (const end = Date.now() + ms; Date.now() < end; )
    if (Atomics.load(words, 0) !== 0) throw new Fault("base/aborted");
  return "ran to its end";
}

/** Listens to nobody. */
export function deaf(): never {
  for (;;);
}

export function die(): never {
  process.exit(3);
}

/** Waits for something that never comes, with a thread that is otherwise well. */
export function wait({ ms }: Request<{ ms: number }>): Promise<string> {
  return new Promise((resolve) => setTimeout(() => resolve("waited"), ms));
}

/** Computes for `ms` and says at each look that it lives. */
export function compute({ control, ms }: Request<{ ms: number }>): string {
  const watch = new TaskWatch(control);
  for (const end = Date.now() + ms; Date.now() < end; ) watch.check();
  return "computed";
}

/**
 * Computes for `ms` in steps and gives up its turn where others wait: how often it did, and the
 * longest time without a look.
 */
export async function share({ control, ms }: Request<{ ms: number }>): Promise<{ turns: number }> {
  const watch = new TaskWatch(control);
  let turns = 0;
  let left = ms;
  for (let last = performance.now(); left > 0; ) {
    watch.check();
    const now = performance.now();
    left -= now - last;
    last = now;
    if (!watch.shouldYield()) continue;
    turns++;
    await watch.turn();
    last = performance.now();
  }
  return { turns };
}

/** Waits for `ms` with its thread left to others, or until it is told to stop. */
export async function away({ control, ms }: Request<{ ms: number }>): Promise<string> {
  const words = new Int32Array(control);
  await new TaskWatch(control).away(async () => {
    for (const end = Date.now() + ms; Date.now() < end && Atomics.load(words, 0) === 0; )
      await new Promise((wake) => setTimeout(wake, 5));
  });
  return "came back";
}
