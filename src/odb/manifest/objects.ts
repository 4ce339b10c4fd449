/**
 * Objects of a repository that lives in our own store: packs under its prefix, listed by its
 * manifest.
 */
import { randomBytes } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { Fault } from "../../base/fault.js";
import { checkAborted, Semaphore } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { Pool } from "../../pool/task.js";
import { type PackHandle, toHandles } from "../packs/handle.js";
import type { LocalCopy } from "../../store/blocks.js";
import type { Store } from "../../store/store.js";
import { choosePacks, type FoldChoice, type PromiseLists } from "../pack-objects/fold.js";
import { indexPackFile } from "../index-pack/file.js";
import type { Ingest, IngestedPack, IngestOptions } from "../index-pack/contract.js";
import type { Manifest } from "./manifest.js";
import type { PackLine } from "../pack-line.js";
import type { ManifestStore } from "./store.js";
import type {
  AdoptedPack,
  BeginIngestOptions,
  IndexDraftOptions,
  LivePack,
  ObjectDatabase,
  PackDraft,
  PackSet,
} from "../object-database.js";
import type { PackChecks } from "../packs/checks.js";
import { loadTable, type PackTables } from "../packs/tables.js";
import { foldTask, holdsTask } from "../pack-objects/tasks.js";

/** Parts that all repositories of a server share. */
export interface ObjectServices {
  /**
   * Refs are read from the manifest before packs are: those that it named then will do, and it is
   * not asked for again. Default: false.
   */
  readonly isLed?: boolean;
  readonly store: Store;
  readonly pool: Pool;
  readonly tables: PackTables;
  readonly checks: PackChecks;
  /** Folder for ingests under way, on the store's file system where the store is a disk. */
  readonly incoming: string;
  readonly ingest: IngestSettings;
  readonly startIngest: (options: IngestOptions, pool: Pool) => Promise<Ingest>;
}

export interface IngestSettings {
  readonly packBytesMax: number;
  readonly memoryBytes: number;
}

export interface FoldOptions extends Omit<FoldChoice, "promising"> {
  /** Undefined: packs that promise blobs stay as they are. */
  readonly promises?: PromiseLists | undefined;
}

export class ManifestObjects implements ObjectDatabase {
  readonly #services: ObjectServices;
  readonly #manifests: ManifestStore;
  readonly #prefix: string;
  readonly #onAdopted: () => void;
  readonly #folding = new Semaphore(1);
  #latest: { readonly packs: Manifest["packs"]; readonly set: PackSet } | undefined;

  /** `onAdopted` is told when a pack has become live by itself. */
  constructor(
    services: ObjectServices,
    manifests: ManifestStore,
    prefix: string,
    onAdopted: () => void = () => undefined,
  ) {
    this.#onAdopted = onAdopted;
    this.#services = services;
    this.#manifests = manifests;
    this.#prefix = prefix;
  }

  async packs(signal?: AbortSignal): Promise<PackSet> {
    const { packs } = await (this.#services.isLed === true
      ? this.#manifests.seen(signal)
      : this.#manifests.read(signal));
    const latest = this.#latest;
    const isSame = latest !== undefined && samePacks(latest.packs, packs);
    if (isSame && this.#services.store.kind === "disk") return latest.set;
    const known = new Map(latest?.set.packs.map((pack) => [pack.name, pack]));
    const live = await Promise.all(
      packs.map((line) => {
        const one = known.get(line.name);
        return one === undefined ? this.#livePack(line, signal) : this.#again(one, line, signal);
      }),
    );
    if (isSame && live.every((pack, at) => pack === latest.set.packs[at])) return latest.set;
    const set = { revision: packs.map(({ checksum }) => checksum).join(" "), packs: live };
    this.#latest = { packs, set };
    return set;
  }

  /**
   * A pack that is known, as its line is now and with a path that is good now: the local copy of an
   * object store's pack may have been dropped meanwhile, and made anew under another name.
   */
  async #again(pack: LivePack, line: PackLine, signal: AbortSignal | undefined): Promise<LivePack> {
    const { store } = this.#services;
    const copy =
      store.kind === "disk"
        ? pack
        : await store.localCopy(this.#key(line, "pack"), line.bytes, signal);
    if (copy.path === pack.path && pack.promised === line.promised) return pack;
    const { blocks: _, bring: __, ...rest } = pack;
    return { ...rest, ...placeOf(copy), promised: line.promised };
  }

  async beginIngest({
    pool = this.#services.pool,
    ...options
  }: BeginIngestOptions): Promise<Ingest> {
    const { packs } = await this.packs(options.signal);
    const { startIngest, incoming, ingest } = this.#services;
    const folder = join(incoming, randomBytes(12).toString("hex"));
    const closed = new Set(packs.filter((pack) => pack.closed).map(({ checksum }) => checksum));
    return startIngest({ ...options, ...ingest, folder, packs, closed }, pool);
  }

  async makePack<T>(build: (draft: PackDraft) => Promise<T>, signal: AbortSignal): Promise<T> {
    const { incoming, pool } = this.#services;
    checkAborted(signal);
    const folder = join(incoming, randomBytes(12).toString("hex"));
    const path = join(folder, "pack");
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const index = ({ packs, ...how }: IndexDraftOptions) => {
      const closed = new Set(packs.filter((pack) => pack.closed).map(({ checksum }) => checksum));
      const beside = { packs: toHandles(packs), closed };
      return indexPackFile(path, { ...how, ...beside, pool, folder, sync: true, signal });
    };
    try {
      return await build({ folder, path, index });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async publish(pack: IngestedPack, signal?: AbortSignal): Promise<void> {
    const { store, checks } = this.#services;
    this.#manifests.published(pack.name);
    await Promise.all([
      store.publish(this.#key(pack, "pack"), pack.packPath, signal),
      store.publish(this.#key(pack, "rev"), pack.revPath, signal),
      store.publish(this.#key(pack, "idx"), pack.idxPath, signal),
    ]);
    // A copy that cannot be kept here is no failure of the push: it is made when it is read.
    const copy = await store
      .localCopy(this.#key(pack, "pack"), pack.bytes, signal)
      .catch(() => undefined);
    if (copy !== undefined && copy.blocks === undefined) checks.trust(copy.path);
  }

  async keep(packs: readonly PackLine[], signal?: AbortSignal): Promise<void> {
    await this.#manifests.update((manifest) => {
      const live = new Set(manifest.packs.map(({ checksum }) => checksum));
      const fresh = packs.filter(({ checksum }) => !live.has(checksum));
      return fresh.length === 0 ? undefined : { ...manifest, packs: [...fresh, ...manifest.packs] };
    }, signal);
  }

  async adopt(
    pack: IngestedPack,
    { origin, promised }: AdoptedPack,
    signal?: AbortSignal,
  ): Promise<void> {
    await this.publish(pack, signal);
    await this.keep([toPackLine(pack, origin, promised)], signal);
    this.#onAdopted();
  }

  async supersede(
    checksum: string,
    by: IngestedPack,
    { origin, promised }: AdoptedPack,
    signal?: AbortSignal,
  ): Promise<void> {
    await this.publish(by, signal);
    const record = toPackLine(by, origin, promised);
    await this.#manifests.update((manifest) => {
      const others = manifest.packs.filter(
        (pack) => pack.checksum !== record.checksum || pack.checksum === checksum,
      );
      if (manifest.packs.some((pack) => pack.checksum === checksum))
        return {
          ...manifest,
          packs: others.map((pack) => (pack.checksum === checksum ? record : pack)),
        };
      // It was folded meanwhile: what has come beside it is as good beside the pack that took its
      // place.
      return others.length < manifest.packs.length
        ? undefined
        : { ...manifest, packs: [record, ...manifest.packs] };
    }, signal);
    this.#onAdopted();
  }

  async keepPromise(checksum: string, signal?: AbortSignal): Promise<void> {
    await this.#manifests.update((manifest) => {
      if (!manifest.packs.some((pack) => pack.checksum === checksum && pack.promised !== undefined))
        return undefined;
      return {
        ...manifest,
        packs: manifest.packs.map(({ promised, ...pack }) =>
          pack.checksum === checksum || promised === undefined ? pack : { ...pack, promised },
        ),
      };
    }, signal);
  }

  /**
   * Makes many small packs one; how many it were. 0: they are few. Readers that have begun keep the
   * old files. One at a time.
   */
  fold(signal: AbortSignal, options: FoldOptions = {}): Promise<number> {
    return this.#folding.run(() => this.#fold(signal, options), signal);
  }

  async #fold(signal: AbortSignal, { promises, ...choice }: FoldOptions): Promise<number> {
    const { packs } = await this.packs(signal);
    const folded = choosePacks(packs, { ...choice, promising: promises !== undefined });
    if (folded.length === 0) return 0;
    return this.makePack(async (draft) => {
      // Newest first, as they stand in the manifest.
      const inOrder = packs.filter((one) => folded.includes(one));
      const others = packs.filter((one) => !folded.includes(one));
      const ids = (await promises?.ids(packs, signal)) ?? [];
      const { pack, handle } = await this.#foldInto(draft, inOrder, others, ids, signal);
      const promising = folded.filter(({ promised }) => promised !== undefined);
      const promised =
        promising.length === 0
          ? 0
          : await promises?.merge(promising, { name: pack.name, handle }, signal);
      await this.publish(pack, signal);
      const origin = folded.every((one) => one.origin === "synthesized") ? "synthesized" : "repack";
      await this.#replace(folded, toPackLine(pack, origin, promised), signal);
      return folded.length;
    }, signal);
  }

  /** The one pack, indexed and checked, and still in the draft's folder. */
  async #foldInto(
    { path, index }: PackDraft,
    folded: readonly LivePack[],
    others: readonly LivePack[],
    promised: readonly SharedArrayBuffer[],
    signal: AbortSignal,
  ): Promise<{ readonly pack: IngestedPack; readonly handle: PackHandle }> {
    const { pool, ingest } = this.#services;
    const memoryBytes = Math.min(ingest.memoryBytes, LIMITS.foldMemoryBytes);
    const background = { signal, priority: "background" } as const;
    const { checksum } = await pool.run(foldTask, { packs: toHandles(folded), path }, background);
    // What stands in it was checked when it came in; here it is only counted and followed. Nobody
    // may reach an object whose link leads to another type (it waited for what came later as
    // something else): one pack with it is not closed, so that a push that would is looked at.
    const how = { fsck: false, stored: true, memoryBytes } as const;
    const pack = await index({ ...how, packs: others, promised });
    const { objectCount, bytes, types, idxPath, revPath } = pack;
    const handle = {
      checksum,
      path,
      objectCount,
      bytes,
      ...(await loadTable({ checksum, objectCount, idxPath, revPath, types })),
    };
    await pool.run(holdsTask, { packs: toHandles(folded), by: handle }, background);
    if (!pack.closed && folded.every((one) => one.closed))
      throw new Fault("odb/missing", { pack: checksum, oid: pack.openLinks[0] });
    return { pack, handle };
  }

  /**
   * The new pack stands where the newest of the old ones did. Nothing happens where one of them is
   * not live any more.
   */
  #replace(folded: readonly LivePack[], record: PackLine, signal: AbortSignal): Promise<Manifest> {
    const gone = new Set(folded.map(({ checksum }) => checksum));
    return this.#manifests.update((manifest) => {
      const at = manifest.packs.findIndex(({ checksum }) => gone.has(checksum));
      const rest = manifest.packs.filter(
        ({ checksum }) => !gone.has(checksum) && checksum !== record.checksum,
      );
      if (manifest.packs.filter(({ checksum }) => gone.has(checksum)).length !== gone.size)
        return undefined;
      return { ...manifest, packs: [...rest.slice(0, at), record, ...rest.slice(at)] };
    }, signal);
  }

  async #livePack(record: PackLine, signal: AbortSignal | undefined): Promise<LivePack> {
    const { store, tables } = this.#services;
    const [copy, idxPath, revPath] = await Promise.all([
      store.localCopy(this.#key(record, "pack"), record.bytes, signal),
      store.localFile(this.#key(record, "idx"), signal),
      store.localFile(this.#key(record, "rev"), signal),
    ]);
    const {
      checksum,
      name,
      bytes,
      objects: objectCount,
      closed,
      selfContained,
      tips,
      origin,
      promised,
    } = record;
    const table = await tables.load({ checksum, objectCount, idxPath, revPath }, signal);
    return {
      checksum,
      name,
      ...placeOf(copy),
      bytes,
      objectCount,
      ...table,
      closed,
      selfContained,
      tips,
      origin,
      promised,
    };
  }

  #key({ name }: Pick<PackLine, "name">, extension: string): string {
    return `${this.#prefix}/git/objects/pack/pack-${name}.${extension}`;
  }
}

function placeOf({ path, blocks, bring }: LocalCopy): LocalCopy {
  return { path, ...(blocks && { blocks }), ...(bring && { bring }) };
}

function samePacks(left: Manifest["packs"], right: Manifest["packs"]): boolean {
  return (
    left === right ||
    (left.length === right.length &&
      left.every(
        (pack, at) => pack.name === right[at]?.name && pack.promised === right[at]?.promised,
      ))
  );
}

/** Makes the manifest's line of a pack that an ingest has finished. */
export function toPackLine(pack: IngestedPack, origin: PackLine["origin"], promised = 0): PackLine {
  const { checksum, name, bytes, objectCount: objects, closed, selfContained, tips } = pack;
  const record = {
    checksum,
    name,
    bytes,
    objects,
    origin,
    closed,
    selfContained,
    ...(keepTips(tips) ? { tips: [...tips] } : {}),
  };
  return promised === 0 ? record : { ...record, promised };
}

/**
 * With too many tips the manifest, rewritten by every push, would grow: such a pack is served
 * through the response cache.
 */
function keepTips(tips: readonly string[] | undefined): tips is readonly string[] {
  return tips !== undefined && tips.length <= LIMITS.manifestTipsMax;
}
