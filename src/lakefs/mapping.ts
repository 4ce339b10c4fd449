/**
 * The mapping: what decides, beside lakeFS's own data, how its commits look in Git. It is data of the lakeFS repository, not configuration: on first
 * contact the settings' values become the metadata of a commit under the hidden branch `lakepack-mapping`. Making a branch is an atomic
 * test-and-set there, so of several nodes one wins, and all read back what it wrote. What is read rules for ever.
 */
import { z } from "zod";
import { Fault } from "../base/fault.js";
import type { LakefsClient } from "./client.js";
import type { LinkedMapping, Mapping, SizeMapping } from "./contract.js";
import { MAPPING_KEY } from "./metadata-keys.js";
import { onWorkBranch } from "./work-branch.js";

export const MAPPING_BRANCH = "lakepack-mapping";

/** What a repository that nobody has configured gets. */
export const DEFAULT_MAPPING: SizeMapping = { version: 1, threshold: 1_000_000, suffixes: [] };

/** What a KohakuHub's repository gets. */
export const LINKED_MAPPING: LinkedMapping = { version: 2, pointers: "linked" };

const MAPPING = z.discriminatedUnion("version", [
  z.object({
    version: z.literal(1),
    threshold: z.number().int().min(1),
    suffixes: z.array(z.string().regex(/^[^/.A-Z\0][^/A-Z\0]*$/)),
  }),
  z.object({ version: z.literal(2), pointers: z.literal("linked") }),
]);

/**
 * The mapping of this lakeFS repository; where it has none yet, `seed` becomes it, or what another node writes at the same time. Nothing is written into a
 * repository that is read-only: it has the default mapping, the same on every node whatever its settings. lakeFS decides that when a repository is made, and no
 * call of it changes it, so it will never be seeded otherwise.
 */
export async function openMapping(client: LakefsClient, repository: string, seed: Mapping, signal: AbortSignal): Promise<Mapping> {
  const there = await readMapping(client, repository, signal);
  if (there !== undefined) return there;
  if ((await client.getRepository(repository, signal)).read_only === true) return DEFAULT_MAPPING;
  await seedMapping(client, repository, seed, signal);
  const seeded = await readMapping(client, repository, signal);
  if (seeded === undefined) throw new Fault("lakefs/bad-reply", { repository, reason: `the branch ${MAPPING_BRANCH} is gone again` });
  return seeded;
}

/** The mapping as it is; undefined: there is none yet. Throws "lakefs/bad-reply" where it cannot be read: a guess would change every object id. */
export async function readMapping(client: LakefsClient, repository: string, signal: AbortSignal): Promise<Mapping | undefined> {
  const branch = await client.getBranch(repository, MAPPING_BRANCH, signal).catch(missingIsUndefined);
  if (branch === undefined) return undefined;
  const commit = await client.getCommit(repository, branch.commit_id, signal).catch((error: unknown) => {
    // The repository is there: "missing" would say that it is not.
    throw error instanceof Fault && error.code === "lakefs/missing" ? new Fault("lakefs/bad-reply", { repository, branch: MAPPING_BRANCH, reason: "its commit is not found" }, error) : error;
  });
  const text = commit.metadata?.[MAPPING_KEY];
  const parsed = MAPPING.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  throw new Fault("lakefs/bad-reply", { repository, branch: MAPPING_BRANCH, reason: "it holds no mapping that this version knows" });
}

/** What this server has read the repository by before; undefined: it cannot be read. */
export function parseMapping(text: string): Mapping | undefined {
  return MAPPING.safeParse(parseJson(text)).data;
}

/** Whether two mappings make the same ids. */
export function isSameMapping(left: Mapping, right: Mapping): boolean {
  return formatMapping(left) === formatMapping(right);
}

/** One text for each mapping. */
export function formatMapping(mapping: Mapping): string {
  return JSON.stringify(MAPPING.parse(mapping)); // in the schema's order
}

function parseJson(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? "");
  } catch {
    return undefined; // said by the caller
  }
}

async function seedMapping(client: LakefsClient, repository: string, seed: Mapping, signal: AbortSignal): Promise<void> {
  const { default_branch } = await client.getRepository(repository, signal);
  await onWorkBranch({ client, repository, source: default_branch, signal }, async (work) => {
    const metadata = { [MAPPING_KEY]: JSON.stringify(seed) };
    const { id } = await client.commit(repository, work.name, { message: "The mapping between lakeFS and Git", metadata, allow_empty: true }, signal);
    await client.createBranch(repository, { name: MAPPING_BRANCH, source: id, hidden: true }, signal).catch((error: unknown) => {
      if (!(error instanceof Fault && error.code === "lakefs/conflict")) throw error; // another node was first
    });
  });
}

function missingIsUndefined(error: unknown): undefined {
  if (error instanceof Fault && error.code === "lakefs/missing") return undefined;
  throw error;
}
