/** Whether the guard runs in a repository: proven once by each process, before its first landing there. */
import { randomBytes } from "node:crypto";
import type { LakefsClient } from "./client.js";
import { guardRuns } from "./guard.js";

export class GuardProof {
  readonly #client: LakefsClient;
  readonly #repository: string;
  #runs: Promise<boolean> | undefined;

  constructor(client: LakefsClient, repository: string) {
    this.#client = client;
    this.#repository = repository;
  }

  /** `commit`: any commit of the repository. */
  runs(commit: string, signal: AbortSignal): Promise<boolean> {
    const name = `${Math.floor(Date.now() / 1_000)}-${randomBytes(6).toString("hex")}`;
    this.#runs ??= guardRuns(this.#client, this.#repository, commit, name, signal).catch((error: unknown) => {
      this.#runs = undefined;
      throw error;
    });
    return this.#runs;
  }

  /** It did not when it should have: to be proven anew. */
  forget(): void {
    this.#runs = undefined;
  }
}
