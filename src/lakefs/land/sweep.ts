/**
 * Clears what a crash left: work branches older than a day, by the time in their names, so never
 * one of a live push on any server; and uploads of LFS objects that never got their name.
 */
import { asFault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import type { Log } from "../../observe/log.js";
import type { LakefsClient } from "../api/client.js";
import type { LfsObjects } from "../rules/contract.js";
import type { RootCommit } from "../agreed/root-commit.js";
import { removeQuietly } from "../api/work-branch.js";
import { WORK_PREFIX } from "../api/hidden-branches.js";

const WORK_NAME = /^lakepack-work-(\d{1,12})-/;
const SWEEP_EVERY_MS = 3_600_000;

/** Deletes them; their names. `root`: the repository's first commit, so that no hook is told. */
export async function sweepWorkBranches(
  client: LakefsClient,
  nowMs: number,
  signal: AbortSignal,
  root?: string,
): Promise<string[]> {
  const swept: string[] = [];
  for await (const { id } of client.listBranches({ prefix: WORK_PREFIX, hidden: true }, signal)) {
    const started = WORK_NAME.exec(id)?.[1];
    if (started === undefined || nowMs - Number(started) * 1_000 < LIMITS.landingLeftoverMs)
      continue;
    await removeQuietly(client, id, root, signal);
    swept.push(id);
  }
  return swept;
}

export interface SweeperOptions {
  readonly client: LakefsClient;
  readonly lfs: LfsObjects;
  readonly root: Pick<RootCommit, "get">;
  readonly log: Log;
}

/** Sweeps a repository that is pushed to, at most once an hour, in the background. */
export class Sweeper {
  readonly #client: LakefsClient;
  readonly #lfs: LfsObjects;
  readonly #root: Pick<RootCommit, "get">;
  readonly #log: Log;
  #sweptAt = Number.NEGATIVE_INFINITY;

  constructor({ client, lfs, root, log }: SweeperOptions) {
    this.#root = root;
    this.#client = client;
    this.#lfs = lfs;
    this.#log = log;
  }

  start(): void {
    const now = Date.now();
    if (now - this.#sweptAt < SWEEP_EVERY_MS) return;
    this.#sweptAt = now;
    const { repository } = this.#client;
    this.#sweep(now, new AbortController().signal).then(
      (swept) =>
        (swept.branches > 0 || swept.uploads > 0) &&
        this.#log.info("what crashes left was swept", { repository, ...swept }),
      (error: unknown) =>
        this.#log.debug("what crashes left is not swept", {
          repository,
          reason: asFault(error).message,
        }),
    );
  }

  async #sweep(
    nowMs: number,
    signal: AbortSignal,
  ): Promise<{ readonly branches: number; readonly uploads: number }> {
    const branches = (
      await sweepWorkBranches(this.#client, nowMs, signal, (await this.#root.get(signal)).id)
    ).length;
    return { branches, uploads: (await this.#lfs.sweep?.(nowMs, signal)) ?? 0 };
  }
}
