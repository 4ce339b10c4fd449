/**
 * Cuts: commits where Git's history of a lakeFS repository begins anew. lakeFS's garbage collection
 * removes the data of old commits and leaves the commits: one that misses a file, whose blob id
 * nobody knows, cannot be in Git. It is cut then, with all that only it leads to, and its children
 * have no parent. That decides their ids, so it is agreed once, in lakeFS itself, for all servers
 * and whatever becomes of the data:
 *
 *   lakepack-cut-<lakeFS commit id>   a hidden branch at a commit record below the first commit,
 *                                     with the metadata
 *     lakepack.cut                    {"version":1,"commit":"<id>","path":"<a path whose data is
 *                                     gone>"}
 *
 * Making a branch is an atomic test-and-set, and nothing is ever taken back. A server that meets a
 * record counts it if that data is gone. Records and branches from the first commit run no hooks on
 * files. A commit whose files are gone but whose claims fit the pushed commit that it carries is
 * not cut: its ids are known (contents.ts).
 */
import { z } from "zod";
import { Fault } from "../../base/fault.js";
import type { LakefsClient } from "../api/client.js";
import { generationAfter, writeCommitRecord } from "../api/commit-record.js";
import { CUT_KEY } from "../rules/metadata-keys.js";
import { RESERVED_BRANCH_PREFIX } from "../api/hidden-branches.js";
import { RootCommit } from "./root-commit.js";

export const CUT_PREFIX = `${RESERVED_BRANCH_PREFIX}cut-`;
const CUT_BRANCH = /^lakepack-cut-([0-9a-f]{64})$/;

/** A commit that is not in Git, and a path there, as lakeFS spells it, whose data is gone. */
export interface Cut {
  readonly commit: string;
  readonly path: string;
}

const RECORD = z.object({ version: z.literal(1), commit: z.string(), path: z.string() });

/**
 * Commits that are cut, with the commit that is the record of it, in the order of their ids: any
 * number, page by page.
 */
export async function* listCuts(
  client: LakefsClient,
  signal: AbortSignal,
): AsyncGenerator<{ readonly commit: string; readonly record: string }, void, undefined> {
  for await (const { id, commit_id: record } of client.listBranches(
    { prefix: CUT_PREFIX, hidden: true },
    signal,
  )) {
    const commit = CUT_BRANCH.exec(id)?.[1];
    if (commit !== undefined) yield { commit, record };
  }
}

/**
 * Reads what a record says; `path` is empty where somebody has changed it. It is a claim:
 * agreed-cuts.ts confirms it.
 */
export async function readCut(
  client: LakefsClient,
  { commit, record }: { readonly commit: string; readonly record: string },
  signal: AbortSignal,
): Promise<Cut> {
  const { metadata } = await client.getCommit(record, signal);
  const parsed = RECORD.safeParse(parseJson(metadata?.[CUT_KEY]));
  return { commit, path: parsed.success ? parsed.data.path : "" };
}

/** Cuts a commit, for all servers and for ever. Being cut already is success. */
export async function agreeOnCut(
  client: LakefsClient,
  cut: Cut,
  signal: AbortSignal,
): Promise<void> {
  const root = await new RootCommit(client).get(signal);
  const { creation_date: creationDate } = await client.getCommit(cut.commit, signal);
  const metadata = { [CUT_KEY]: JSON.stringify({ version: 1, ...cut }) };
  const facts = {
    committer: "",
    message: "Git's history is cut here: data of an old commit is gone",
    metarangeId: root.meta_range_id,
    creationDate,
    parents: [root.id],
    metadata,
    generation: generationAfter([root]),
  };
  const source = await writeCommitRecord(client, facts, signal);
  const name = `${CUT_PREFIX}${cut.commit}`;
  await client.createBranch({ name, source, hidden: true }, signal).catch((error: unknown) => {
    if (!(error instanceof Fault && error.code === "lakefs/conflict")) throw error; // another server was first
  });
}

/**
 * Returns whether lakeFS still says that this path's data is gone, and of no repository that it is
 * deleting.
 */
export async function isGone(
  client: LakefsClient,
  { commit, path }: Cut,
  signal: AbortSignal,
): Promise<boolean> {
  await client.getRepository(signal);
  try {
    const { body } = await client.streamObject(commit, path, "bytes=0-0", signal);
    for await (const _ of body) break;
    return false;
  } catch (error) {
    if (error instanceof Fault && error.code === "lakefs/gone") return true;
    throw error;
  }
}

function parseJson(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? "");
  } catch {
    return undefined; // said by the caller
  }
}
