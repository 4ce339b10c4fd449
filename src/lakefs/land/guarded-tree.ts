/**
 * The pushed tree with the guard beside it, and with the hooks of the branch's own head: those
 * judge the push, not those it brings.
 */
import { asFault } from "../../base/fault.js";
import { stageableAddress } from "../api/address.js";
import { GUARD_FILE, type Guard } from "../hooks/guard.js";
import type { CommitWriter } from "./commits.js";
import type { WorkPlace } from "./work-place.js";
import { GUARD_PATH, HOOKS_FOLDER } from "../rules/metadata-keys.js";
import type { LakefsCommit, LakefsObject } from "../api/types.js";
import type { WorkBranch } from "../api/hidden-branches.js";

/** Tries of a merge whose answer is lost. */
const MERGES_MAX = 4;

export interface GuardedTreeOptions {
  readonly writer: CommitWriter;
  /** The tree of its branch's head is `headMetarange`. */
  readonly place: WorkPlace;
  readonly headMetarange: string;
  readonly base: LakefsCommit;
  readonly tip: LakefsCommit;
  /** The push changes hooks. */
  readonly touchesHooks: boolean;
  readonly guard: Guard;
  readonly signal: AbortSignal;
}

/** Its metarange. */
export async function guardedTree(options: GuardedTreeOptions): Promise<string> {
  const { writer, place, headMetarange, tip, touchesHooks, guard, signal } = options;
  const { client } = writer.options;
  if (!guard.runs) return tip.meta_range_id;
  const { branch: work, commitIsQuieter } = place;
  if (headMetarange !== tip.meta_range_id) await client.hardReset(work.name, tip.id, signal);
  const hooks = touchesHooks ? await changedHooks(options) : undefined;
  if (hooks !== undefined || commitIsQuieter) return commitGuard(options, hooks);
  try {
    return await mergeGuard(options);
  } catch (error) {
    const { code } = asFault(error);
    // There is another guard (of a landing somebody has built on), or ours has been collected.
    if (code !== "lakefs/conflict" && code !== "lakefs/missing" && code !== "lakefs/gone")
      throw error;
    writer.guard.forget();
    return commitGuard(options, undefined);
  }
}

/**
 * By a merge of the guard's own commit, whose tree has no other hook. The branch is ours alone:
 * where the answer was lost it is made again from the tip.
 */
async function mergeGuard({
  writer,
  place: { branch: work },
  tip,
  guard,
  signal,
}: GuardedTreeOptions): Promise<string> {
  const { client } = writer.options;
  const { message, metadata = {} } = tip;
  for (let attempt = 1; ; attempt++) {
    try {
      const { reference } = await client.merge(
        guard.commit,
        work.name,
        { message, metadata },
        signal,
      );
      return (await client.getCommit(reference, signal)).meta_range_id;
    } catch (error) {
      const { code } = asFault(error);
      if (attempt === MERGES_MAX || (code !== "lakefs/unreachable" && code !== "lakefs/failed"))
        throw error;
      await client.hardReset(work.name, tip.id, signal);
    }
  }
}

/** By a commit, of which hooks for every branch are told: it says what the tip says. */
async function commitGuard(
  { writer, place: { branch: work }, tip, signal }: GuardedTreeOptions,
  hooks: Hooks | undefined,
): Promise<string> {
  const { client } = writer.options;
  if (hooks !== undefined) await restoreHooks(writer, work, hooks, signal);
  await client.uploadObject(work.name, GUARD_PATH, GUARD_FILE, {}, signal);
  const { message, metadata = {} } = tip;
  return (await writer.commitOn(work, { message, metadata }, signal)).meta_range_id;
}

interface Hooks {
  readonly before: readonly LakefsObject[];
  readonly now: readonly LakefsObject[];
}

/** Hooks of base and tip, where they differ. */
async function changedHooks({
  writer,
  base,
  tip,
  signal,
}: GuardedTreeOptions): Promise<Hooks | undefined> {
  const [before, now] = [
    await hooksAt(writer, base.id, signal),
    await hooksAt(writer, tip.id, signal),
  ];
  const text = (hooks: readonly LakefsObject[]) =>
    JSON.stringify(
      hooks.map(({ path, physical_address, checksum }) => [path, physical_address, checksum]),
    );
  return text(before) === text(now) ? undefined : { before, now };
}

async function restoreHooks(
  writer: CommitWriter,
  work: WorkBranch,
  { before, now }: Hooks,
  signal: AbortSignal,
): Promise<void> {
  const { client, namespace } = writer.options;
  const kept = new Set(before.map(({ path }) => path));
  const gone = now.map(({ path }) => path).filter((path) => !kept.has(path));
  if (gone.length > 0) await client.deleteObjects(work.name, gone, signal);
  for (const {
    path,
    physical_address,
    checksum,
    size_bytes = 0,
    metadata = {},
    content_type,
  } of before) {
    const type = content_type === undefined ? {} : { content_type };
    const json = {
      physical_address: stageableAddress(physical_address, namespace),
      checksum,
      size_bytes,
      metadata,
      ...type,
    };
    await client.stageObject(work.name, path, json, signal);
  }
}

/** The first page of them: nobody has a thousand. */
async function hooksAt(
  writer: CommitWriter,
  commit: string,
  signal: AbortSignal,
): Promise<readonly LakefsObject[]> {
  const { client } = writer.options;
  const { results } = await client.listObjects(commit, HOOKS_FOLDER, signal, HOOKS_FOLDER);
  return results.filter(({ path }) => path !== GUARD_PATH);
}
