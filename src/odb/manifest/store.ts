/**
 * One repository's manifest in a store: read, and replaced by compare-and-swap with retries.
 * Changes that wait for each other are written together: fifty pushers of one repository cost a
 * few writes, not fifty.
 */
import { randomBytes } from "node:crypto";
import { Fault } from "../../base/fault.js";
import { checkAborted, failureUnder, Semaphore, sleep } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { Store, StoreTag } from "../../store/store.js";
import { bundleKey } from "./bundle-line.js";
import {
  bundleStem,
  decodeManifest,
  emptyManifest,
  encodeManifest,
  type Manifest,
  packStem,
  snapshotStem,
  stemsOf,
} from "./manifest.js";

/** Below a repository's prefix in the store. */
export const MANIFEST_NAME = "git/manifest";

/** Facts about a repository that stand beside its store. */
export interface ManifestLife {
  /** Its name: stands in the manifest as a hint. */
  readonly name?: string;
  /**
   * It has had a manifest, so that without one it is damaged and not empty. Default: nobody knows.
   */
  readonly isMade?: boolean;
  /** Told once the first manifest is durable. Never rejects. */
  readonly made?: () => Promise<void>;
  /**
   * Milliseconds for which what was seen is read without asking an object store whether it still
   * is so. Default: 0.
   */
  readonly freshMs?: number;
}

interface Held {
  readonly manifest: Manifest;
  readonly tag: StoreTag | undefined;
  /** When the store last said that it is so, by the clock of this process. */
  readonly seenMs: number;
}

/** Makes another manifest of one; undefined leaves it alone. */
export type ManifestChange = (
  manifest: Manifest,
) => Promise<Manifest | undefined> | Manifest | undefined;

/** A change that waits for its turn, or for the write it is part of. */
interface Waiting {
  readonly change: ManifestChange;
  readonly signal: AbortSignal | undefined;
  resolve(manifest: Manifest): void;
  reject(error: unknown): void;
}

export class ManifestStore {
  readonly #store: Store;
  readonly #prefix: string;
  readonly #key: string;
  readonly #defaultHead: string;
  readonly #life: ManifestLife;
  #isMade: boolean;
  /** Writers of this process take turns: they would only lose to each other. */
  readonly #turns = new Semaphore(1);
  #waiting: Waiting[] = [];
  /**
   * What was last seen. On disk this process is the only writer, so that is what is there; in an
   * object store it is asked whether it still is.
   */
  #held: Held | undefined;
  /** When packs were published that no manifest names yet, by name. */
  readonly #published = new Map<string, number>();

  constructor(store: Store, prefix: string, defaultHead: string, life: ManifestLife = {}) {
    this.#store = store;
    this.#prefix = prefix;
    this.#key = `${prefix}/${MANIFEST_NAME}`;
    this.#defaultHead = defaultHead;
    this.#life = life;
    this.#isMade = life.isMade ?? false;
  }

  async exists(signal?: AbortSignal): Promise<boolean> {
    return (await this.#current(signal)).tag !== undefined;
  }

  async read(signal?: AbortSignal): Promise<Manifest> {
    const { freshMs = 0 } = this.#life;
    const held = this.#held;
    if (held !== undefined && performance.now() - held.seenMs < freshMs) return held.manifest;
    return (await this.#current(signal)).manifest;
  }

  /** As it was last seen here; as it is where it never was. */
  async seen(signal?: AbortSignal): Promise<Manifest> {
    return (this.#held ?? (await this.#current(signal))).manifest;
  }

  /**
   * Takes note that the files of a pack or a bundle are being published, for a change that will
   * name it.
   */
  published(name: string): void {
    // Those of pushes that failed are forgotten, the oldest first: nobody names them any more.
    if (this.#published.size >= LIMITS.publicationsKnownMax)
      for (const oldest of this.#published.keys()) {
        this.#published.delete(oldest);
        break;
      }
    this.#published.set(name, Date.now());
  }

  /**
   * Replaces the manifest by the result of `change`; undefined leaves it alone. `change` runs
   * again for a loser of the race and must decide from what it is given. The result is durable when
   * this resolves. Throws what `change` throws, "store/conflict", "store/unknown-outcome",
   * "manifest/dropped".
   */
  async update(change: ManifestChange, signal?: AbortSignal): Promise<Manifest> {
    checkAborted(signal);
    let leave: (() => void) | undefined;
    const outcome = new Promise<Manifest>((resolve, reject) => {
      const waiting = { change, signal, resolve, reject };
      this.#waiting.push(waiting);
      leave = () => {
        const at = this.#waiting.indexOf(waiting);
        if (at < 0) return; // it has begun: whether it lands must be known
        this.#waiting.splice(at, 1);
        reject(failureUnder(signal, new Fault("base/aborted")));
      };
    });
    if (leave !== undefined) signal?.addEventListener("abort", leave, { once: true });
    // Each comes for its own change, and the first of them takes those of all.
    void this.#turns.run(() => this.#writeWaiting());
    try {
      return await outcome;
    } finally {
      if (leave !== undefined) signal?.removeEventListener("abort", leave);
    }
  }

  async #writeWaiting(): Promise<void> {
    const group = this.#waiting.splice(0, LIMITS.swapGroupMax);
    if (group.length === 0) return;
    try {
      await this.#write(group);
    } catch (error) {
      for (const { reject } of group) reject(error);
    }
  }

  async #write(group: readonly Waiting[]): Promise<void> {
    let left = group;
    for (let attempt = 0; attempt < LIMITS.swapAttemptsMax; attempt++) {
      if (attempt > 0) await sleep(pauseMs(attempt));
      const { manifest, tag } = await this.#current(undefined);
      const { changed, still } = await this.#change(left, manifest);
      left = still;
      if (changed === undefined) return;
      if (await this.#swap(changed, tag)) {
        if (!this.#isMade) await this.#life.made?.();
        this.#isMade = true;
        for (const { resolve } of still) resolve(changed);
        return;
      }
    }
    throw new Fault("store/conflict", { key: this.#key, attempts: LIMITS.swapAttemptsMax });
  }

  /**
   * Applies one change after another. Those that fail, or change nothing, are told so at once;
   * `still` are those that the write is to carry.
   */
  async #change(
    group: readonly Waiting[],
    before: Manifest,
  ): Promise<{ readonly changed: Manifest | undefined; readonly still: readonly Waiting[] }> {
    let manifest = before;
    const still: Waiting[] = [];
    for (const waiting of group) {
      const { change, signal, resolve, reject } = waiting;
      try {
        checkAborted(signal);
        const next = await change(manifest);
        if (next === undefined) {
          resolve(manifest);
          continue;
        }
        await this.#checkNew(before, next);
        manifest = next;
        still.push(waiting);
      } catch (error) {
        reject(error);
      }
    }
    return { changed: still.length === 0 ? undefined : this.#next(before, manifest), still };
  }

  /** The manifest that follows `before`, and takes down what is no longer named. */
  #next(before: Manifest, after: Manifest): Manifest {
    const { name = after.name } = this.#life;
    const named = stemsOf(after);
    const now = new Date().toISOString();
    const gone = [...stemsOf(before)].filter((stem) => !named.has(stem));
    return {
      ...after,
      revision: before.revision + 1,
      nonce: randomBytes(NONCE_BYTES).toString("hex"),
      recent: [before.nonce, ...before.recent].slice(0, LIMITS.manifestNoncesMax),
      ...(name === undefined ? {} : { name }),
      unnamed: without(after.unnamed, named),
      dropped: { ...after.dropped, ...Object.fromEntries(gone.map((stem) => [stem, now])) },
    };
  }

  /**
   * Throws "manifest/dropped" where the change names what is on its way out, or may be gone
   * already: a writer that slept comes too late.
   */
  async #checkNew(before: Manifest, after: Manifest): Promise<void> {
    const known = stemsOf(before);
    const refuse = (stem: string) => {
      throw new Fault("manifest/dropped", { manifest: this.#key, file: stem });
    };
    for (const { name, stem, key } of this.#filesOf(after)) {
      if (known.has(stem)) continue;
      if (before.dropped[stem] !== undefined) refuse(stem);
      const since = this.#published.get(name);
      if (since !== undefined && Date.now() - since < LIMITS.publicationTrustMs) continue;
      if ((await this.#store.size(key)) === undefined) refuse(stem);
    }
    const { snapshot } = after;
    const stem = snapshot && snapshotStem(snapshot.key);
    if (stem !== undefined && before.dropped[stem] !== undefined) refuse(stem);
  }

  /** Packs and bundles: each with the key of its file. */
  #filesOf({ packs, bundles = [] }: Manifest) {
    const folder = `${this.#prefix}/git/objects/pack`;
    return [
      ...packs.map(({ name }) => {
        const stem = packStem({ name });
        return { name, stem, key: `${folder}/${stem}.pack` };
      }),
      ...bundles.map(({ name }) => {
        return { name, stem: bundleStem({ name }), key: bundleKey(this.#prefix, { name }) };
      }),
    ];
  }

  async #swap(manifest: Manifest, tag: StoreTag | undefined): Promise<boolean> {
    try {
      // Without a request's signal: once begun, whether it landed must be known.
      const seenMs = performance.now();
      const written = await this.#store.putIfMatch(this.#key, encodeManifest(manifest), tag);
      this.#held = { manifest, tag: written, seenMs };
      for (const { name } of this.#filesOf(manifest)) this.#published.delete(name);
      return true;
    } catch (error) {
      this.#held = undefined; // whatever happened, what is there must be read again
      if (error instanceof Fault && error.code === "store/conflict") return false;
      if (!(error instanceof Fault && error.code === "store/unknown-outcome")) throw error;
      return this.#hasLanded(manifest, tag, error);
    }
  }

  /**
   * Finds out whether a write has landed of which the store could not tell. Others may have written
   * since: then their manifest knows of ours, and if it does not ours never comes, because what it
   * was to replace is gone. Throws `failure` where nothing shows it.
   */
  async #hasLanded(ours: Manifest, tag: StoreTag | undefined, failure: Fault): Promise<boolean> {
    if (this.#store.kind === "disk") throw failure;
    const there = await this.#current(undefined).catch(() => {
      throw failure;
    });
    const { nonce, recent, revision } = there.manifest;
    const isKnown = nonce === ours.nonce || recent.includes(ours.nonce);
    if (isKnown) return true;
    // What it was to replace is still there, so it may still come; or it is out of sight.
    if (there.tag === tag || revision - ours.revision >= recent.length) throw failure;
    return false;
  }

  async #current(signal: AbortSignal | undefined): Promise<Held> {
    const held = this.#held;
    if (held !== undefined && this.#store.kind === "disk") return held;
    const seenMs = performance.now();
    const stored =
      held?.tag === undefined
        ? await this.#store.get(this.#key, LIMITS.manifestBytesMax, signal)
        : await this.#store.getIfChanged(this.#key, held.tag, LIMITS.manifestBytesMax, signal);
    if (stored === "unchanged") return this.#see({ ...(held as Held), seenMs }, held);
    if (stored === undefined && this.#isMade)
      throw new Fault("manifest/damaged", { manifest: this.#key, reason: "it is missing" });
    const found =
      stored === undefined
        ? { manifest: emptyManifest(this.#defaultHead), tag: undefined, seenMs }
        : { manifest: decodeManifest(stored.bytes, this.#key), tag: stored.tag, seenMs };
    return this.#see(found, held);
  }

  /** Holds what was found, unless something newer was seen since `before` was held. */
  #see(found: Held, before: Held | undefined): Held {
    const meanwhile = this.#held === before ? undefined : this.#held;
    if (meanwhile !== undefined && meanwhile.manifest.revision > found.manifest.revision)
      return meanwhile;
    this.#held = found;
    return found;
  }
}

const NONCE_BYTES = 8;

function without(
  times: Manifest["unnamed"],
  named: ReadonlySet<string>,
): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(times).filter(([stem]) => !named.has(stem)));
}

/** Milliseconds before another attempt: each loss means that another node won. */
function pauseMs(attempt: number): number {
  return Math.random() * Math.min(LIMITS.swapPauseMs * 2 ** attempt, LIMITS.swapPauseMsMax);
}
