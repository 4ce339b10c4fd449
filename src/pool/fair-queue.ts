/**
 * The order in which waiting tasks get a thread: interactive before background, and within each who has had less. Everybody's time on threads
 * is counted twice, for the repository and for the caller, and a task waits behind whichever of its two has had more: neither a caller who
 * asks for everything nor a repository that everybody asks for keeps others waiting.
 *
 * Who comes new starts at what the last one served had had (start-time fair queueing), so nobody saves up a right to all threads.
 */
import type { Priority, TaskShare } from "./tasks.js";

/** Milliseconds a task is taken to cost while it runs: a thread that is given away counts before it comes back. */
const ASSUMED_MS = 20;
/** Shares kept beyond those in use, so that a short pause does not wipe out what somebody has had. */
const IDLE_SHARES_MAX = 4_096;

export interface Waiting<T> {
  readonly item: T;
  readonly share: TaskShare;
  readonly priority: Priority;
}

/** What one repository or one caller has had. */
interface Account {
  servedMs: number;
  waiting: number;
  running: number;
}

const ORDER: readonly Priority[] = ["interactive", "background"];

export class FairQueue<T> {
  /** First come, first served within a pair of repository and caller. */
  readonly #waiting: Record<Priority, Map<string, Set<Waiting<T>>>> = { interactive: new Map(), background: new Map() };
  readonly #accounts = new Map<string, Account>();
  /** What those who are served now have had. */
  #floorMs = 0;

  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The most tasks that its repository or its caller has waiting. */
  waitingOf(share: TaskShare): number {
    return Math.max(...keysOf(share).map((key) => this.#accounts.get(key)?.waiting ?? 0));
  }

  push(waiting: Waiting<T>): void {
    const pairs = this.#waiting[waiting.priority];
    const key = keysOf(waiting.share).join("\0");
    const pair = pairs.get(key) ?? new Set();
    pairs.set(key, pair.add(waiting));
    this.#size++;
    for (const account of this.#open(waiting.share)) account.waiting++;
  }

  /** False: it is not here any more. */
  remove(waiting: Waiting<T>): boolean {
    const pairs = this.#waiting[waiting.priority];
    const key = keysOf(waiting.share).join("\0");
    const pair = pairs.get(key);
    if (!pair?.delete(waiting)) return false;
    if (pair.size === 0) pairs.delete(key);
    this.#size--;
    for (const account of this.#open(waiting.share)) account.waiting--;
    return true;
  }

  /** Takes the next one out. */
  shift(): Waiting<T> | undefined {
    for (const priority of ORDER) {
      const next = this.#least(this.#waiting[priority]);
      if (next === undefined) continue;
      this.remove(next);
      return next;
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

  #least(pairs: ReadonlyMap<string, ReadonlySet<Waiting<T>>>): Waiting<T> | undefined {
    let least: Waiting<T> | undefined;
    let leastMs = Number.POSITIVE_INFINITY;
    for (const [first] of pairs.values()) {
      if (first === undefined) continue;
      const had = this.#had(first.share);
      if (had < leastMs) [least, leastMs] = [first, had];
    }
    return least;
  }

  #had(share: TaskShare): number {
    let most = 0;
    for (const { servedMs, running } of this.#open(share)) most = Math.max(most, servedMs + running * ASSUMED_MS);
    return most;
  }

  #open(share: TaskShare): Account[] {
    return keysOf(share).map((key) => {
      const known = this.#accounts.get(key);
      if (known !== undefined) {
        // Who was away has no claim to what was served meanwhile.
        if (known.waiting === 0 && known.running === 0) known.servedMs = Math.max(known.servedMs, this.#floorMs);
        return known;
      }
      const account = { servedMs: this.#floorMs, waiting: 0, running: 0 };
      this.#accounts.set(key, account);
      return account;
    });
  }

  #forgetIdle(): void {
    for (const [key, { waiting, running }] of this.#accounts) if (waiting === 0 && running === 0) this.#accounts.delete(key);
  }
}

/** A repository and a caller of one name are two. */
function keysOf({ repository, caller }: TaskShare): readonly [string, string] {
  return [`r ${repository}`, `c ${caller}`];
}
