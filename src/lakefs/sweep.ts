/** Clears work branches that a crash left: older than a day, by the time in their names, so never one of a live push on any server. */
import { asFault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import type { Log } from "../observe/log.js";
import type { LakefsClient } from "./client.js";
import { RESERVED_BRANCH_PREFIX } from "./ref-names.js";

const WORK_PREFIX = `${RESERVED_BRANCH_PREFIX}work-`;
const WORK_NAME = /^lakepack-work-(\d{1,12})-/;
const SWEEP_EVERY_MS = 3_600_000;

/** Deletes them; their names. */
export async function sweepWorkBranches(client: LakefsClient, repository: string, nowMs: number, signal: AbortSignal): Promise<string[]> {
  const swept: string[] = [];
  for await (const { id } of client.listBranches(repository, { prefix: WORK_PREFIX, hidden: true }, signal)) {
    const started = WORK_NAME.exec(id)?.[1];
    if (started === undefined || nowMs - Number(started) * 1_000 < LIMITS.landingLeftoverMs) continue;
    await client.deleteBranch(repository, id, signal);
    swept.push(id);
  }
  return swept;
}

/** Sweeps a repository that is pushed to, at most once an hour, in the background. */
export class Sweeper {
  readonly #client: LakefsClient;
  readonly #repository: string;
  readonly #log: Log;
  #sweptAt = Number.NEGATIVE_INFINITY;

  constructor(client: LakefsClient, repository: string, log: Log) {
    this.#client = client;
    this.#repository = repository;
    this.#log = log;
  }

  start(): void {
    const now = Date.now();
    if (now - this.#sweptAt < SWEEP_EVERY_MS) return;
    this.#sweptAt = now;
    sweepWorkBranches(this.#client, this.#repository, now, AbortSignal.timeout(LIMITS.lakefsCallMs)).then(
      (swept) => swept.length > 0 && this.#log.info("work branches swept", { repository: this.#repository, branches: swept.length }),
      (error: unknown) => this.#log.debug("work branches are not swept", { repository: this.#repository, reason: asFault(error).message }),
    );
  }
}
