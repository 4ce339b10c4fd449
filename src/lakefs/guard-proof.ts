/** Whether the guard runs in a repository: proven once by each process, before its first landing there. */
import { SingleFlight } from "../base/flow.js";
import type { LakefsClient } from "./client.js";
import { guardRuns } from "./guard.js";

export class GuardProof {
  readonly #client: LakefsClient;
  readonly #repository: string;
  readonly #proving = new SingleFlight<"proof", boolean>();
  #runs: boolean | undefined;

  constructor(client: LakefsClient, repository: string) {
    this.#client = client;
    this.#repository = repository;
  }

  /** `commit`: any commit of the repository. Pushes at the same time share one proof; it goes on while one of them waits. */
  async runs(commit: string, signal: AbortSignal): Promise<boolean> {
    this.#runs ??= await this.#proving.run("proof", (shared) => guardRuns(this.#client, this.#repository, commit, shared), signal);
    return this.#runs;
  }

  /** It did not when it should have: to be proven anew. */
  forget(): void {
    this.#runs = undefined;
  }
}
