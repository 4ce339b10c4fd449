/**
 * Holds a place in a store for one process. Whoever holds it writes its record anew every few
 * seconds; whoever wants it takes it when the record has not changed for a while by his own clock,
 * so that clocks need not agree. A holder that slept finds its record replaced, and stops.
 */
import { randomBytes } from "node:crypto";
import { strictText, utf8 } from "../base/bytes.js";
import { asFault, Fault } from "../base/fault.js";
import { sleep, within } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import type { Store, StoreKey, StoreTag } from "./store.js";

export interface LeaseOptions {
  readonly store: Store;
  readonly key: StoreKey;
  /** Of this process and those before it that it knows to be dead; no secret. */
  readonly holder: string;
  /** For people who are refused: where the holder is. */
  readonly where: string;
  /** Told once, when another one has it. */
  readonly onLost: (fault: Fault) => void;
  readonly renewMs?: number;
  readonly lapseMs?: number;
}

const RECORD_BYTES_MAX = 1_024;

export class StoreLease {
  readonly #options: LeaseOptions;
  readonly #ended = new AbortController();
  #tag: StoreTag;
  /** A write of the record that is under way, or the last one. */
  #renewing: Promise<void> = Promise.resolve();

  private constructor(options: LeaseOptions, tag: StoreTag) {
    this.#options = options;
    this.#tag = tag;
  }

  /** Takes it, at once or when its holder is dead. Throws "store/held" while that one lives. */
  static async take(options: LeaseOptions, signal?: AbortSignal): Promise<StoreLease> {
    const { store, key, holder } = options;
    const there = await store.get(key, RECORD_BYTES_MAX, signal);
    const isFree = there === undefined || holderOf(there.bytes) === holder;
    if (!isFree) await lapse(options, there, signal);
    const tag = await store
      .putIfMatch(key, recordOf(options), there?.tag, signal)
      .catch((error: unknown) => {
        throw asFault(error).code === "store/conflict" ? held(there?.bytes) : error;
      });
    const lease = new StoreLease(options, tag);
    void lease.#renew();
    return lease;
  }

  /** Gives it back: the next one need not wait. */
  async release(): Promise<void> {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort();
    // Its tag is the record's. A store that is away keeps no server from ending.
    await within(this.#renewing, LIMITS.leaseReleaseMs);
    const { store, key } = this.#options;
    await store.putIfMatch(key, utf8(`\n${nonce()}\n`), this.#tag).catch(() => undefined);
  }

  async #renew(): Promise<void> {
    const { renewMs = LIMITS.leaseRenewMs } = this.#options;
    const { signal } = this.#ended;
    while (!signal.aborted) {
      await sleep(renewMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      this.#renewing = this.#renewOnce();
      await this.#renewing;
    }
  }

  async #renewOnce(): Promise<void> {
    const { store, key, onLost } = this.#options;
    try {
      this.#tag = await store.putIfMatch(key, recordOf(this.#options), this.#tag);
    } catch (error) {
      const fault = asFault(error);
      // A store that is away can be taken by nobody: it is tried again.
      if (fault.code !== "store/conflict" || this.#ended.signal.aborted) return;
      this.#ended.abort();
      onLost(fault);
    }
  }
}

/** Waits until a record has not changed for a while. Throws "store/held" where it does. */
async function lapse(
  { store, key, renewMs = LIMITS.leaseRenewMs, lapseMs = LIMITS.leaseLapseMs }: LeaseOptions,
  there: { readonly bytes: Uint8Array; readonly tag: StoreTag },
  signal: AbortSignal | undefined,
): Promise<void> {
  if (holderOf(there.bytes) === "") return;
  for (const untilMs = performance.now() + lapseMs; performance.now() < untilMs; ) {
    await sleep(Math.min(renewMs, untilMs - performance.now()) + 1, signal);
    const now = await store.get(key, RECORD_BYTES_MAX, signal);
    if (now?.tag !== there.tag) throw held(now?.bytes);
  }
}

/** "holder\nnonce\nwhere\n": no two writes are equal. */
function recordOf({ holder, where }: LeaseOptions): Uint8Array {
  return utf8(`${holder}\n${nonce()}\n${where}\n`);
}

function nonce(): string {
  return randomBytes(8).toString("hex");
}

function holderOf(bytes: Uint8Array): string {
  return (strictText(bytes) ?? "").split("\n")[0] ?? "";
}

function held(bytes: Uint8Array | undefined): Fault {
  const where = bytes && (strictText(bytes) ?? "").split("\n")[2];
  return new Fault("store/held", where ? { where } : {});
}
