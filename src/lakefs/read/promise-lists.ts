/** Lists of what packs promise, as a fold of them asks for it (pack-objects/fold.ts). */
import { randomBytes } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { OID_BYTES } from "../../git/oid.js";
import type { MergedPack, PromiseLists } from "../../odb/pack-objects/fold.js";
import type { LivePack } from "../../odb/object-database.js";
import type { Pool } from "../../pool/task.js";
import { promisedIds } from "./promised-blobs.js";
import type { LakeNotes } from "./lake-notes.js";
import { mergePromisedTask } from "../trees/tasks.js";

export interface StoredListsOptions {
  readonly records: LakeNotes;
  readonly pool: Pool;
  readonly incoming: string;
}

export class StoredLists implements PromiseLists {
  readonly #options: StoredListsOptions;

  constructor(options: StoredListsOptions) {
    this.#options = options;
  }

  ids(packs: readonly LivePack[], signal: AbortSignal): Promise<readonly SharedArrayBuffer[]> {
    return promisedIds(this.#options.records, packs, signal);
  }

  async merge(
    packs: readonly LivePack[],
    { name, handle: by }: MergedPack,
    signal: AbortSignal,
  ): Promise<number> {
    const { records, pool, incoming } = this.#options;
    // Oldest first: a content is looked for where it was first.
    const lists = await Promise.all(
      [...packs].reverse().map((pack) => records.promisedList(pack, pack.promised ?? 0, signal)),
    );
    const folder = join(incoming, randomBytes(12).toString("hex"));
    await mkdir(folder, { recursive: true, mode: 0o700 });
    try {
      const path = join(folder, "promised");
      const made = await pool.run(
        mergePromisedTask,
        { lists, by, path },
        { signal, priority: "background" },
      );
      if (made === undefined) return 0;
      await records.putPromised({ checksum: by.checksum, name }, path, made, signal);
      return made.ids.byteLength / OID_BYTES;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
}
