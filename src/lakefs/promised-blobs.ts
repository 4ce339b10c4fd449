/**
 * Brings what synthesis has left in lakeFS: contents of files whose blob ids were known. Refs and `--filter=blob:none` do without them; any other fetch
 * and every push have all of them brought first, and a fetch that asks for some by id has those.
 */
import { createHash, randomBytes } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { MessageChannel } from "node:worker_threads";
import { asFault } from "../base/fault.js";
import { Semaphore, SingleFlight } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import type { Oid } from "../git/oid.js";
import { toHandles } from "../odb/fetch-pack.js";
import { indexPackFile } from "../odb/ingest-file.js";
import type { IngestedPack } from "../odb/ingest-contract.js";
import type { LivePack, ObjectDatabase } from "../odb/object-database.js";
import type { SynthesisNews } from "../pool/synthesize-tasks.js";
import type { Pool } from "../pool/tasks.js";
import type { LakefsClient } from "./client.js";
import type { LakefsAccess } from "./http.js";
import type { LakeRecords } from "./records.js";

export interface PromisedBlobsOptions {
  readonly access: LakefsAccess;
  readonly client: LakefsClient;
  readonly repository: string;
  /** lakeFS's storage namespace of it. */
  readonly namespace: string;
  readonly records: LakeRecords;
  readonly objects: ObjectDatabase;
  readonly pool: Pool;
  /** Tasks of the bridge at once, over all repositories. */
  readonly tasks: Semaphore;
  readonly incoming: string;
  /** Has the commits of a pack made anew whose list cannot be believed. */
  readonly remake: (pack: string, signal: AbortSignal) => Promise<void>;
}

/** Blobs brought so far of those under way. */
export interface BringProgress {
  readonly blobs: number;
  readonly total: number;
}

/** What one run of the task is to bring. */
interface Errand {
  readonly pack: LivePack;
  /** Undefined: all, and the new pack takes the place of `pack`. */
  readonly wanted: readonly Oid[] | undefined;
}

export class PromisedBlobs {
  readonly #options: PromisedBlobsOptions;
  readonly #flights = new SingleFlight<string, void>();
  readonly #turn = new Semaphore(1);
  #progress: BringProgress = { blobs: 0, total: 0 };
  #smallPacks = 0;

  constructor(options: PromisedBlobsOptions) {
    this.#options = options;
  }

  get progress(): BringProgress {
    return this.#progress;
  }

  /** Everything that is promised becomes part of the packs. Who comes meanwhile waits for the same. */
  bringAll(signal: AbortSignal): Promise<void> {
    return this.#flights.run("all", (shared) => this.#turn.run(() => this.#mending(() => this.#all(shared), shared), shared), signal);
  }

  /** Of these ids, those that are promised. The others are nobody's promise: they stay missing. */
  bring(oids: readonly Oid[], signal: AbortSignal): Promise<void> {
    if (this.#smallPacks >= LIMITS.promisedPacksMax) return this.bringAll(signal);
    const key = createHash("sha256").update([...oids].sort().join()).digest("hex");
    return this.#flights.run(key, (shared) => this.#turn.run(() => this.#mending(() => this.#some(oids, shared), shared), shared), signal);
  }

  /** Lists are derived data: one that is found damaged is made again, once each. */
  async #mending(work: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const mended = new Set<unknown>();
    for (;;) {
      try {
        return await work();
      } catch (error) {
        const { promisedOf } = asFault(error).facts;
        if (typeof promisedOf !== "string" || mended.has(promisedOf)) throw error;
        mended.add(promisedOf);
        await this.#options.remake(promisedOf, signal);
      }
    }
  }

  async #all(signal: AbortSignal): Promise<void> {
    const packs = await this.#promisingPacks(signal);
    this.#progress = { blobs: 0, total: packs.reduce((sum, { promised = 0 }) => sum + promised, 0) };
    // Oldest first: trees of newer packs name what older ones have promised.
    for (const pack of [...packs].reverse()) await this.#run({ pack, wanted: undefined }, signal);
    this.#smallPacks = 0;
  }

  async #some(wanted: readonly Oid[], signal: AbortSignal): Promise<void> {
    this.#progress = { blobs: 0, total: wanted.length };
    for (const pack of await this.#promisingPacks(signal)) await this.#run({ pack, wanted }, signal);
  }

  async #promisingPacks(signal: AbortSignal): Promise<LivePack[]> {
    const { packs } = await this.#options.objects.packs(signal);
    return packs.filter(({ promised }) => promised !== undefined);
  }

  async #run(errand: Errand, signal: AbortSignal): Promise<void> {
    const { incoming, tasks, client } = this.#options;
    const folder = join(incoming, randomBytes(12).toString("hex"));
    await mkdir(folder, { recursive: true });
    try {
      const path = join(folder, "pack");
      const { blobs, figures } = await tasks.run(() => this.#read(errand, path, signal), signal);
      client.http.add(figures);
      if (blobs > 0) await this.#adopt(errand, await this.#index(path, folder, signal), signal);
      else if (errand.wanted === undefined) await this.#options.objects.keepPromise(errand.pack.checksum, signal);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async #adopt({ pack, wanted }: Errand, made: IngestedPack, signal: AbortSignal): Promise<void> {
    const { objects } = this.#options;
    if (wanted === undefined) return objects.supersede(pack.checksum, made, { origin: "synthesized" }, signal);
    this.#smallPacks++;
    return objects.adopt(made, { origin: "synthesized" }, signal);
  }

  async #read({ pack, wanted }: Errand, path: string, signal: AbortSignal) {
    const { access, client, repository, namespace, records, objects, pool } = this.#options;
    const list = await records.promisedList(pack.checksum, pack.promised ?? 0, signal);
    const packs = toHandles((await objects.packs(signal)).packs);
    const base = wanted === undefined ? toHandles([pack])[0] : undefined;
    const { port1, port2 } = new MessageChannel();
    const before = this.#progress.blobs;
    port1.on("message", (news: SynthesisNews) => {
      if (news.kind === "contents") this.#progress = { ...this.#progress, blobs: before + news.blobs };
    });
    try {
      const request = { access, ways: client.lost.ways(repository), repository, namespace, packs, list, wanted, base, path, port: port2 };
      const result = await pool.run("synthesize/contents", request, { signal, transfer: [port2] });
      this.#progress = { ...this.#progress, blobs: before + result.blobs };
      return result;
    } finally {
      port1.close();
    }
  }

  async #index(path: string, folder: string, signal: AbortSignal): Promise<IngestedPack> {
    const { objects, pool, records } = this.#options;
    const { packs } = await objects.packs(signal);
    const closed = new Set(packs.filter((pack) => pack.closed).map(({ checksum }) => checksum));
    const promised = await promisedIds(records, packs, signal);
    return indexPackFile(path, { pool, packs: toHandles(packs), closed, sync: true, folder, signal, promised });
  }
}

/** What live packs still promise: a table of ids each. */
export function promisedIds(records: LakeRecords, packs: readonly LivePack[], signal: AbortSignal): Promise<SharedArrayBuffer[]> {
  const promising = packs.flatMap(({ checksum, promised }) => (promised === undefined ? [] : [{ checksum, promised }]));
  return Promise.all(promising.map(({ checksum, promised }) => records.promisedIds(checksum, promised, signal)));
}
