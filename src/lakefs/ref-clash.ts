/** Why a new ref cannot be beside those that are there. */
import type { LakefsClient } from "./client.js";
import { fromLakefsId, RESERVED_BRANCH_PREFIX, splitRefName, toLakefsId } from "./ref-names.js";

/** `name`: full. lakeFS refuses a branch and a tag of one id; Git cannot have a ref that is another's folder. */
export async function nameClash(client: LakefsClient, repository: string, name: string, signal: AbortSignal): Promise<string | undefined> {
  const ref = splitRefName(name);
  if (ref === undefined) return undefined;
  const id = toLakefsId(ref.kind, ref.short);
  const lists = { branch: client.listBranches(repository, {}, signal), tag: client.listTags(repository, signal) } as const;
  for (const kind of ["branch", "tag"] as const) {
    for await (const other of lists[kind]) {
      if (kind === "branch" && other.id.startsWith(RESERVED_BRANCH_PREFIX)) continue;
      if (kind !== ref.kind) {
        if (other.id === id) return `lakeFS cannot have a branch and a tag of one name, and there is a ${kind} '${ref.short}'`;
        continue;
      }
      const short = fromLakefsId(kind, other.id);
      if (short === undefined) continue;
      if (short.startsWith(`${ref.short}/`) || ref.short.startsWith(`${short}/`)) return `cannot be beside '${short}': one would be the folder of the other`;
    }
  }
  return undefined;
}
