/**
 * Finds the row that a lakeFS repository's name leads to now. lakeFS is asked, because it lets a
 * name be used again: a repository that is another one than before gets a row of its own, and what
 * was known of the old one is set aside, private, together with the names that led to it.
 */
import { LRUCache } from "lru-cache";
import { Fault } from "../../base/fault.js";
import { Semaphore } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { RepositoryRow } from "../../database/schema.js";
import type { LakefsServer } from "../../lakefs/api/client.js";
import { isLakefsRepositoryName } from "../../lakefs/rules/hub-names.js";
import { rootOf } from "../../lakefs/agreed/identity.js";
import { unlessAway } from "../../lakefs/api/stale.js";
import type { LakefsRepository } from "../../lakefs/api/types.js";
import type { Log } from "../../observe/log.js";
import { lakefsName, titleOf } from "../conversation/repository-name.js";
import type { LakefsColumns, RepositoryTable } from "./table.js";

export interface LakefsRowsOptions {
  readonly client: LakefsServer;
  readonly table: RepositoryTable;
  /** Milliseconds that an answer of lakeFS is believed where nothing is written. */
  readonly believedMs: number;
  /** While lakeFS is away, what is known is believed where nothing is written. */
  readonly serveStale: boolean;
  /**
   * The repository of this id is no more what it was: whoever has it open opens it anew, or not at
   * all.
   */
  readonly onChanged: (id: string) => void;
  readonly log: Log;
}

export class LakefsRows {
  readonly #options: LakefsRowsOptions;
  /** When lakeFS was last asked, by id. Times of the monotonic clock. */
  readonly #askedMs = new LRUCache<string, number>({ max: LIMITS.repositoryHandlesMax });
  /**
   * Rows are compared and written one at a time: two that see the same change make one new row of
   * it.
   */
  readonly #turns = new Semaphore(1);

  constructor(options: LakefsRowsOptions) {
    this.#options = options;
  }

  /**
   * The row; undefined: lakeFS has no repository of this name. `fresh`: lakeFS is asked whatever it
   * said before. Throws "lakefs/deleting".
   */
  async current(
    repository: string,
    fresh: boolean,
    signal: AbortSignal,
  ): Promise<RepositoryRow | undefined> {
    const { client, table, believedMs } = this.#options;
    const known = await table.find(titleOf(lakefsName(repository)));
    const askedMs = performance.now();
    if (
      !fresh &&
      known !== undefined &&
      askedMs - (this.#askedMs.get(known.id) ?? Number.NEGATIVE_INFINITY) < believedMs
    )
      return known;
    const ask = (asking: AbortSignal) => client.findRepository(repository, asking);
    const isBelieved = this.#options.serveStale && !fresh && known !== undefined;
    const facts = isBelieved
      ? await unlessAway<LakefsRepository | undefined | "away">(
          client.http,
          ask,
          async () => "away" as const,
          signal,
        )
      : await ask(signal);
    if (facts === "away") return known;
    if (facts === undefined) return undefined;
    const row =
      known !== undefined && isSame(known, facts)
        ? known
        : await this.#turns.run(() => this.#settle(repository, signal), signal);
    if (row === undefined) return undefined;
    this.#askedMs.set(row.id, askedMs);
    return row;
  }

  /**
   * Throws "lakefs/replaced" where the name leads to another repository than `id`, "lakefs/missing"
   * where to none.
   */
  async confirm(
    repository: string,
    id: string,
    fresh: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const row = await this.current(repository, fresh, signal);
    if (row === undefined) throw new Fault("lakefs/missing", { repository });
    if (row.id !== id) throw new Fault("lakefs/replaced");
  }

  /**
   * The row of what lakeFS shows: the known one, what it was restored to, or a new one. Asks again:
   * an answer may be old when its turn comes.
   */
  async #settle(repository: string, signal: AbortSignal): Promise<RepositoryRow | undefined> {
    const { client, table } = this.#options;
    const title = titleOf(lakefsName(repository));
    const [known, facts] = [
      await table.find(title),
      await client.findRepository(repository, signal),
    ];
    if (facts === undefined) return undefined;
    if (known !== undefined && isSame(known, facts)) return known;
    const root = await rootOf(client, facts, signal);
    const columns = columnsOf(facts, root.id);
    const fresh = table.newRow({ title, namespace: undefined, lakefs: columns });
    if (known === undefined)
      return (await table.insert(fresh)) ? fresh : this.#settle(repository, signal);
    const isRestored = !root.isOwn && root.id !== undefined && root.id === known.lakefs_root;
    if (isRestored) return this.#restored(known, columns);
    return (await this.#replaced(known, fresh)) ? fresh : this.#settle(repository, signal);
  }

  async #restored(known: RepositoryRow, columns: LakefsColumns): Promise<RepositoryRow> {
    const { table, onChanged, log } = this.#options;
    await table.update(known.id, columns);
    onChanged(known.id);
    log.info("a lakeFS repository was restored: its first commit is the same", {
      repository: columns.lakefs,
      id: known.id,
    });
    return { ...known, ...columns };
  }

  /** False: another node has seen it before. */
  async #replaced(known: RepositoryRow, fresh: RepositoryRow): Promise<boolean> {
    const { table, onChanged, log } = this.#options;
    const isOurs = await table.replace(known.id, fresh);
    onChanged(known.id);
    if (!isOurs) return false;
    log.warn(
      "a lakeFS repository was deleted and made again under its name; what was known of the old one is set aside",
      {
        repository: fresh.lakefs,
        old: known.id,
        new: fresh.id,
      },
    );
    return true;
  }
}

/**
 * The row of a lakeFS repository, asked afresh. `rows` undefined: no lakeFS is set. Throws
 * "lakefs/unset", "lakefs/missing".
 */
export async function lakefsRow(
  rows: LakefsRows | undefined,
  repository: string,
  signal: AbortSignal,
): Promise<RepositoryRow> {
  if (rows === undefined) throw new Fault("lakefs/unset", { repository });
  const row = isLakefsRepositoryName(repository)
    ? await rows.current(repository, true, signal)
    : undefined;
  if (row === undefined) throw new Fault("lakefs/missing", { repository });
  return row;
}

function isSame(row: RepositoryRow, facts: LakefsRepository): boolean {
  return (
    row.lakefs_created_at === timeOf(facts) && row.lakefs_namespace === facts.storage_namespace
  );
}

function columnsOf(facts: LakefsRepository, root: string | undefined): LakefsColumns {
  return {
    lakefs: facts.id,
    lakefs_created_at: timeOf(facts),
    lakefs_namespace: facts.storage_namespace,
    lakefs_root: root ?? null,
  };
}

function timeOf({ creation_date: seconds }: LakefsRepository): string {
  return new Date(seconds * 1_000).toISOString();
}
