/** When bundles are made: one at a time, by command, or where there are many clones. */
import { LRUCache } from "lru-cache";
import { Semaphore } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { Maintenance } from "../repositories/maintenance.js";
import type { BundleLinks } from "./bundle-links.js";

/** A repository that was cloned. */
export interface Cloned {
  readonly id: string;
  /** Of its packs. */
  readonly bytes: number;
}

export class BundleKeeper {
  readonly links: BundleLinks;
  readonly #maintenance: Pick<Maintenance, "plan">;
  /** Making one reads, writes and sends as many bytes as the repository has. */
  readonly #making = new Semaphore(1);
  /** Clones since a bundle was last thought of, by repository. */
  readonly #clones = new LRUCache<string, number>({ max: LIMITS.repositoryHandlesMax });

  constructor(links: BundleLinks, maintenance: Pick<Maintenance, "plan">) {
    this.links = links;
    this.#maintenance = maintenance;
  }

  /** Makes a bundle behind those that are being made. */
  inTurn<T>(make: () => Promise<T>, signal: AbortSignal): Promise<T> {
    return this.#making.run(make, signal);
  }

  /** Takes note of a clone; plans `make` where there are many of something large. */
  cloned({ id, bytes }: Cloned, make: (signal: AbortSignal) => Promise<void>): void {
    if (bytes < LIMITS.bundleRepositoryBytesMin || bytes > LIMITS.bundleBytesMax) return;
    const clones = (this.#clones.get(id) ?? 0) + 1;
    this.#clones.set(id, clones);
    if (clones < LIMITS.bundleClonesMin) return;
    this.#maintenance.plan(`bundle ${id}`, async (signal, leaving) => {
      this.#clones.delete(id);
      // A server that ends does without.
      if (!leaving.aborted) await make(AbortSignal.any([signal, leaving]));
    });
  }
}
