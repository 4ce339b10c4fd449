/**
 * The mapping: what decides, beside lakeFS's own data, how its commits look in Git. It is data of
 * the lakeFS repository, not configuration: on first contact the settings' values become the
 * metadata of a commit under the hidden branch `lakepack-mapping`. Making a branch is an atomic
 * test-and-set there, so of several nodes one wins, and all read back what it wrote. The record
 * that is read rules for ever: the first one of the branch, whatever is committed there later.
 */
import { z } from "zod";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import type { LakefsClient } from "../api/client.js";
import type { LinkedMapping, Mapping, SizeMapping } from "../rules/contract.js";
import { generationAfter, writeCommitRecord } from "../api/commit-record.js";
import { MAPPING_KEY } from "../rules/metadata-keys.js";
import { MAPPING_BRANCH } from "../api/hidden-branches.js";
import { walkToRoot } from "./root-commit.js";
import type { LakefsCommit, LakefsPage } from "../api/types.js";
import { removeQuietly } from "../api/work-branch.js";

export { MAPPING_BRANCH };

/** The mapping of a repository that nobody has configured. */
export const DEFAULT_MAPPING: SizeMapping = { version: 3, threshold: 1_000_000, suffixes: [] };

/** The mapping of a KohakuHub's repository. */
export const LINKED_MAPPING: LinkedMapping = { version: 2, pointers: "linked" };

const MAPPING = z.discriminatedUnion("version", [
  z.object({
    version: z.literal(3),
    threshold: z.number().int().min(1),
    suffixes: z.array(z.string().regex(/^[^/.A-Z\0][^/A-Z\0]*$/)),
  }),
  z.object({ version: z.literal(2), pointers: z.literal("linked") }),
]);

/** The mapping of a lakepack before any release. */
const OLD_VERSION = z.object({ version: z.literal(1) });

/**
 * A mapping and the commit that is its record; undefined: a read-only repository has none, and the
 * default rules.
 */
export interface MappingRecord {
  readonly mapping: Mapping;
  readonly commit: string | undefined;
}

/**
 * The mapping of this lakeFS repository; where it has none yet, `seed` becomes it, or what another
 * node writes at the same time. Nothing is written into a repository that is read-only: it has the
 * default mapping, the same on every node whatever its settings. lakeFS decides that when a
 * repository is made, and no call of it changes it, so it will never be seeded otherwise. `known`:
 * a commit that was the record before; where the branch still leads there, it still is.
 */
export async function openMappingRecord(
  client: LakefsClient,
  seed: Mapping,
  signal: AbortSignal,
  known?: MappingRecord,
): Promise<MappingRecord> {
  const there = await readMappingRecord(client, signal, known);
  if (there !== undefined) return there;
  if ((await client.getRepository(signal)).read_only === true)
    return { mapping: DEFAULT_MAPPING, commit: undefined };
  await seedMapping(client, seed, signal);
  const seeded = await readMappingRecord(client, signal);
  if (seeded === undefined)
    throw new Fault("lakefs/bad-reply", {
      repository: client.repository,
      reason: `the branch ${MAPPING_BRANCH} is gone again`,
    });
  return seeded;
}

/** The mapping as it is; undefined: there is none yet. Throws as `readMappingRecord`. */
export async function readMapping(
  client: LakefsClient,
  signal: AbortSignal,
): Promise<Mapping | undefined> {
  return (await readMappingRecord(client, signal))?.mapping;
}

/**
 * The first record of the branch: whatever anybody commits there later changes nothing. Undefined:
 * there is no such branch. Throws "lakefs/bad-reply" where none can be read: a guess would change
 * every object id; "lakefs/old-mapping".
 */
async function readMappingRecord(
  client: LakefsClient,
  signal: AbortSignal,
  known?: MappingRecord,
): Promise<MappingRecord | undefined> {
  const branch = await client.findBranch(MAPPING_BRANCH, signal);
  if (branch === undefined) return undefined;
  if (known !== undefined && known.commit === branch.commit_id) return known;
  const first = await firstRecord(client, branch.commit_id, signal, known?.commit);
  if (known !== undefined && first?.id === known.commit) return known;
  const value = parseJson(first?.metadata?.[MAPPING_KEY]);
  const parsed = MAPPING.safeParse(value);
  if (first !== undefined && parsed.success) return { mapping: parsed.data, commit: first.id };
  if (OLD_VERSION.safeParse(value).success)
    throw new Fault("lakefs/old-mapping", {
      repository: client.repository,
      branch: MAPPING_BRANCH,
      version: 1,
    });
  throw new Fault("lakefs/bad-reply", {
    repository: client.repository,
    branch: MAPPING_BRANCH,
    reason: "it holds no mapping that this version knows",
  });
}

/**
 * The record next to the root along first parents, or `known` as soon as that comes: what is before
 * it was looked through when it became known.
 */
async function firstRecord(
  client: LakefsClient,
  head: string,
  signal: AbortSignal,
  known: string | undefined,
): Promise<LakefsCommit | undefined> {
  let found: LakefsCommit | undefined;
  let id: string | undefined = head;
  for (let pages = 0; id !== undefined; pages++) {
    if (pages === LIMITS.mappingPagesMax) {
      throw new Fault("lakefs/bad-reply", {
        repository: client.repository,
        branch: MAPPING_BRANCH,
        reason: "more has been committed there than is looked through",
        commits: pages * LIMITS.mappingPage,
      });
    }
    const { results }: LakefsPage<LakefsCommit> = await client
      .firstParents(id, LIMITS.mappingPage, signal)
      .catch((error: unknown) => {
        // The repository is there: "missing" would say that it is not.
        throw error instanceof Fault && error.code === "lakefs/missing"
          ? new Fault(
              "lakefs/bad-reply",
              {
                repository: client.repository,
                branch: MAPPING_BRANCH,
                reason: "its commit is not found",
              },
              error,
            )
          : error;
      });
    for (const commit of results) {
      if (commit.id === known) return commit;
      if (commit.metadata?.[MAPPING_KEY] !== undefined) found = commit;
    }
    id = results.at(-1)?.parents[0];
  }
  return found;
}

/** Puts a mapping back that lakeFS has another one in place of: the branch is made anew. */
export async function repairMapping(
  client: LakefsClient,
  mapping: Mapping,
  signal: AbortSignal,
): Promise<MappingRecord> {
  await removeQuietly(client, MAPPING_BRANCH, (await firstCommit(client, signal)).id, signal);
  const repaired = await openMappingRecord(client, mapping, signal);
  if (isSameMapping(repaired.mapping, mapping)) return repaired;
  throw new Fault("lakefs/remapped", {
    repository: client.repository,
    before: formatMapping(mapping),
    now: formatMapping(repaired.mapping),
  });
}

const NOTE = z.object({ version: z.literal(2), mapping: MAPPING, commit: z.string().optional() });

const OLD_NOTE = z.object({ version: z.literal(2), mapping: OLD_VERSION });

/** A server's note of what it has read a repository by. */
export function formatNote({ mapping, commit }: MappingRecord): string {
  return JSON.stringify({
    version: 2,
    mapping: MAPPING.parse(mapping),
    ...(commit === undefined ? {} : { commit }),
  });
}

/** Undefined: it cannot be read. Throws "lakefs/old-mapping". */
export function parseNote(text: string): MappingRecord | undefined {
  const value = parseJson(text);
  const note = NOTE.safeParse(value).data;
  if (note === undefined && OLD_NOTE.safeParse(value).success)
    throw new Fault("lakefs/old-mapping", { version: 1 });
  return note && { mapping: note.mapping, commit: note.commit };
}

/** Returns whether two mappings make the same ids. */
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

/**
 * A record behind the repository's first commit, whose tree is empty: no hook of lakeFS is told of
 * it, and none can refuse it.
 */
async function seedMapping(
  client: LakefsClient,
  seed: Mapping,
  signal: AbortSignal,
): Promise<void> {
  const root = await firstCommit(client, signal);
  const facts = {
    committer: "lakepack",
    message: "The mapping between lakeFS and Git",
    metarangeId: root.meta_range_id,
    creationDate: Math.floor(Date.now() / 1_000),
    parents: [root.id],
    metadata: { [MAPPING_KEY]: JSON.stringify(seed) },
    generation: generationAfter([root]),
  };
  const record = await writeCommitRecord(client, facts, signal);
  await client
    .createBranch({ name: MAPPING_BRANCH, source: record, hidden: true }, signal)
    .catch((error: unknown) => {
      if (!(error instanceof Fault && error.code === "lakefs/conflict")) throw error; // another node was first
    });
}

async function firstCommit(client: LakefsClient, signal: AbortSignal): Promise<LakefsCommit> {
  const { default_branch: branch } = await client.getRepository(signal);
  return walkToRoot(client, (await client.getBranch(branch, signal)).commit_id, signal);
}
