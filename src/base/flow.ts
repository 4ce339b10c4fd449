/**
 * Bounded, abortable ways to wait. Every wait takes a signal; an abort frees what the waiter held.
 */
import { asFault, Fault } from "./fault.js";
import { LIMITS } from "./limits.js";

/**
 * Bytes that arrive over time. `read` answers the next chunk (a view valid until the next call),
 * undefined at the end. Not reading is the back-pressure. One reader at a time.
 */
export interface ByteSource {
  read(): Promise<Uint8Array | undefined>;

  /**
   * Gives back a chunk that `read` gave, to be written over: for sources of gigabytes, whose chunks
   * would wait for the collector. A chunk that may be given back stays what it is until then,
   * beyond the next `read`.
   */
  release?(chunk: Uint8Array): void;
}

/**
 * Bytes that leave over time. `write` resolves when the next write is welcome (the other end has
 * taken enough); the bytes are copied or sent before it resolves, the caller may reuse them.
 * Rejects once the other end is gone.
 */
export interface ByteSink {
  write(bytes: Uint8Array): Promise<void>;

  /**
   * Says how much there will be, for those carriers that must say so first (HTTP holds a reply of
   * unknown size back until it is whole, to send its length). A number, at most once: exactly so
   * many bytes from here on; a reply that ends short of them breaks off. "large", at any time: too
   * much to hold back, what is there leaves now.
   */
  expect?(total: number | "large"): void;
}

/** Throws "base/aborted" if `signal` is. */
export function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortFault(signal);
}

/**
 * Returns the failure of work that ran under `signal`. Where it says no more than that it was
 * abandoned, that is why `signal` was aborted.
 */
export function failureUnder(signal: AbortSignal | undefined, error: unknown): Fault {
  const fault = asFault(error);
  return signal?.aborted && fault.code === "base/aborted" ? abortFault(signal) : fault;
}

/**
 * Returns the failure as it is told to whom `signal` belongs: nobody who is still there has
 * abandoned anything.
 */
export function failureToTell(signal: AbortSignal, error: unknown): Fault {
  const fault = asFault(error);
  if (signal.aborted || fault.code !== "base/aborted") return fault;
  return new Fault("base/called-off", fault.facts, fault);
}

function abortFault(signal: AbortSignal): Fault {
  return signal.reason instanceof Fault
    ? signal.reason
    : new Fault("base/aborted", {}, signal.reason);
}

/**
 * `promise`, or a rejection as soon as `signal` aborts. The promise itself goes on: stop its work
 * by its own means.
 */
export function orAbort<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  if (signal.aborted) {
    promise.catch(() => undefined); // its failure is not this waiter's any more
    return Promise.reject(abortFault(signal));
  }
  return new Promise<T>((resolve, reject) => {
    const abort = () => reject(abortFault(signal));
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** Resolves after `ms`, rejects on abort. The timer does not keep the process alive. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const pause = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  return orAbort(pause, signal).finally(() => clearTimeout(timer));
}

/** Waits for `promise`, but no longer than `ms`; rejects as it does. */
export async function within(promise: Promise<unknown>, ms: number): Promise<void> {
  const over = new AbortController();
  try {
    await Promise.race([promise, sleep(ms, over.signal).catch(() => undefined)]);
  } finally {
    over.abort(); // no timer stays behind
  }
}

/**
 * Gives others their turn of the event loop: for whoever works through a list whose length a client
 * has chosen.
 *
 *   const turns = new Turns(signal);
 *   for (const item of items) { if (turns.isDue) await turns.next(); … }
 */
export class Turns {
  readonly #signal: AbortSignal | undefined;
  #startedMs = performance.now();

  constructor(signal?: AbortSignal) {
    this.#signal = signal;
  }

  /** True once this turn has taken `LIMITS.turnMs`. Costs some ten nanoseconds. */
  get isDue(): boolean {
    return performance.now() - this.#startedMs >= LIMITS.turnMs;
  }

  /** Goes on in the loop's next turn. Throws "base/aborted". */
  async next(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    checkAborted(this.#signal);
    this.#startedMs = performance.now();
  }
}

/** At most `permits` holders at once; others wait in order. */
export class Semaphore {
  #permits: number;
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(permits: number) {
    this.#permits = permits;
    this.#free = permits;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Nobody holds a permit and nobody waits for one. */
  get idle(): boolean {
    return this.#free === this.#permits;
  }

  /** From now on so many. Those who hold one keep it. */
  resize(permits: number): void {
    this.#free += permits - this.#permits;
    this.#permits = permits;
    for (const grant of this.#waiting) {
      if (this.#free <= 0) return;
      this.#free--;
      this.#waiting.delete(grant);
      grant();
    }
  }

  /** Runs `work` holding a permit. */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.#acquire(signal);
    try {
      return await work();
    } finally {
      this.#release();
    }
  }

  async #acquire(signal: AbortSignal | undefined): Promise<void> {
    checkAborted(signal);
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    let grant!: () => void;
    const granted = new Promise<void>((resolve) => {
      grant = resolve;
    });
    this.#waiting.add(grant);
    try {
      await orAbort(granted, signal);
    } catch (error) {
      // The permit may have been handed over in the same turn as the abort: pass it on.
      if (!this.#waiting.delete(grant)) this.#release();
      throw error;
    }
  }

  /** A holder needs its permit no more for now, and another may have it. */
  lend(): void {
    this.#release();
  }

  /**
   * Follows `lend` and waits for nobody: there may be more holders than permits then, until one has
   * done.
   */
  takeBack(): void {
    this.#free--;
  }

  #release(): void {
    if (this.#free < 0) {
      this.#free++;
      return;
    }
    for (const grant of this.#waiting) {
      this.#waiting.delete(grant);
      grant();
      return;
    }
    this.#free++;
  }
}

/**
 * Each item with what `work` makes of it, in order. The next item is taken and its work begun while
 * the one before is still under way: never more than two. Where either fails the other has ended
 * before it is told.
 */
export async function* lookAhead<T, R>(
  items: AsyncIterable<T>,
  work: (item: T) => Promise<R>,
): AsyncGenerator<{ readonly item: T; readonly result: R }> {
  let before: { readonly item: T; readonly result: Promise<R> } | undefined;
  try {
    for await (const item of items) {
      const result = work(item);
      result.catch(() => undefined); // seen when its turn comes
      const ready = before;
      before = { item, result };
      if (ready !== undefined) yield { item: ready.item, result: await ready.result };
    }
    const last = before;
    before = undefined;
    if (last !== undefined) yield { item: last.item, result: await last.result };
  } finally {
    await before?.result.catch(() => undefined); // somebody else's failure is being told
  }
}

interface Flight<T> {
  readonly promise: Promise<T>;
  readonly abort: AbortController;
  waiters: number;
}

/**
 * One run of a piece of work for everybody who asks for the same key at the same time. The work is
 * aborted when nobody waits for it any more.
 */
export class SingleFlight<K, T> {
  readonly #flights = new Map<K, Flight<T>>();

  get size(): number {
    return this.#flights.size;
  }

  async run(key: K, work: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    checkAborted(signal);
    const flight = this.#flights.get(key) ?? this.#start(key, work);
    flight.waiters++;
    try {
      return await orAbort(flight.promise, signal);
    } finally {
      flight.waiters--;
      if (flight.waiters === 0) {
        if (this.#flights.get(key) === flight) this.#flights.delete(key);
        flight.abort.abort();
      }
    }
  }

  #start(key: K, work: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const abort = new AbortController();
    const promise = work(abort.signal).finally(() => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    });
    promise.catch(() => undefined); // each waiter sees it; with none left nobody has to
    const flight: Flight<T> = { promise, abort, waiters: 0 };
    this.#flights.set(key, flight);
    return flight;
  }
}

/**
 * A queue of at most `capacity` items: `push` waits for room, `shift` waits for an item or the end.
 */
export class BoundedQueue<T> {
  readonly #items: T[] = [];
  readonly #capacity: number;
  #ended = false;
  #failure: unknown;
  #wake: (() => void)[] = [];

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  async push(item: T, signal?: AbortSignal): Promise<void> {
    while (this.#items.length >= this.#capacity && !this.#ended) await this.#change(signal);
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#ended) throw new Fault("base/aborted");
    this.#items.push(item);
    this.#changed();
  }

  /** No more items; those queued are still handed out. */
  end(): void {
    this.#ended = true;
    this.#changed();
  }

  /** Both sides fail from now on; queued items are dropped. */
  fail(error: unknown): void {
    this.#failure = error;
    this.#ended = true;
    this.#items.length = 0;
    this.#changed();
  }

  async shift(signal?: AbortSignal): Promise<T | undefined> {
    while (this.#items.length === 0 && !this.#ended) await this.#change(signal);
    if (this.#failure !== undefined) throw this.#failure;
    const item = this.#items.shift();
    this.#changed();
    return item;
  }

  #change(signal: AbortSignal | undefined): Promise<void> {
    const changed = new Promise<void>((resolve) => this.#wake.push(resolve));
    return orAbort(changed, signal);
  }

  #changed(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const resume of wake) resume();
  }
}
