/**
 * Finds why a new ref cannot be beside those that are there. A few look-ups by name: a push may
 * bring thousands of refs, and a repository have as many.
 */
import { Fault } from "../../base/fault.js";
import { foldersOf } from "../../git/ref-name.js";
import type { LakefsClient } from "../api/client.js";
import { fromLakefsId, type LakefsRefKind, splitRefName, toLakefsId } from "../rules/ref-names.js";
import { RESERVED_BRANCH_PREFIX } from "../api/hidden-branches.js";
import type { LakefsRef } from "../api/types.js";

/**
 * `name`: full. lakeFS refuses a branch and a tag of one id; Git cannot have a ref that is
 * another's folder.
 */
export async function nameClash(
  client: LakefsClient,
  name: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const ref = splitRefName(name);
  if (ref === undefined) return undefined;
  const { kind, short } = ref;
  const id = toLakefsId(kind, short);
  const other = kind === "branch" ? "tag" : "branch";
  if ((await findRef(client, other, id, signal)) !== undefined)
    return `lakeFS cannot have a branch and a tag of one name, and there is a ${other} '${short}'`;
  const beside =
    (await parentOf(client, kind, short, signal)) ?? (await childOf(client, kind, short, signal));
  return beside === undefined
    ? undefined
    : `cannot be beside '${beside}': one would be the folder of the other`;
}

/** A ref by its lakeFS id; undefined: there is none, or none can be of that kind. */
export async function findRef(
  client: LakefsClient,
  kind: LakefsRefKind,
  id: string,
  signal: AbortSignal,
): Promise<LakefsRef | undefined> {
  try {
    return await (kind === "branch" ? client.getBranch(id, signal) : client.getTag(id, signal));
  } catch (error) {
    if (
      error instanceof Fault &&
      (error.code === "lakefs/missing" || error.code === "lakefs/bad-request")
    )
      return undefined;
    throw error;
  }
}

/** A ref that has the name of a folder `short` would be in. */
async function parentOf(
  client: LakefsClient,
  kind: LakefsRefKind,
  short: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  for (const folder of foldersOf(short)) {
    const found = await findRef(client, kind, toLakefsId(kind, folder), signal);
    if (found !== undefined && isServed(kind, found.id)) return folder;
  }
  return undefined;
}

/** A ref that would be in the folder `short`. */
async function childOf(
  client: LakefsClient,
  kind: LakefsRefKind,
  short: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  // How a name beyond ASCII begins depends on all of it: then every ref is looked at.
  const isAscii = /^[\x00-\x7f]*$/.test(short);
  const options = isAscii ? { prefix: toLakefsId(kind, `${short}/`) } : {};
  const listed =
    kind === "branch" ? client.listBranches(options, signal) : client.listTags(options, signal);
  for await (const { id } of listed) {
    const child = isServed(kind, id) ? fromLakefsId(kind, id) : undefined;
    if (child?.startsWith(`${short}/`)) return child;
  }
  return undefined;
}

function isServed(kind: LakefsRefKind, id: string): boolean {
  return (
    (kind === "tag" || !id.startsWith(RESERVED_BRANCH_PREFIX)) &&
    fromLakefsId(kind, id) !== undefined
  );
}
