/**
 * The main thread's part of the trees of a push (build-trees.ts): starts the task, answers what it
 * asks, and tells the pusher how far it is.
 */
import { asFault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import type { RefUpdateOptions } from "../../odb/ref-store.js";
import {
  type BuildTreesResult,
  type LandingNews,
  type LandingQuestions,
  type PushedCommit,
  buildTreesTask,
} from "./tasks.js";
import { type ServedPort, servePort } from "../../pool/port.js";
import type { HashedContent } from "../trees/tasks.js";
import type { PackHandle } from "../../odb/packs/handle.js";
import type { Base, WorkPlace } from "./work-place.js";
import type { LandingOptions } from "./contract.js";
import { GUARD_PATH, PADDING_KEY } from "../rules/metadata-keys.js";

export interface TreesToLand {
  readonly base: Base;
  /** Somebody has built on a landing's merge before it was reset. */
  readonly hasGuard: boolean;
  readonly place: WorkPlace;
  /** In the order to be made. */
  readonly commits: readonly PushedCommit[];
  readonly packs: readonly PackHandle[];
  readonly onProgress: RefUpdateOptions["onProgress"];
  /** The account that pushes. */
  readonly pusher: string | undefined;
}

export async function landTrees(
  options: LandingOptions,
  trees: TreesToLand,
  signal: AbortSignal,
): Promise<BuildTreesResult> {
  const { pool, tasks, access, client, namespace, sealKeys, heads, policy, mapping } = options;
  const {
    base,
    hasGuard,
    place: { branch: work, judged },
    commits,
    packs,
    onProgress,
    pusher,
  } = trees;
  const hidden = await hiddenIn(options, base, signal);
  // The guard of that merge goes no further.
  if (hasGuard) await client.deleteObjects(work.name, [GUARD_PATH], signal);
  const say = (done: number, files: number, total: number) =>
    onProgress?.(landingLine(done, commits.length, files, total), done === commits.length);
  const served = serve(options, commits.length, say, signal);
  const request = {
    access,
    repository: client.repository,
    namespace,
    sealKeys,
    heads: heads.latest.slice(0, LIMITS.landingTwinHeadsMax),
    workBranch: work.name,
    baseCommit: base.commit.id,
    isBaseHead: heads.latest.some(({ lakeId }) => lakeId === base.commit.id),
    baseMetarange: hasGuard ? "" : base.commit.meta_range_id,
    baseTree: base.git?.tree,
    isBasePadded: base.commit.metadata?.[PADDING_KEY] !== undefined,
    hidden,
    mapping: { ...mapping, namespace },
    packs,
    commits: commits.map(({ oid, tree }) => ({ oid, tree })),
    plainFileBytesMax: policy.plainFileBytesMax ?? LIMITS.plainFileBytesMax,
    pusher,
    judged,
    port: served.port,
  };
  try {
    const built = await tasks.run(
      () =>
        pool.run(buildTreesTask, request, {
          signal,
          transfer: [served.port],
          onAway: (isAway) => (isAway ? tasks.lend() : tasks.takeBack()),
        }),
      signal,
    );
    client.http.add(built.figures);
    // Said here: the thread's last message may come after its result.
    say(commits.length, built.files, built.files);
    await options.commits.proven.save(signal);
    return built;
  } finally {
    served.close();
  }
}

/** Undefined: more than are named, or nobody knows. */
async function hiddenIn(
  { commits }: LandingOptions,
  { commit, git }: Base,
  signal: AbortSignal,
): Promise<readonly string[] | undefined> {
  if (git === undefined) return [];
  const state = await commits.listing(commit.id, signal);
  return state?.refused === state?.refusals.length ? state?.refusals : undefined;
}

/** Hears a task's news and answers its questions. */
function serve(
  options: LandingOptions,
  total: number,
  say: (commits: number, files: number, filesTotal: number) => void,
  signal: AbortSignal,
): ServedPort<never> {
  const { commits, lfs } = options;
  return servePort<LandingNews, LandingQuestions>({
    onNews: (news) => {
      if (news.kind === "hashed") return void remember(options, news.key, news.facts, signal);
      if (news.kind === "proven") return commits.proven.add(news.ids);
      if (news.commits < total) say(news.commits, news.files, news.filesTotal);
    },
    answers: {
      address: (sha256, size) => lfs.address(sha256, size, signal),
      proves: (key, sha256) => commits.proves(key, sha256, signal),
    },
  });
}

/** Remembers what was landed; the rest is read once more by whoever needs it. */
async function remember(
  { commits, log, client }: LandingOptions,
  key: string,
  facts: HashedContent,
  signal: AbortSignal,
): Promise<void> {
  await commits.rememberHashed(key, facts, signal).catch((error: unknown) =>
    log.debug("hashes of a content are not remembered", {
      repository: client.repository,
      reason: asFault(error).message,
    }),
  );
}

/** "Landing 3/20 in lakeFS, 1,200/5,000 files": commits and files, done and in all. */
function landingLine(
  commits: number,
  commitsTotal: number,
  files: number,
  filesTotal: number,
): string {
  const text = (count: number) => count.toLocaleString("en-US");
  return `Landing ${text(commits)}/${text(commitsTotal)} in lakeFS, ${text(files)}/${text(filesTotal)} files`;
}
