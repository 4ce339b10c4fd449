/** One repository's manifest in a store: read, and replaced by compare-and-swap with retries. */
import { Fault } from "../../base/fault.js";
import { Semaphore } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { Store, StoreTag } from "../../store/store.js";
import {
  decodeManifest,
  emptyManifest,
  encodeManifest,
  type Manifest,
  PROMISED_FOLDER,
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
}

interface Held {
  readonly manifest: Manifest;
  readonly tag: StoreTag | undefined;
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
  /** On disk this process is the only writer, so what it last saw is what is there. */
  #held: Held | undefined;

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
    return (await this.#current(signal)).manifest;
  }

  /**
   * Replaces the manifest by what `change` makes of it; undefined leaves it alone. `change` runs
   * again for a loser of the race and must decide from what it is given. The result is durable when
   * this resolves.
   */
  update(
    change: (manifest: Manifest) => Promise<Manifest | undefined> | Manifest | undefined,
    signal?: AbortSignal,
  ): Promise<Manifest> {
    return this.#turns.run(async () => {
      for (let attempt = 0; attempt < LIMITS.swapAttemptsMax; attempt++) {
        const { manifest, tag } = await this.#current(signal);
        const next = await change(manifest);
        if (next === undefined) return manifest;
        const { name = next.name } = this.#life;
        const written: Manifest = {
          ...next,
          revision: manifest.revision + 1,
          ...(name === undefined ? {} : { name }),
        };
        // From now on nothing names them: their grace begins.
        for (const key of keysDropped(this.#prefix, manifest, written))
          await this.#store.touch(key, signal);
        if (await this.#swap(written, tag)) {
          if (!this.#isMade) await this.#life.made?.();
          this.#isMade = true;
          return written;
        }
        this.#held = undefined;
      }
      throw new Fault("store/conflict", { key: this.#key, attempts: LIMITS.swapAttemptsMax });
    }, signal);
  }

  async #swap(manifest: Manifest, tag: StoreTag | undefined): Promise<boolean> {
    try {
      // Without the request's signal: once begun, whether it landed must be known.
      const written = await this.#store.putIfMatch(this.#key, encodeManifest(manifest), tag);
      this.#held = { manifest, tag: written };
      return true;
    } catch (error) {
      this.#held = undefined; // whatever happened, what is there must be read again
      if (error instanceof Fault && error.code === "store/conflict") return false;
      throw error;
    }
  }

  async #current(signal: AbortSignal | undefined): Promise<Held> {
    if (this.#held !== undefined && this.#store.kind === "disk") return this.#held;
    const stored = await this.#store.get(this.#key, LIMITS.manifestBytesMax, signal);
    if (stored === undefined && this.#isMade)
      throw new Fault("manifest/damaged", { manifest: this.#key, reason: "it is missing" });
    this.#held =
      stored === undefined
        ? { manifest: emptyManifest(this.#defaultHead), tag: undefined }
        : { manifest: decodeManifest(stored.bytes, this.#key), tag: stored.tag };
    return this.#held;
  }
}

/** Keys that `before` names and `after` does not. */
function keysDropped(prefix: string, before: Manifest, after: Manifest): string[] {
  const kept = new Set(after.packs.map(({ checksum }) => checksum));
  const gone = before.packs.filter(({ checksum }) => !kept.has(checksum));
  const keys = gone.flatMap(({ checksum, promised }) => [
    ...["pack", "idx", "rev"].map(
      (extension) => `${prefix}/git/objects/pack/pack-${checksum}.${extension}`,
    ),
    ...(promised === undefined
      ? []
      : ["", ".ids"].map(
          (extension) => `${prefix}/git/${PROMISED_FOLDER}/${checksum}${extension}`,
        )),
  ]);
  const old = before.snapshot?.key;
  return old === undefined || old === after.snapshot?.key ? keys : [...keys, old];
}
