/**
 * LFS objects in our own store. The bytes are shared by all repositories (publications.ts has their
 * names); who has which is a link in the database. Somebody who names an object that only another
 * repository has must bring its bytes: knowing an oid proves nothing.
 */
import { Fault } from "../base/fault.js";
import { checkAborted } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import type { Database } from "../database/database.js";
import {
  announce,
  dropAnnounced,
  findLinked,
  linkToAnnounced,
  linkToLive,
  type Publication,
} from "../database/lfs.js";
import type { Store } from "../store/store.js";
import { readPieces } from "../store/stream.js";
import { HashedSpool, type SpoolServices } from "./hashed-spool.js";
import { newPublication, objectKey } from "./publications.js";
import type { LfsObject, LfsStore, LfsUpload, Uploader } from "./store.js";

export interface OwnLfsPlaces {
  readonly store: Store;
  readonly database: Database;
}

export class OwnLfsStore implements LfsStore {
  readonly #services: OwnLfsPlaces & SpoolServices;
  readonly #repositoryId: string;

  constructor(services: OwnLfsPlaces & SpoolServices, repositoryId: string) {
    this.#services = services;
    this.#repositoryId = repositoryId;
  }

  /** Asks the store too: an object whose bytes were lost is not here, and may be brought again. */
  async size({ oid }: LfsObject, signal: AbortSignal): Promise<number | undefined> {
    const { store, database } = this.#services;
    checkAborted(signal);
    const linked = await findLinked(database, this.#repositoryId, oid);
    return linked && store.size(objectKey(linked), signal);
  }

  async link(): Promise<undefined> {
    return undefined;
  }

  async *read(
    { oid, size }: LfsObject,
    start: number,
    end: number,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const { store, database } = this.#services;
    const linked = await findLinked(database, this.#repositoryId, oid);
    if (linked === undefined) throw new Fault("lfs/missing", { oid, size });
    yield* readPieces(store, objectKey(linked), { start, end }, signal);
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
   * Links to what is there, or publishes the bytes and links to them. From here on an abort stops
   * nothing: it would be half done. Throws "store/conflict" where what it met was dropped each
   * time.
   */
  async #keep(object: LfsObject, path: string): Promise<void> {
    for (let attempt = 0; attempt < LIMITS.lfsPublicationsMax; attempt++) {
      const { database } = this.#services;
      const live = await linkToLive(database, this.#repositoryId, object.oid, now());
      if (live !== undefined) return this.#mend(object, live, path);
      if (await this.#publish(object, path)) return;
    }
    throw new Fault("store/conflict", { oid: object.oid });
  }

  /**
   * The name first, then the bytes, then the link that shows them: a crash in between leaves a row
   * that tells what is to be removed. False: another publication of the object is live by now, or
   * this one was dropped before it was.
   */
  async #publish({ oid, size: bytes }: LfsObject, path: string): Promise<boolean> {
    const { store, database } = this.#services;
    const published = { oid, publication: newPublication() };
    await announce(database, { ...published, bytes }, now());
    await store.publish(objectKey(published), path);
    if (await linkToAnnounced(database, this.#repositoryId, published, now())) return true;
    await dropAnnounced(database, published, now());
    return false;
  }

  /** Brings back bytes that the store has lost: what is linked to is not deleted meanwhile. */
  async #mend({ size }: LfsObject, live: Publication, path: string): Promise<void> {
    const { store } = this.#services;
    const key = objectKey(live);
    const there = await store.size(key);
    if (there === size) return;
    if (there !== undefined) await store.delete(key);
    await store.publish(key, path);
  }
}

function now(): string {
  return new Date().toISOString();
}
