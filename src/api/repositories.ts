/**
 * Answers and changes repositories for the JSON API (transport/http/api) and commands (control.ts).
 * Values are JSON.
 */
import { type Caller, TRUSTED } from "../auth/caller.js";
import type { GuardState } from "../lakefs/hooks/guard-proof.js";
import type { Visibility } from "../auth/permissions.js";
import { asFault, Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import type { RepositoryRow } from "../database/schema.js";
import { concealed } from "../serve/conversation/conceal.js";
import { makeBundle } from "../serve/fetch/bundles.js";
import { findCommitIds } from "../serve/fetch/commit-ids.js";
import { openContext, type UploadPackDeps } from "../serve/fetch/context.js";
import type { Door } from "../serve/repositories/door.js";
import type { PushPolicy } from "../serve/conversation/push-policy.js";
import type { Repositories } from "../serve/repositories/repositories.js";
import type { Adopted, Recovered } from "../serve/repositories/removal.js";
import { UNRECORDED } from "../serve/conversation/request-record.js";
import type { SettingsChange } from "../serve/conversation/repository-settings.js";
import {
  candidatesOf,
  kindOf,
  readRepositoryName,
  type RepositoryName,
  titleOf,
  type TypedName,
} from "../serve/conversation/repository-name.js";

import { settingsFacts, type SettingsFacts } from "./repository-settings.js";

export type RepositoryKind = ReturnType<typeof kindOf>;

export interface RepositoryFacts {
  /** "ns/name", "datasets/ns/name", "lakefs/repository". */
  readonly name: string;
  readonly kind: RepositoryKind;
  /** lakeFS's name of it; null: it lives in our own store, or the name is not for whoever asks. */
  readonly lakefs: string | null;
  /** Full name HEAD points at. */
  readonly head: string;
  /**
   * Progress of the lakeFS commits that are being read now; all 0: none are. null: not over lakeFS.
   */
  readonly reading: {
    readonly commits: number;
    readonly total: number;
    readonly objects: number;
  } | null;
}

/** All that is known of one, for who administers it. */
export interface RepositoryDescription extends RepositoryFacts {
  readonly id: string;
  readonly visibility: Visibility;
  readonly state: RepositoryRow["state"];
  readonly created_at: string;
  readonly settings: SettingsFacts;
  /**
   * State of the guard that keeps pushes from landing on a moved lakeFS branch; null: not over
   * lakeFS.
   */
  readonly guard: GuardState["guard"] | null;
}

export interface CommitFacts {
  /** The Git id: of a commit, or of the annotated tag that the lakeFS commit stands for. */
  readonly git: string;
  readonly type: "commit" | "tag";
  readonly commit: string;
  readonly tree: string;
  /** The lakeFS commit asked for, or one that became `git`. */
  readonly lakefs: string | null;
  /** All lakeFS commits that became `git`. */
  readonly lakefs_ids: readonly string[];
}

export interface CollectedFacts {
  readonly name: string;
  readonly removed_files: number;
  readonly removed_bytes: number;
  /** Named by nothing for a shorter time than was asked for. */
  readonly waiting_files: number;
  readonly waiting_bytes: number;
}

export interface BundleFacts {
  readonly name: string;
  /** null: all that a bundle would have is in one already. */
  readonly kind: "clone" | "catch-up" | null;
  readonly bytes: number | null;
}

export interface RemovedFacts {
  readonly name: string;
  readonly repositories: number;
  readonly removed_files: number;
  readonly removed_bytes: number;
}

export interface ListedRepository {
  readonly name: string;
  readonly kind: RepositoryKind;
  readonly lakefs: string | null;
}

/** The caller of a request. */
export interface Asking {
  readonly caller: Caller;
  /** The caller's part of the pool (auth/caller `shareOf`). */
  readonly share: string;
}

/** Whoever may open the data folder. */
const COMMAND: Asking = { caller: TRUSTED, share: "command" };

export interface RepositoryApiOptions {
  /** The door of the Git routes: what may be seen is decided there. */
  readonly door: Pick<Door, "resolve">;
  readonly repositories: Repositories;
  /** The server's own. */
  readonly policy: PushPolicy;
  readonly fetch: UploadPackDeps;
}

export class RepositoryApi {
  readonly #options: RepositoryApiOptions;

  constructor(options: RepositoryApiOptions) {
    this.#options = options;
  }

  /** Waits for no synthesis. Throws "repository/missing". */
  async show(
    name: RepositoryName,
    signal: AbortSignal,
    { caller }: Asking = COMMAND,
  ): Promise<RepositoryFacts> {
    const { title, type, lakefs, refs, conceal } = await this.#options.door.resolve(
      name,
      caller,
      "read",
      signal,
    );
    const head = lakefs?.head ?? (await refs.read(signal)).head; // what may fail here is our own
    const known = lakefs !== undefined && conceal === undefined ? lakefs.client.repository : null;
    return {
      name: title,
      kind: kindOf(type),
      lakefs: known,
      head,
      reading: lakefs?.commits.progress ?? null,
    };
  }

  /** Throws "repository/missing". */
  async describe(name: RepositoryName, signal: AbortSignal): Promise<RepositoryDescription> {
    const { repositories } = this.#options;
    const [facts, settings, rights] = [
      await this.show(name, signal),
      await this.settings(name, signal),
      await repositories.rightsOf(name, false, signal),
    ];
    const repository = await this.#options.door.resolve(name, COMMAND.caller, "read", signal);
    const { id, state, created_at } = await repositories.rowOf(repository);
    const guard = repository.lakefs?.guard().guard ?? null;
    return {
      ...facts,
      id,
      visibility: rights.row?.visibility ?? "private",
      state,
      created_at,
      settings,
      guard,
    };
  }

  /**
   * Returns the settings of pushes to it, for those who administer it. Throws "repository/missing",
   * "auth/required", "auth/forbidden".
   */
  async settings(
    name: RepositoryName,
    signal: AbortSignal,
    { caller }: Asking = COMMAND,
  ): Promise<SettingsFacts> {
    const repository = await this.#options.door.resolve(name, caller, "admin", signal);
    return settingsFacts(this.#options.policy, await this.#options.repositories.rowOf(repository));
  }

  /**
   * Sets all of the change or nothing; null takes a setting away. Throws as `settings` does, and
   * "repository/bad-setting".
   */
  async changeSettings(
    name: RepositoryName,
    change: SettingsChange,
    signal: AbortSignal,
    { caller }: Asking = COMMAND,
  ): Promise<SettingsFacts> {
    const repository = await this.#options.door.resolve(name, caller, "admin", signal);
    await this.#options.repositories.changeSettings(repository, change);
    return settingsFacts(this.#options.policy, await this.#options.repositories.rowOf(repository));
  }

  /**
   * The row that has the rights of a name; `make`: one is made where nothing was noted of it.
   * Throws "repository/missing".
   */
  rightsOf(
    name: RepositoryName,
    make: boolean,
    signal: AbortSignal,
  ): Promise<{ readonly title: string; readonly row: RepositoryRow | undefined }> {
    return this.#options.repositories.rightsOf(name, make, signal);
  }

  /** `id`: Git's or lakeFS's. Throws "repository/missing", "commit/missing", "lakefs/reading". */
  async commit(
    name: RepositoryName,
    id: string,
    signal: AbortSignal,
    { caller, share }: Asking = COMMAND,
  ): Promise<CommitFacts> {
    const repository = await this.#options.door.resolve(name, caller, "read", signal);
    const { fetch } = this.#options;
    const deps = {
      ...fetch,
      pool: fetch.pool.sharedBy({ repository: repository.id, caller: share }),
    };
    const ids = await findIn(
      { request: UNRECORDED, repository, signal, stateless: true },
      deps,
      id,
    );
    if (ids === undefined) throw new Fault("commit/missing", { name: repository.title, id });
    const { git, type, commit, tree, lakefs, lakefsIds } = ids;
    return { git, type, commit, tree, lakefs: lakefs ?? null, lakefs_ids: lakefsIds };
  }

  /** Throws "repository/exists", "repository/bad-name", "lakefs/unset", "lakefs/missing". */
  async create(
    name: RepositoryName,
    lakefs: string | undefined,
    visibility: Visibility,
    signal: AbortSignal,
  ): Promise<ListedRepository> {
    const made = await this.#options.repositories.create(name, lakefs, visibility, signal);
    return { name: titleOf(made), kind: kindOf(made.type), lakefs: lakefs ?? null };
  }

  /** Removes files that nothing has named for `graceHours`. Throws "repository/missing". */
  async collect(
    name: RepositoryName,
    graceHours: number,
    signal: AbortSignal,
  ): Promise<CollectedFacts> {
    const { repositories } = this.#options;
    const { removed, waiting } = await repositories.collect(name, graceHours * 3_600_000, signal);
    return {
      name: titleOf(name),
      removed_files: removed.files,
      removed_bytes: removed.bytes,
      waiting_files: waiting.files,
      waiting_bytes: waiting.bytes,
    };
  }

  /** Makes what is in no bundle yet one more. Throws "repository/missing", "bundle/…". */
  async bundle(name: RepositoryName, signal: AbortSignal): Promise<BundleFacts> {
    const { door, fetch } = this.#options;
    const repository = await door.resolve(name, COMMAND.caller, "read", signal);
    const made = await makeBundle(repository, fetch, 0, signal);
    return {
      name: repository.title,
      kind: made?.kind ?? null,
      bytes: made?.line.bytes ?? null,
    };
  }

  /**
   * Puts back the mapping that this server has read a lakeFS repository by. Throws "lakefs/unset",
   * "lakefs/missing", "lakefs/unmapped".
   */
  async repairMapping(
    lakefs: string,
    signal: AbortSignal,
  ): Promise<{
    readonly lakefs: string;
    readonly mapping: string;
    readonly record: string | null;
  }> {
    const { mapping, commit } = await this.#options.repositories.repairMapping(lakefs, signal);
    return { lakefs, mapping, record: commit ?? null };
  }

  /**
   * Sets a repository aside: its name is free, its files go after the grace. Throws
   * "repository/missing".
   */
  async remove(name: RepositoryName): Promise<{ readonly name: string }> {
    return { name: await this.#options.repositories.removal.setAside(name) };
  }

  /** Removes at once what had this name and is set aside. Throws "repository/not-set-aside". */
  async forget(name: RepositoryName, signal: AbortSignal): Promise<RemovedFacts> {
    const {
      name: title,
      repositories,
      removed,
    } = await this.#options.repositories.removal.forget(name, signal);
    return {
      name: title,
      repositories,
      removed_files: removed.files,
      removed_bytes: removed.bytes,
    };
  }

  /** Throws "repository/not-set-aside", "repository/gone". */
  adopt(name: RepositoryName, signal: AbortSignal): Promise<Adopted> {
    return this.#options.repositories.removal.adopt(name, signal);
  }

  /**
   * Takes in what lies in the store below `prefix`. Throws "store/bad-key", "manifest/damaged",
   * "repository/exists".
   */
  async takeIn(prefix: string, name: RepositoryName, signal: AbortSignal): Promise<Adopted> {
    const title = await this.#options.repositories.removal.takeIn(prefix, name, signal);
    return { name: title, outcome: "taken in", names: [], taken: [] };
  }

  /** Removes what was set aside more than `graceHours` ago. */
  async collectSetAside(
    graceHours: number,
    signal: AbortSignal,
  ): Promise<Omit<RemovedFacts, "name">> {
    const { repositories, removed } = await this.#options.repositories.collectSetAside(
      graceHours * 3_600_000,
      signal,
    );
    return { repositories, removed_files: removed.files, removed_bytes: removed.bytes };
  }

  /**
   * Gives repositories of the store that no name leads to the names that their manifests hint at:
   * where the database was lost.
   */
  recover(signal: AbortSignal): Promise<readonly Recovered[]> {
    return this.#options.repositories.removal.recover(signal);
  }

  /** Repositories that have been made, by name, behind `after`: at most `listedPageMax`. */
  async list(after: string): Promise<ListedRepository[]> {
    const rows = await this.#options.repositories.list(after, LIMITS.listedPageMax);
    return rows.map(({ title, lakefs }) => {
      const [name] = candidatesOf(readRepositoryName(title)) as [TypedName];
      return { name: title, kind: kindOf(name.type), lakefs };
    });
  }
}

/** Failures say nothing that is not for the caller. */
async function findIn(
  exchange: Parameters<typeof openContext>[0],
  deps: UploadPackDeps,
  id: string,
): ReturnType<typeof findCommitIds> {
  try {
    return await findCommitIds(await openContext(exchange, deps), id);
  } catch (error) {
    throw concealed(asFault(error), exchange.repository.conceal);
  }
}
