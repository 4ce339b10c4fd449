/**
 * Both ids of a commit. A Git id is looked up among what the refs lead to, a lakeFS id among what
 * was read from lakeFS.
 *
 * A reader may see a lakeFS commit iff it may see the Git object it became. Reading the refs has
 * made Git commits of all that the branches and tags of lakeFS lead to, so what may be seen is
 * known by then: the check is a record's look-up and the want check's bit, never a walk through
 * lakeFS's log. A commit that no branch or tag leads to any more (a deleted branch, our hidden
 * ones) is refused even where it is known.
 */
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { isOid, type Oid } from "../../git/oid.js";
import type { Ref } from "../../odb/ref-store.js";
import type { FetchContext } from "./context.js";
import { visibleOf } from "./wants.js";
import { describeTask } from "../../odb/walk/tasks.js";
import { resolvePathTask } from "../../odb/pack-objects/tasks.js";

const LAKEFS_ID = /^[0-9a-f]{64}$/;
const LAKEFS_REFS = "refs/lakefs/";

export interface CommitIds {
  /** The object asked for: a commit, or an annotated tag. */
  readonly git: Oid;
  readonly type: "commit" | "tag";
  /** `git`, or the commit its tag stands for. */
  readonly commit: Oid;
  readonly tree: Oid;
  /** The lakeFS commit asked for, or one that became `git`; undefined: none is known. */
  readonly lakefs: string | undefined;
  /** All that became `git`, sorted: several after landings and merges. */
  readonly lakefsIds: readonly string[];
}

/**
 * Undefined: no such commit, or not for this reader. `id`: 40 hex digits of Git, or 64 of lakeFS.
 */
export async function findCommitIds(
  context: FetchContext,
  id: string,
): Promise<CommitIds | undefined> {
  const git = LAKEFS_ID.test(id) ? (await gitObject(context, id))?.oid : id;
  if (
    git === undefined ||
    !isOid(git) ||
    !context.has(git) ||
    !(await visibleOf(context, [git])).has(git)
  )
    return undefined;
  const { deps, handles: packs, repository, signal } = context;
  const [summary] = await deps.pool.run(describeTask, { packs, oids: [git] }, { signal });
  const commit = summary?.peeled ?? git;
  if (summary === undefined || (summary.peeledType ?? summary.type) !== "commit") return undefined;
  const tree = await deps.pool.run(resolvePathTask, { packs, oid: commit, path: "" }, { signal });
  if (tree === undefined) return undefined;
  const lakefsIds = [...((await repository.lakefs?.commits.toLake(git, signal)) ?? [])].sort();
  const lakefs = LAKEFS_ID.test(id) ? id : lakefsIds[0];
  return { git, type: summary.type === "tag" ? "tag" : "commit", commit, tree, lakefs, lakefsIds };
}

/** Returns whether a ref's name is that of a lakeFS commit: "refs/lakefs/<64 hex digits>". */
export function isLakefsRef(name: string): boolean {
  return name.startsWith(LAKEFS_REFS) && LAKEFS_ID.test(name.slice(LAKEFS_REFS.length));
}

/**
 * The refs that stand for lakeFS commits, which no list shows, by name. Left out: what is no such
 * name, no such commit, or not for this reader. Throws "wire/too-much".
 */
export async function findLakefsRefs(
  context: FetchContext,
  names: readonly string[],
): Promise<ReadonlyMap<string, Ref>> {
  const unique = [...new Set(names.filter(isLakefsRef))];
  if (unique.length > LIMITS.lakefsRefsAskedMax)
    throw new Fault("wire/too-much", {
      refs: unique.length,
      lakefsRefsAskedMax: LIMITS.lakefsRefsAskedMax,
    });
  const found: Ref[] = [];
  for (const name of unique) {
    const object = await gitObject(context, name.slice(LAKEFS_REFS.length));
    if (object !== undefined && context.has(object.oid)) found.push({ name, ...object });
  }
  const visible = await visibleOf(
    context,
    found.map(({ oid }) => oid),
  );
  return new Map(found.filter(({ oid }) => visible.has(oid)).map((ref) => [ref.name, ref]));
}

/**
 * Returns the Git object of a lakeFS commit: a commit, or the annotated tag its record stands for.
 */
async function gitObject(
  { repository, signal }: FetchContext,
  lakeId: string,
): Promise<{ readonly oid: Oid; readonly peeled?: Oid } | undefined> {
  const record = await repository.lakefs?.commits.known(lakeId, signal);
  if (record === undefined) return undefined;
  return record.tag === undefined
    ? { oid: record.commit }
    : { oid: record.tag, peeled: record.commit };
}
