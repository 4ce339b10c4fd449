/**
 * Proves that the guard runs in a repository: each process does before its first landing there, and
 * again where that is not certain any more.
 */
import { asFault, Fault } from "../../base/fault.js";
import { SingleFlight } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { Log } from "../../observe/log.js";
import type { LakefsClient } from "../api/client.js";
import { type Guard, proveGuard } from "./guard.js";
import type { RootCommit } from "../agreed/root-commit.js";

export interface GuardProofOptions {
  readonly client: LakefsClient;
  readonly root: Pick<RootCommit, "get">;
  readonly log: Pick<Log, "info" | "warn">;
  /** For tests. Default: the clock. */
  readonly nowMs?: () => number;
}

/** As operators are told: `unknown`: no push has needed it yet. */
export type GuardState = {
  readonly guard: "unknown" | "runs" | "disabled" | "unproven";
  readonly reason?: string;
};

export class GuardProof {
  readonly #options: GuardProofOptions;
  readonly #nowMs: () => number;
  readonly #proving = new SingleFlight<"proof", Guard>();
  #proven: { readonly guard: Guard; readonly until: number } | undefined;
  /** The last try proved nothing. */
  #failed: { readonly fault: Fault; readonly until: number } | undefined;

  constructor(options: GuardProofOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? Date.now;
  }

  get state(): GuardState {
    if (this.#failed !== undefined)
      return { guard: "unproven", reason: this.#failed.fault.message };
    if (this.#proven === undefined) return { guard: "unknown" };
    return { guard: this.#proven.guard.runs ? "runs" : "disabled" };
  }

  /**
   * The guard, proven. Pushes at the same time share one proof; it goes on while one of them waits.
   * Throws "lakefs/unproven": after that the next try is made when `guardProofAgainMs` have passed,
   * and until then the same is thrown.
   */
  async get(signal: AbortSignal): Promise<Guard> {
    const now = this.#nowMs();
    if (this.#proven !== undefined && now < this.#proven.until) return this.#proven.guard;
    if (this.#failed !== undefined && now < this.#failed.until) throw this.#failed.fault;
    return this.#proving.run("proof", (shared) => this.#prove(shared), signal);
  }

  /** It did not run when it should have: to be proven anew. */
  forget(): void {
    this.#proven = undefined;
  }

  async #prove(signal: AbortSignal): Promise<Guard> {
    const { client, root, log } = this.#options;
    try {
      const guard = await proveGuard({
        client,
        root: (await root.get(signal)).id,
        signal,
      });
      const state = this.state.guard;
      this.#failed = undefined;
      this.#proven = {
        guard,
        until: this.#nowMs() + (guard.runs ? LIMITS.guardCommitMs : LIMITS.guardDisabledMs),
      };
      if (guard.runs)
        log.info("lakeFS runs the guard of pushes", { repository: client.repository });
      else if (state !== "disabled")
        log.warn(
          "hooks are disabled in lakeFS: a push that races with a writer is merged with what was there",
          {
            repository: client.repository,
          },
        );
      return guard;
    } catch (error) {
      const cause = asFault(error);
      if (cause.code === "base/aborted") throw cause;
      const fault = new Fault(
        "lakefs/unproven",
        { repository: client.repository, reason: cause.message },
        cause,
      );
      this.#failed = { fault, until: this.#nowMs() + LIMITS.guardProofAgainMs };
      log.warn("it is not proven that lakeFS runs the guard of pushes; none lands until it is", {
        repository: client.repository,
        reason: fault.message,
      });
      throw fault;
    }
  }
}
