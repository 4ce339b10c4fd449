/**
 * LFS objects in our own store:
 *
 *   lfs/ab/cd/<oid>                   the bytes, shared by all repositories
 *   lfs/links/<repository>/ab/<oid>   proof that this repository has it: its size in decimal
 *
 * <repository> is its prefix in the store ("repos/<id>"): a repository that gets the name of
 * another has none of its objects. Somebody who names an object that only another repository has
 * must bring its bytes: knowing an oid proves nothing.
 */
import { utf8 } from "../base/bytes.js";
import { Fault } from "../base/fault.js";
import { checkAborted } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import type { Store, StoreKey } from "../store/store.js";
import { HashedSpool, type SpoolServices } from "./hashed-spool.js";
import type { LfsObject, LfsStore, LfsUpload, Uploader } from "./store.js";

export interface OwnLfsServices extends SpoolServices {
  readonly store: Store;
}

export function objectKey(oid: string): StoreKey {
  return `lfs/${oid.slice(0, 2)}/${oid.slice(2, 4)}/${oid}`;
}

export const LINKS_FOLDER = "lfs/links/";

/** Returns the folder of one repository's links; `repository`: its prefix in the store. */
export function linksFolder(repository: string): StoreKey {
  return `${LINKS_FOLDER}${repository}/`;
}

export class OwnLfsStore implements LfsStore {
  readonly #services: OwnLfsServices;
  readonly #repository: string;

  /** `repository`: its prefix in the store ("repos/<id>"). */
  constructor(services: OwnLfsServices, repository: string) {
    this.#services = services;
    this.#repository = repository;
  }

  async size({ oid }: LfsObject, signal: AbortSignal): Promise<number | undefined> {
    const { store } = this.#services;
    if ((await store.size(this.#linkKey(oid), signal)) === undefined) return undefined;
    return store.size(objectKey(oid), signal);
  }

  async link(): Promise<undefined> {
    return undefined;
  }

  async *read(
    { oid }: LfsObject,
    start: number,
    end: number,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    for (let at = start; at < end; at += LIMITS.streamChunkBytes) {
      yield await this.#services.store.readRange(
        objectKey(oid),
        at,
        Math.min(at + LIMITS.streamChunkBytes, end),
        signal,
      );
    }
  }

  async beginUpload(
    object: LfsObject,
    signal: AbortSignal,
    { pool }: Pick<Uploader, "pool"> = this.#services,
  ): Promise<LfsUpload> {
    const spool = new HashedSpool({ pool, incoming: this.#services.incoming }, object, signal);
    await spool.open();
    return {
      write: (bytes) => spool.write(bytes),
      discard: () => spool.discard(),
      finish: async () => {
        await spool.finish();
        checkAborted(signal);
        await this.#keep(object, spool.path);
        await spool.discard();
      },
    };
  }

  /**
   * The bytes first, then the link that shows them. From here on an abort stops nothing: it would
   * be half done.
   */
  async #keep({ oid, size }: LfsObject, path: string): Promise<void> {
    const { store } = this.#services;
    await store.publish(objectKey(oid), path);
    await store.putIfAbsent(this.#linkKey(oid), utf8(String(size))).catch((error: unknown) => {
      if (!(error instanceof Fault && error.code === "store/exists")) throw error;
    });
  }

  #linkKey(oid: string): StoreKey {
    return `${linksFolder(this.#repository)}${oid.slice(0, 2)}/${oid}`;
  }
}
