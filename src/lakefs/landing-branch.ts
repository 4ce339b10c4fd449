/** One branch lands: moved, made or deleted. Each `land` answers why not, undefined when it has. */
import { randomBytes } from "node:crypto";
import { Fault } from "../base/fault.js";
import { ZERO_OID } from "../git/oid.js";
import type { PushedCommit } from "../pool/landing-tasks.js";
import type { RefChange, RefUpdateOptions } from "../odb/ref-store.js";
import { stageableAddress } from "./address.js";
import { GUARD_FILE } from "./guard.js";
import type { Base, Lander } from "./lander.js";
import { createSurely } from "./landing-create.js";
import { completeLanding, dirtyReason, moveBranch } from "./landing-point.js";
import { GUARD_PATH, HOOKS_FOLDER } from "./metadata-keys.js";
import { isProtected } from "./protection.js";
import { nameClash } from "./ref-clash.js";
import { RESERVED_BRANCH_PREFIX, toLakefsId } from "./ref-names.js";
import type { LakefsCommit, LakefsObject } from "./types.js";
import type { WorkBranch } from "./work-branch.js";

const DIRTY_NAMED = 3;

export class BranchLanding {
  readonly #lander: Lander;
  readonly #branch: string;
  readonly #change: RefChange;
  readonly #options: RefUpdateOptions;
  readonly #signal: AbortSignal;

  /** `short`: its name behind refs/heads/. */
  constructor(lander: Lander, short: string, change: RefChange, options: RefUpdateOptions, signal: AbortSignal) {
    this.#lander = lander;
    this.#branch = toLakefsId("branch", short);
    this.#change = change;
    this.#options = options;
    this.#signal = signal;
  }

  async land(): Promise<string | undefined> {
    if (this.#branch.startsWith(RESERVED_BRANCH_PREFIX)) return `branches named ${RESERVED_BRANCH_PREFIX}… are lakepack's own`;
    const head = await this.#head();
    if (this.#change.new === ZERO_OID) return this.#delete(head);
    if (head === undefined) return this.#create();
    return this.#update(head);
  }

  // What is there ---------------------------------------------------------------------------------------------------------

  /** The branch's head and its Git side; a landing that somebody left half done is completed. */
  async #head(): Promise<Base | undefined> {
    const { client, repository, commits } = this.#lander.options;
    for (;;) {
      const branch = await client.getBranch(repository, this.#branch, this.#signal).catch(missingIsUndefined);
      if (branch === undefined) return undefined;
      const commit = await client.getCommit(repository, branch.commit_id, this.#signal);
      if (await completeLanding(client, repository, this.#branch, commit, this.#lander.isSealed, this.#signal)) continue;
      const git = (await commits.resolve([commit.id], this.#signal)).get(commit.id);
      return { commit, git };
    }
  }

  #staleReason(head: Base | undefined): string | undefined {
    const current = head?.git?.commit ?? ZERO_OID;
    if (current === this.#change.old) return undefined;
    if (current === ZERO_OID) return "the branch does not exist any more; fetch first";
    return this.#change.old === ZERO_OID ? "the branch already exists; fetch first" : `the branch moved in lakeFS (to ${current}); fetch first`;
  }

  // Deleting --------------------------------------------------------------------------------------------------------------

  /** lakeFS has no conditional delete: the check of the old id is advisory. */
  async #delete(head: Base | undefined): Promise<string | undefined> {
    const { client, repository, defaultBranch, log } = this.#lander.options;
    if (head === undefined) return "the branch does not exist any more; fetch first";
    if (this.#options.denyDeletes) return "deletion prohibited";
    if (this.#branch === defaultBranch) return "lakeFS does not delete the default branch";
    const stale = this.#staleReason(head);
    if (stale !== undefined) return stale;
    await this.#options.stillMay?.();
    await client.deleteBranch(repository, this.#branch, this.#signal);
    log.info("a branch was deleted in lakeFS", { repository, branch: this.#branch, head: head.commit.id });
    return undefined;
  }

  // Making ----------------------------------------------------------------------------------------------------------------

  async #create(): Promise<string | undefined> {
    if (this.#change.old !== ZERO_OID) return this.#staleReason(undefined);
    const { client, repository } = this.#lander.options;
    const clash = await nameClash(client, repository, this.#change.name, this.#signal);
    if (clash !== undefined) return clash;
    const tip = await this.#lander.commitIn(this.#change.new, this.#signal, this.#onProgress);
    await this.#options.stillMay?.();
    const made = await createSurely({
      target: tip,
      create: () => client.createBranch(repository, { name: this.#branch, source: tip }, this.#signal),
      find: async () => (await client.getBranch(repository, this.#branch, this.#signal).catch(missingIsUndefined))?.commit_id,
    });
    if (!made) return "the branch already exists in lakeFS; fetch first";
    this.#say(tip);
    return undefined;
  }

  // Moving ----------------------------------------------------------------------------------------------------------------

  async #update(head: Base): Promise<string | undefined> {
    if (head.git?.commit === this.#change.new) return undefined;
    const reason = this.#staleReason(head) ?? (await this.#refusal());
    if (reason !== undefined) return reason;
    if (await this.#isForced(head)) {
      if (!this.#lander.options.policy.allowForced) return "non-fast-forward: this server does not take commits away from a branch";
      await this.#keep(head);
    }
    const news = await this.#lander.newCommits(this.#change.new, head.git === undefined ? [] : [head.git.commit], this.#signal);
    if (news.length === 0) return this.#onWorkBranch(await this.#lander.lakeIdOf(this.#change.new, undefined, this.#signal), head, news);
    return this.#onWorkBranch(head.commit.id, head, news);
  }

  /** What lakeFS would not, or not in time, refuse by itself. Cheap and advisory. */
  async #refusal(): Promise<string | undefined> {
    const { client, repository } = this.#lander.options;
    const [patterns, dirty] = await Promise.all([
      client.branchProtection(repository, this.#signal),
      client.dirtyPaths(repository, this.#branch, DIRTY_NAMED, this.#signal),
    ]);
    if (isProtected(this.#branch, patterns)) return "the branch is protected in lakeFS; push to another one and merge it there";
    return dirty.length === 0 ? undefined : dirtyReason(dirty);
  }

  async #isForced(head: Base): Promise<boolean> {
    if (head.git === undefined) return false;
    const pairs = [{ old: head.git.commit, new: this.#change.new }];
    const [forward] = await this.#lander.options.pool.run("receive-pack/ancestor", { packs: await this.#lander.packs(this.#signal), pairs }, { signal: this.#signal });
    return forward !== true;
  }

  /** A forced push takes commits out of the branch; they stay under a name that is never swept. */
  async #keep({ commit }: Base): Promise<void> {
    const { client, repository } = this.#lander.options;
    const name = `${RESERVED_BRANCH_PREFIX}kept-${Math.floor(Date.now() / 1_000)}-${randomBytes(6).toString("hex")}`;
    await client.createBranch(repository, { name, source: commit.id, hidden: true }, this.#signal);
  }

  #onWorkBranch(source: string, head: Base, news: readonly PushedCommit[]): Promise<string | undefined> {
    return this.#lander.onWorkBranch(source, this.#signal, async (work) => {
      const guarded = await this.#lander.guard.runs(head.commit.id, this.#signal);
      const { client, repository } = this.#lander.options;
      const { tip, touchesHooks } =
        news.length > 0
          ? await this.#lander.writeCommits(head, work, news, this.#signal, this.#onProgress)
          : { tip: await client.getCommit(repository, source, this.#signal), touchesHooks: true };
      const guardedMetarange = guarded ? await this.#addGuard(work, head.commit, touchesHooks) : tip.meta_range_id;
      return await this.#move(head.commit, tip, work, guardedMetarange, guarded);
    });
  }

  /** The tip's tree with the guard's file, and with the base's own hooks: those judge the push, not those it brings. */
  async #addGuard(work: WorkBranch, base: LakefsCommit, touchesHooks: boolean): Promise<string> {
    const { client, repository } = this.#lander.options;
    if (touchesHooks) await this.#restoreHooks(work, base);
    await client.uploadObject(repository, work.name, GUARD_PATH, GUARD_FILE, {}, this.#signal);
    const json = { message: "lakepack: guard", allow_empty: true };
    return (await client.commit(repository, work.name, json, this.#signal)).meta_range_id;
  }

  async #restoreHooks(work: WorkBranch, base: LakefsCommit): Promise<void> {
    const { client, repository, namespace } = this.#lander.options;
    const { commit_id } = await client.getBranch(repository, work.name, this.#signal);
    const [before, now] = [await this.#hooksAt(base.id), await this.#hooksAt(commit_id)];
    const kept = new Set(before.map(({ path }) => path));
    const gone = now.map(({ path }) => path).filter((path) => !kept.has(path));
    if (gone.length > 0) await client.deleteObjects(repository, work.name, gone, this.#signal);
    for (const { path, physical_address, checksum, size_bytes = 0, metadata = {}, content_type } of before) {
      const type = content_type === undefined ? {} : { content_type };
      const json = { physical_address: stageableAddress(physical_address, namespace), checksum, size_bytes, metadata, ...type };
      await client.stageObject(repository, work.name, path, json, this.#signal);
    }
  }

  /** The first page of them: nobody has a thousand. */
  async #hooksAt(commit: string): Promise<readonly LakefsObject[]> {
    const { client, repository } = this.#lander.options;
    const { results } = await client.listObjects(repository, commit, HOOKS_FOLDER, this.#signal);
    return results.filter(({ path }) => path.startsWith(HOOKS_FOLDER) && path !== GUARD_PATH);
  }

  async #move(base: LakefsCommit, tip: LakefsCommit, { startTime: pushTime }: WorkBranch, guardedMetarange: string, guarded: boolean): Promise<string | undefined> {
    const { client, repository } = this.#lander.options;
    await this.#options.stillMay?.();
    // Not the pusher's signal: once begun, it must be known how it ended.
    const signal = new AbortController().signal;
    const root = (await this.#lander.root.get(signal)).id;
    const { committer } = tip;
    const outcome = await moveBranch({ client, repository, branch: this.#branch, base, root, tip, guardedMetarange, guarded, committer, pushTime, seal: (step) => this.#lander.sealLanding(base.id, tip.id, step), signal });
    if (!outcome.landed) return outcome.reason;
    if (outcome.note !== undefined) {
      this.#options.onResult?.(outcome.note);
      this.#lander.guard.forget();
    }
    this.#say(outcome.head);
    return undefined;
  }

  /** Both ids of the new head. */
  #say(lakeId: string): void {
    this.#options.onResult?.(`${this.#change.name}: ${this.#change.new} is lakeFS commit ${lakeId}`);
  }

  readonly #onProgress = (line: string, done: boolean): void => this.#options.onProgress?.(line, done);
}

function missingIsUndefined(error: unknown): undefined {
  if (error instanceof Fault && error.code === "lakefs/missing") return undefined;
  throw error;
}
