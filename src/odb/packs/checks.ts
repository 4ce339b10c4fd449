/**
 * Remembers which stored packs are known to be whole. A pack that this process has indexed itself
 * is; one that it found on disk is hashed once, when it is first read for a client: a bit that has
 * flipped meanwhile is then named by us, and not found out by the client at the end of its
 * download.
 */
import { LRUCache } from "lru-cache";
import { asFault, Fault } from "../../base/fault.js";
import { Semaphore, SingleFlight } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { Pool } from "../../pool/task.js";
import type { PackHandle } from "./handle.js";
import { checkPackTask } from "./tasks.js";

export class PackChecks {
  /** By path: whether it is whole. */
  readonly #known = new LRUCache<string, boolean>({ max: LIMITS.packChecksMax });
  readonly #checking = new SingleFlight<string, boolean>();
  /** A repository may have more packs than the pool's queue has room. */
  readonly #turns = new Semaphore(LIMITS.packChecksAtOnce);

  /** Its bytes went through ingest in this process. */
  trust(path: string): void {
    this.#known.set(path, true);
  }

  /**
   * Throws "odb/damaged". Nobody waits for a large pack: the first clients get it as it lies, and
   * check it themselves.
   */
  async check(packs: readonly PackHandle[], pool: Pool, signal: AbortSignal): Promise<void> {
    await Promise.all(packs.map((pack) => this.#checkOne(pack, pool, signal)));
  }

  async #checkOne(
    { path, blocks, checksum, bytes }: PackHandle,
    pool: Pool,
    signal: AbortSignal,
  ): Promise<void> {
    // It comes out of an object store, which has checksums of its own.
    if (blocks !== undefined) return;
    const known = this.#known.get(path);
    const wait = bytes <= LIMITS.packCheckWaitBytesMax;
    if (known === undefined && !wait) {
      // A failure to check (a full queue, an end of the server) says nothing about the pack: the
      // next fetch asks again.
      void this.#run(path, pool).catch((error: unknown) => asFault(error));
      return;
    }
    if (!(known ?? (await this.#run(path, pool, signal))))
      throw new Fault("odb/damaged", {
        pack: checksum,
        reason: "its content does not match its checksum",
      });
  }

  #run(path: string, pool: Pool, signal?: AbortSignal): Promise<boolean> {
    const work = async (shared: AbortSignal) => {
      const good = await this.#turns.run(
        () => pool.run(checkPackTask, { path }, { signal: shared }),
        shared,
      );
      this.#known.set(path, good);
      return good;
    };
    return this.#checking.run(path, work, signal);
  }
}
