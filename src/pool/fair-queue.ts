/**
 * The order in which waiting tasks get a thread: interactive before background, and within each who
 * has had less. Everybody's time on threads is counted twice, for the repository and for the
 * caller, and a task waits behind whichever of its two has had more: neither a caller who asks for
 * everything nor a repository that everybody asks for keeps others waiting.
 *
 * A task that has given up its turn waits like the others, for its own thread. It goes before those
 * of its pair of repository and caller that have not begun: what was begun ends first, and no pair
 * has two tasks waiting in one thread.
 *
 * Who comes new starts at what the last one served had had (start-time fair queueing), so nobody
 * saves up a right to all threads.
 */
import type { Priority, TaskShare } from "./task.js";

/**
 * Milliseconds a task is taken to cost while it runs: a thread that is given away counts before it
 * comes back.
 */
const ASSUMED_MS = 20;
/**
 * Shares kept beyond those in use, so that a short pause does not wipe out what somebody has had.
 */
const IDLE_SHARES_MAX = 4_096;

export interface Waiting<T> {
  readonly item: T;
  readonly share: TaskShare;
  readonly priority: Priority;
  /** The only thread that can go on with it; undefined: it has not begun, any can. */
  readonly on?: object | undefined;
}

/** Tasks that wait for one pair of repository and caller, in order of arrival. */
interface Pair<T> {
  readonly share: TaskShare;
  readonly fresh: Set<Waiting<T>>;
  readonly paused: Set<Waiting<T>>;
}

/** Thread time that one repository or one caller has had. */
interface Account {
  servedMs: number;
  waiting: number;
  running: number;
}

const ORDER: readonly Priority[] = ["interactive", "background"];

export class FairQueue<T> {
  readonly #waiting: Record<Priority, Map<string, Pair<T>>> = {
    interactive: new Map(),
    background: new Map(),
  };
  readonly #accounts = new Map<string, Account>();
  readonly #fresh: Record<Priority, number> = { interactive: 0, background: 0 };
  /** Thread time that those who are served now have had. */
  #floorMs = 0;

  /** Tasks that have not begun. */
  get size(): number {
    return this.#fresh.interactive + this.#fresh.background;
  }

  /** The most tasks that its repository or its caller has waiting. */
  waitingOf(share: TaskShare): number {
    return Math.max(...keysOf(share).map((key) => this.#accounts.get(key)?.waiting ?? 0));
  }

  /**
   * Returns how many tasks of others would go before one of this share and priority: those that
   * have not begun, for whatever thread.
   */
  waitingBeside(share: TaskShare, priority: Priority): number {
    const key = pairKey(share);
    let count = 0;
    for (const one of ORDER) {
      count += this.#fresh[one] - (this.#waiting[one].get(key)?.fresh.size ?? 0);
      if (one === priority) break;
    }
    return count;
  }

  push(waiting: Waiting<T>): void {
    const { share, priority, on } = waiting;
    const pairs = this.#waiting[priority];
    const key = pairKey(share);
    const pair = pairs.get(key) ?? { share, fresh: new Set(), paused: new Set() };
    pairs.set(key, pair);
    if (on === undefined) this.#fresh[priority]++;
    (on === undefined ? pair.fresh : pair.paused).add(waiting);
    for (const account of this.#open(share)) account.waiting++;
  }

  /** False: it is not here any more. */
  remove(waiting: Waiting<T>): boolean {
    const { share, priority, on } = waiting;
    const pairs = this.#waiting[priority];
    const key = pairKey(share);
    const pair = pairs.get(key);
    if (pair === undefined || !(on === undefined ? pair.fresh : pair.paused).delete(waiting))
      return false;
    if (pair.fresh.size + pair.paused.size === 0) pairs.delete(key);
    if (on === undefined) this.#fresh[priority]--;
    for (const account of this.#open(share)) account.waiting--;
    return true;
  }

  /** Takes the next one out: for the thread `on`, or of those that have not begun. */
  shift(on?: object): Waiting<T> | undefined {
    for (const priority of ORDER) {
      const next = this.#least(this.#waiting[priority], (pair) => firstFor(pair, on));
      if (next === undefined) continue;
      this.remove(next);
      return next;
    }
    return undefined;
  }

  /** The same, of those alone that wait for this very thread. */
  shiftPaused(on: object): Waiting<T> | undefined {
    for (const priority of ORDER) {
      const next = this.#least(this.#waiting[priority], (pair) => pausedOn(pair, on));
      if (next !== undefined && this.remove(next)) return next;
    }
    return undefined;
  }

  /** A task of this share has got a thread. */
  started(share: TaskShare): void {
    this.#floorMs = Math.max(this.#floorMs, this.#had(share));
    for (const account of this.#open(share)) account.running++;
  }

  /** It has come to its end after so long. */
  ended(share: TaskShare, milliseconds: number): void {
    for (const account of this.#open(share)) {
      account.running--;
      account.servedMs += milliseconds;
    }
    if (this.#accounts.size > IDLE_SHARES_MAX) this.#forgetIdle();
  }

  #least(
    pairs: ReadonlyMap<string, Pair<T>>,
    firstOf: (pair: Pair<T>) => Waiting<T> | undefined,
  ): Waiting<T> | undefined {
    let least: Waiting<T> | undefined;
    let leastMs = Number.POSITIVE_INFINITY;
    for (const pair of pairs.values()) {
      const had = this.#had(pair.share);
      const first = had < leastMs ? firstOf(pair) : undefined;
      if (first !== undefined) [least, leastMs] = [first, had];
    }
    return least;
  }

  #had(share: TaskShare): number {
    let most = 0;
    for (const { servedMs, running } of this.#open(share))
      most = Math.max(most, servedMs + running * ASSUMED_MS);
    return most;
  }

  #open(share: TaskShare): Account[] {
    return keysOf(share).map((key) => {
      const known = this.#accounts.get(key);
      if (known !== undefined) {
        // Who was away has no claim to what was served meanwhile.
        if (known.waiting === 0 && known.running === 0)
          known.servedMs = Math.max(known.servedMs, this.#floorMs);
        return known;
      }
      const account = { servedMs: this.#floorMs, waiting: 0, running: 0 };
      this.#accounts.set(key, account);
      return account;
    });
  }

  #forgetIdle(): void {
    for (const [key, { waiting, running }] of this.#accounts)
      if (waiting === 0 && running === 0) this.#accounts.delete(key);
  }
}

function firstFor<T>(pair: Pair<T>, on: object | undefined): Waiting<T> | undefined {
  const paused = on === undefined ? undefined : pausedOn(pair, on);
  if (paused !== undefined) return paused;
  const [fresh] = pair.fresh;
  return fresh;
}

function pausedOn<T>({ paused }: Pair<T>, on: object): Waiting<T> | undefined {
  for (const waiting of paused) if (waiting.on === on) return waiting;
  return undefined;
}

function pairKey(share: TaskShare): string {
  return keysOf(share).join("\0");
}

/** A repository and a caller of one name are two. */
function keysOf({ repository, caller }: TaskShare): readonly [string, string] {
  return [`r ${repository}`, `c ${caller}`];
}
