/**
 * Looks through a lakeFS repository for what cannot be in Git, and names all of it. Reads only;
 * nothing of it is kept.
 */
import { foldersOf } from "../../git/ref-name.js";
import { fromLatin1, lossyText } from "../../base/bytes.js";
import { LIMITS } from "../../base/limits.js";
import { checkGitattributes, checkGitmodules } from "../../git/fsck/fsck.js";
import { parsePointer, POINTER_BYTES_MAX } from "../../git/lfs-pointer.js";
import { objectId } from "../../git/object-id.js";
import { type AttributesFile, PassingAttributes } from "../rules/commit-attributes.js";
import { type Cut, listCuts, readCut } from "../agreed/cuts.js";
import { POINTER_CONTENT, specialKind } from "../rules/file-to-resolve.js";
import type { PathMapping } from "../rules/contract.js";
import type { Filter } from "../../git/gitattributes.js";
import { listCommit, type ListingSource } from "../trees/listing.js";
import { locateThere } from "../trees/locate.js";
import { DEFAULT_MAPPING, readMapping } from "../agreed/mapping.js";
import {
  type Crossing,
  crossing,
  isFileMode,
  type LakeEntry,
  pathRefusal,
} from "../rules/path-rules.js";
import { fromLakefsId, type LakefsRefKind } from "../rules/ref-names.js";
import { RESERVED_BRANCH_PREFIX } from "../api/hidden-branches.js";

export interface RefFinding {
  readonly kind: LakefsRefKind;
  readonly id: string;
  readonly reason: string;
}

export interface PathFinding {
  readonly path: string;
  readonly reason: string;
}

export interface CommitFinding {
  readonly lakeId: string;
  /** Full Git names of the branches and tags at this commit. */
  readonly refs: readonly string[];
  readonly paths: readonly PathFinding[];
}

export interface Examination {
  /** Branches and tags whose names Git cannot have, or that stand for another's. */
  readonly refs: readonly RefFinding[];
  /** Heads that hold something which cannot be in Git. */
  readonly commits: readonly CommitFinding[];
  /** Commits that are not in Git, with what is before them: data of theirs is gone. */
  readonly cuts: readonly Cut[];
  /** Heads looked through. */
  readonly examined: number;
}

/** All heads of a repository, each commit once. Throws "lakefs/missing". */
export async function examineRepository(source: ListingSource): Promise<Examination> {
  const { client, signal } = source;
  const { storage_namespace: namespace } = await client.getRepository(signal);
  const mapping = (await readMapping(client, signal)) ?? DEFAULT_MAPPING;
  const { heads, refs } = await findHeads(source);
  const commits: CommitFinding[] = [];
  for (const [lakeId, names] of heads) {
    const paths = await examineCommit(source, lakeId, { ...mapping, namespace });
    if (paths.length > 0) commits.push({ lakeId, refs: names, paths });
  }
  const cuts: Cut[] = [];
  for await (const found of listCuts(client, signal)) {
    if (cuts.length === LIMITS.lakefsCutsMax) break; // whoever may make branches may make any number
    cuts.push(await readCut(client, found, signal));
  }
  return { refs, commits, cuts, examined: heads.size };
}

interface Head {
  readonly kind: LakefsRefKind;
  readonly id: string;
  readonly lakeId: string;
  /** Full Git name. */
  readonly name: string;
}

async function findHeads({
  client,
  signal,
}: ListingSource): Promise<{ heads: Map<string, string[]>; refs: RefFinding[] }> {
  const found: Head[] = [];
  const refs: RefFinding[] = [];
  const lists = {
    branch: client.listBranches({}, signal),
    tag: client.listTags({}, signal),
  } as const;
  for (const kind of ["branch", "tag"] as const) {
    for await (const { id, commit_id: lakeId } of lists[kind]) {
      if (kind === "branch" && id.startsWith(RESERVED_BRANCH_PREFIX)) continue;
      const short = fromLakefsId(kind, id);
      if (short === undefined)
        refs.push({ kind, id, reason: "Git cannot have this name, or another id stands for it" });
      else
        found.push({
          kind,
          id,
          lakeId,
          name: `refs/${kind === "branch" ? "heads" : "tags"}/${short}`,
        });
    }
  }
  const names = new Set(found.map(({ name }) => name));
  const heads = new Map<string, string[]>();
  for (const { kind, id, lakeId, name } of found) {
    const file = foldersOf(name).find((folder) => names.has(folder));
    if (file !== undefined)
      refs.push({ kind, id, reason: `${readable(file)} would be its folder` });
    else heads.set(lakeId, [...(heads.get(lakeId) ?? []), readable(name)]);
  }
  return { heads, refs };
}

/**
 * The paths of a commit that cannot be in Git, in lakeFS's order; files beside a folder of their
 * name come last.
 */
export async function examineCommit(
  source: ListingSource,
  lakeId: string,
  mapping: PathMapping,
): Promise<PathFinding[]> {
  const { client, signal } = source;
  const { meta_range_id: metarange } = await client.getCommit(lakeId, signal);
  const findings: PathFinding[] = [];
  const crossed: string[] = [];
  const attributes = attributesOf(source, lakeId, mapping);
  for await (const batch of listCommit(source, lakeId, metarange)) {
    const said: readonly Filter[] = mapping.version < 3 ? [] : await attributes.of(batch);
    for (const [at, entry] of batch.entries()) {
      const how = crossing(entry, mapping, said[at]);
      const reason =
        how.as === "refused" ? how.reason : await contentRefusal(source, lakeId, entry, how);
      if (reason !== undefined) findings.push({ path: readable(entry.path), reason });
      else if (how.as !== "nothing") crossed.push(entry.path);
    }
  }
  const folders = new Set(crossed.flatMap(foldersOf));
  const shadowed = crossed.filter((path) => folders.has(path));
  return [
    ...findings,
    ...shadowed.map((path) => ({ path: readable(path), reason: "a folder has the same name" })),
  ];
}

function attributesOf(
  source: ListingSource,
  lakeId: string,
  mapping: PathMapping,
): PassingAttributes {
  const { client, signal } = source;
  const read = async (entry: LakeEntry): Promise<AttributesFile> => {
    const how = crossing(entry, mapping, undefined);
    if (
      how.as !== "file" ||
      !isFileMode(how.mode) ||
      how.claim?.pointer !== undefined ||
      entry.size > LIMITS.specialFileBytesMax
    )
      return undefined;
    const text = await client.readObject(lakeId, readable(entry.path), entry.size, signal);
    return checkGitattributes(text) === undefined
      ? { oid: objectId("blob", text), text }
      : undefined;
  };
  return new PassingAttributes({
    find: (paths) =>
      locateThere(
        source,
        lakeId,
        paths.filter((path) => pathRefusal(path, mapping) === undefined),
      ),
    read: async (entries) => {
      const files: AttributesFile[] = [];
      for (const entry of entries) files.push(await read(entry)); // few, and one may have megabytes
      return files;
    },
  });
}

/**
 * Files that Git itself reads are refused for what is in them. Pointers and what is too large to be
 * held are not looked into, as in synthesis.
 */
async function contentRefusal(
  { client, signal }: ListingSource,
  lakeId: string,
  entry: LakeEntry,
  how: Crossing,
): Promise<string | undefined> {
  if (how.as !== "file" || entry.size > LIMITS.lakefsHeldBytesMax) return undefined;
  if (how.pointer) {
    if (how.claim !== undefined || how.linked !== undefined || entry.size > POINTER_BYTES_MAX)
      return undefined;
    const text = await client.readObject(lakeId, readable(entry.path), entry.size, signal);
    return parsePointer(text) && POINTER_CONTENT;
  }
  const special = specialKind({ entry, crossing: how, unchanged: undefined });
  if (special === undefined) return undefined;
  const data = await client.readObject(lakeId, readable(entry.path), entry.size, signal);
  const refusal = special === "gitmodules" ? checkGitmodules(data) : checkGitattributes(data);
  return refusal && `Git refuses it: ${refusal.text}`;
}

function readable(path: string): string {
  return lossyText(fromLatin1(path));
}
