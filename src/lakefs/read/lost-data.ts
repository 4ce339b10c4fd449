/**
 * Commits that one synthesis finds to miss data. They are left out, and where a whole commit turns
 * out to be above them that is agreed on (cuts.ts) before anything rests on it: a repository whose
 * heads miss data too is cut nowhere.
 */
import { Fault } from "../../base/fault.js";
import type { SynthesizedCommit } from "../trees/tasks.js";
import type { AgreedCuts } from "./agreed-cuts.js";
import type { LakefsClient } from "../api/client.js";
import { type Cut, isGone } from "../agreed/cuts.js";
import type { HistoryStep } from "./history.js";

export interface LostDataOptions {
  readonly client: LakefsClient;
  readonly cuts: AgreedCuts;
}

type CommitStep = HistoryStep & { readonly as: "commit" };

export class LostData {
  readonly #options: LostDataOptions;
  /** Those that nobody has agreed on yet. */
  readonly #lost = new Map<string, Cut>();

  constructor(options: LostDataOptions) {
    this.#options = options;
  }

  /** Returns whether a commit is nothing in Git for that. */
  has(id: string): boolean {
    return this.#options.cuts.all.has(id) || this.#lost.has(id);
  }

  /**
   * Takes note of a commit whose data is gone. Throws what is no such failure, or one of a head.
   */
  add(fault: Fault, heads: readonly string[]): void {
    const { commit, path } = fault.facts;
    const isLost =
      fault.code === "lakefs/gone" && typeof commit === "string" && typeof path === "string";
    if (!isLost || heads.includes(commit) || this.has(commit)) throw fault;
    this.#lost.set(commit, { commit, path });
  }

  /**
   * Commits that are lost with one before them: they have the very object at its path, or stand for
   * it. Whether there were any. Throws as `add`.
   */
  async spread(
    steps: readonly HistoryStep[],
    heads: readonly string[],
    signal: AbortSignal,
  ): Promise<boolean> {
    const before = this.#lost.size;
    for (const step of steps) {
      const cut = step.as === "alias" ? this.#of(step.of) : await this.#inherited(step, signal);
      if (cut !== undefined)
        this.add(new Fault("lakefs/gone", { commit: step.source.id, path: cut.path }), heads);
    }
    return this.#lost.size > before;
  }

  /**
   * Agrees on the cuts that these commits rest on: they are looked at once more, as this is for
   * ever.
   */
  async agree(
    steps: readonly CommitStep[],
    commits: readonly SynthesizedCommit[],
    signal: AbortSignal,
  ): Promise<void> {
    const { client, cuts } = this.#options;
    const made = new Set(commits.map(({ lakeId }) => lakeId));
    const parents = steps.flatMap((step) => (made.has(step.source.id) ? step.parents : []));
    const needed = [...new Set(parents)].flatMap((id) => this.#lost.get(id) ?? []);
    for (const cut of needed) {
      if (await isGone(client, cut, signal)) continue;
      throw new Fault("lakefs/failed", {
        ...cut,
        reason: "its data was gone a moment ago and is there again",
      });
    }
    if (needed.length > 0) await cuts.agree(needed, signal);
  }

  #of(id: string): Cut | undefined {
    return this.#lost.get(id) ?? this.#options.cuts.all.get(id);
  }

  async #inherited({ source, parents }: CommitStep, signal: AbortSignal): Promise<Cut | undefined> {
    for (const cut of parents.map((id) => this.#lost.get(id))) {
      if (cut === undefined) continue;
      const gone = await this.#addressAt(cut.commit, cut.path, signal);
      if (gone !== undefined && gone === (await this.#addressAt(source.id, cut.path, signal)))
        return cut;
    }
    return undefined;
  }

  /** Undefined: it is not told, and found out by whoever reads it. */
  #addressAt(commit: string, path: string, signal: AbortSignal): Promise<string | undefined> {
    const { client } = this.#options;
    return client.statObject(commit, path, signal).then(
      ({ physical_address: address }) => address,
      () => undefined,
    );
  }
}
