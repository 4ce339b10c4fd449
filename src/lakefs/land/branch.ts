/** One branch lands: moved, made or deleted. Each `land` answers why not, undefined when it has. */
import { randomBytes } from "node:crypto";
import { ZERO_OID } from "../../git/oid.js";
import type { PushedCommit } from "./tasks.js";
import type { RefChange, RefUpdateOptions } from "../../odb/ref-store.js";
import type { Guard } from "../hooks/guard.js";
import { guardedTree } from "./guarded-tree.js";
import { askingTwice } from "../hooks/hook-again.js";
import type { CommitWriter } from "./commits.js";
import type { Base, Landed, WorkPlace } from "./work-place.js";
import { createSurely } from "./create-ref.js";
import { completeLanding, dirtyReason, moveBranch } from "./commit-point.js";
import { isProtected } from "./protection.js";
import { nameClash } from "./ref-clash.js";
import { toLakefsId } from "../rules/ref-names.js";
import { RESERVED_BRANCH_PREFIX, type WorkBranch } from "../api/hidden-branches.js";
import type { LakefsCommit } from "../api/types.js";
import { createQuietly } from "../api/work-branch.js";
import { ancestorTask } from "../../odb/walk/tasks.js";

const DIRTY_NAMED = 3;
const FORCED_REFUSAL =
  "this server does not take commits away from a branch (setting lakefs_forced_pushes)";

export class BranchLanding {
  readonly #writer: CommitWriter;
  readonly #short: string;
  readonly #branch: string;
  readonly #change: RefChange;
  readonly #options: RefUpdateOptions;
  readonly #signal: AbortSignal;
  #isForced = false;

  /** `short`: its name behind refs/heads/. */
  constructor(
    writer: CommitWriter,
    short: string,
    change: RefChange,
    options: RefUpdateOptions,
    signal: AbortSignal,
  ) {
    this.#writer = writer;
    this.#short = short;
    this.#branch = toLakefsId("branch", short);
    this.#change = change;
    this.#options = options;
    this.#signal = signal;
  }

  async land(): Promise<string | undefined> {
    if (this.#branch.startsWith(RESERVED_BRANCH_PREFIX))
      return `branches named ${RESERVED_BRANCH_PREFIX}… are lakepack's own`;
    const head = await this.#head();
    if (this.#change.new === ZERO_OID) return this.#delete(head);
    if (head === undefined) return this.#create();
    return this.#update(head);
  }

  // What is there ---------------------------------------------------------------------------------

  /** The branch's head and its Git side; a landing that somebody left half done is completed. */
  async #head(): Promise<Base | undefined> {
    const { client, commits } = this.#writer.options;
    for (;;) {
      const branch = await client.findBranch(this.#branch, this.#signal);
      if (branch === undefined) return undefined;
      const commit = await client.getCommit(branch.commit_id, this.#signal);
      if (await completeLanding(client, this.#branch, commit, this.#writer.isSealed, this.#signal))
        continue;
      const git = (await commits.resolve([commit.id], this.#signal)).get(commit.id);
      return { commit, git };
    }
  }

  #staleReason(head: Base | undefined): string | undefined {
    const current = head?.git?.commit ?? ZERO_OID;
    if (current === this.#change.old) return undefined;
    if (current === ZERO_OID) return "the branch does not exist any more; fetch first";
    return this.#change.old === ZERO_OID
      ? "the branch already exists; fetch first"
      : `the branch moved in lakeFS (to ${current}); fetch first`;
  }

  // Deleting --------------------------------------------------------------------------------------

  /** lakeFS has no conditional delete: the check of the old id is advisory. */
  async #delete(head: Base | undefined): Promise<string | undefined> {
    const { client, defaultBranch, log } = this.#writer.options;
    if (head === undefined) return "the branch does not exist any more; fetch first";
    if (this.#options.denyDeletes) return "deletion prohibited";
    if (this.#branch === defaultBranch) return "lakeFS does not delete the default branch";
    const stale = this.#staleReason(head);
    if (stale !== undefined) return stale;
    await this.#options.stillMay?.();
    await askingTwice(() => client.deleteBranch(this.#branch, this.#signal), this.#signal);
    log.info("a branch was deleted in lakeFS", {
      repository: client.repository,
      branch: this.#branch,
      head: head.commit.id,
    });
    return undefined;
  }

  // Making ----------------------------------------------------------------------------------------

  async #create(): Promise<string | undefined> {
    if (this.#change.old !== ZERO_OID) return this.#staleReason(undefined);
    const { client } = this.#writer.options;
    const clash = await nameClash(client, this.#change.name, this.#signal);
    if (clash !== undefined) return clash;
    const target = { id: this.#branch, short: this.#short };
    const tip = await this.#writer.commitIn(this.#change.new, this.#options, this.#signal, target);
    await this.#options.stillMay?.();
    const ref = {
      target: tip,
      create: () => client.createBranch({ name: this.#branch, source: tip }, this.#signal),
      find: async () => (await client.findBranch(this.#branch, this.#signal))?.commit_id,
    };
    const made = await createSurely(ref, this.#signal);
    if (!made) return "the branch already exists in lakeFS; fetch first";
    this.#say(tip);
    return undefined;
  }

  // Moving ----------------------------------------------------------------------------------------

  async #update(head: Base): Promise<string | undefined> {
    if (head.git?.commit === this.#change.new) return undefined;
    const stale = this.#staleReason(head);
    if (stale !== undefined) return stale;
    const protection = await this.#writer.reader.branchProtection(this.#signal);
    const reason = await this.#refusal(protection);
    if (reason !== undefined) return reason;
    this.#isForced = await this.#isForcedFrom(head);
    if (this.#isForced && !this.#writer.options.policy.allowForced)
      return `non-fast-forward: ${FORCED_REFUSAL}`;
    const news = await this.#writer.newCommits(
      this.#change.new,
      head.git === undefined ? [] : [head.git.commit],
      this.#signal,
    );
    return news.length === 0 ? this.#moveToKnown(head) : this.#moveToNew(head, news, protection);
  }

  /** Refuses what lakeFS would not, or not in time, refuse by itself. Cheap and advisory. */
  async #refusal(protection: readonly string[]): Promise<string | undefined> {
    const { client } = this.#writer.options;
    if (isProtected(this.#branch, protection))
      return "the branch is protected in lakeFS; push to another one and merge it there";
    const dirty = await client.dirtyPaths(this.#branch, DIRTY_NAMED, this.#signal);
    return dirty.length === 0 ? undefined : dirtyReason(dirty);
  }

  async #isForcedFrom(head: Base): Promise<boolean> {
    if (head.git === undefined) return false;
    const pairs = [{ old: head.git.commit, new: this.#change.new }];
    const [forward] = await this.#writer.options.pool.run(
      ancestorTask,
      { packs: await this.#writer.packs(this.#signal), pairs },
      { signal: this.#signal },
    );
    return forward !== true;
  }

  /** A forced push takes commits out of the branch; they stay under a name that is never swept. */
  async #keep(commit: LakefsCommit): Promise<void> {
    const { client } = this.#writer.options;
    const name = `${RESERVED_BRANCH_PREFIX}kept-${Math.floor(Date.now() / 1_000)}-${randomBytes(6).toString("hex")}`;
    const root = (await this.#writer.root.get(this.#signal)).id;
    await createQuietly(client, { name, source: commit.id, root }, this.#signal);
  }

  /** To a commit that lakeFS has: nothing is committed, so no hook on commits is passed by. */
  async #moveToKnown({ commit: base }: Base): Promise<string | undefined> {
    const { client } = this.#writer.options;
    const tip = await client.getCommit(
      await this.#writer.lakeIdOf(this.#change.new, undefined, this.#signal),
      this.#signal,
    );
    const place = await this.#writer.workPlace(tip, this.#options, this.#signal, undefined, []);
    return this.#writer.onWorkBranch(place, tip.id, this.#signal, async () => {
      const guard = await this.#writer.guard.get(this.#signal);
      return this.#moveWith(
        base,
        { tip, touchesHooks: true, headMetarange: tip.meta_range_id },
        place,
        guard,
      );
    });
  }

  async #moveToNew(
    head: Base,
    news: readonly PushedCommit[],
    protection: readonly string[],
  ): Promise<string | undefined> {
    const target = { id: this.#branch, short: this.#short };
    const place = await this.#writer.workPlace(
      head.commit,
      this.#options,
      this.#signal,
      target,
      protection,
    );
    return this.#writer.onWorkBranch(place, head.commit.id, this.#signal, async () => {
      const guard = await this.#writer.guard.get(this.#signal);
      const landed = await this.#writer.writeCommits(
        head,
        place,
        news,
        this.#options,
        this.#signal,
      );
      return this.#moveWith(head.commit, landed, place, guard);
    });
  }

  async #moveWith(
    base: LakefsCommit,
    landed: Landed,
    place: WorkPlace,
    guard: Guard,
  ): Promise<string | undefined> {
    const guardedMetarange = await guardedTree({
      ...landed,
      writer: this.#writer,
      place,
      base,
      guard,
      signal: this.#signal,
    });
    if (this.#isForced) await this.#keep(base);
    return this.#move(base, landed.tip, place.branch, guardedMetarange, guard.runs);
  }

  async #move(
    base: LakefsCommit,
    tip: LakefsCommit,
    { startTime: pushTime }: WorkBranch,
    guardedMetarange: string,
    guarded: boolean,
  ): Promise<string | undefined> {
    const { client } = this.#writer.options;
    await this.#options.stillMay?.();
    // Not the pusher's signal: once begun, it must be known how it ended.
    const signal = new AbortController().signal;
    const root = (await this.#writer.root.get(signal)).id;
    const { committer } = tip;
    const seal = (step: number) => this.#writer.sealLanding(base.id, tip.id, step);
    const { pusher } = this.#options;
    const point = {
      client,
      branch: this.#branch,
      base,
      root,
      tip,
      guardedMetarange,
      guarded,
      committer,
      pusher,
      pushTime,
      seal,
      signal,
    };
    const outcome = await moveBranch(point);
    if (!outcome.landed) return outcome.reason;
    if (outcome.note !== undefined) {
      this.#options.onResult?.(outcome.note);
      this.#writer.guard.forget();
    }
    this.#say(outcome.head);
    return undefined;
  }

  /** Both ids of the new head. */
  #say(lakeId: string): void {
    this.#options.onResult?.(
      `${this.#change.name}: ${this.#change.new} is lakeFS commit ${lakeId}`,
    );
  }
}
