/** Puts the reading half together for one lakeFS repository. */
import { asFault, Fault } from "../base/fault.js";
import type { Semaphore } from "../base/flow.js";
import { faultFacts, type Log } from "../observe/log.js";
import type { ObjectDatabase } from "../odb/object-database.js";
import type { RefStore } from "../odb/ref-store.js";
import type { LandedHead } from "../pool/landing-tasks.js";
import type { Pool } from "../pool/tasks.js";
import type { Store } from "../store/store.js";
import { LakefsClient } from "./client.js";
import { LakefsCommitMap } from "./commit-map.js";
import type { Mapping } from "./contract.js";
import type { LakefsAccess } from "./http.js";
import { LakefsRefs, type UnservedRef } from "./lakefs-refs.js";
import { type Landing, refusingLanding } from "./landing-contract.js";
import { formatMapping, isSameMapping, openMappingRecord, repairMapping } from "./mapping.js";
import { PromisedBlobs } from "./promised-blobs.js";
import { LakeRecords } from "./records.js";

export interface LakefsRepositoryOptions {
  readonly access: LakefsAccess;
  /** Default: one made from `access`. */
  readonly client?: LakefsClient;
  /** lakeFS's name of it. */
  readonly repository: string;
  readonly store: Store;
  /** Where its Git side lives in the store ("repos/…", without "/git"). */
  readonly prefix: string;
  readonly pool: Pool;
  readonly objects: ObjectDatabase;
  readonly manifestRefs: RefStore;
  /** Keys of seals: the first signs, all verify. Default: none. */
  readonly sealKeys?: readonly Uint8Array[];
  /** What the settings say; it counts only where lakeFS holds no mapping yet. */
  readonly mappingSeed: Mapping;
  readonly incoming: string;
  /** Synthesis tasks at once over all repositories: `new Semaphore(Math.max(1, pool.threads - 1))`, one for the server. */
  readonly synthesisTasks: Semaphore;
  readonly log: Log;
  /** Made with what it needs of this half; default: every push is refused. */
  readonly landing?: (parts: LandingParts) => Landing;
  readonly refsWaitMs?: number;
  /** Throws where lakeFS's name leads to another repository by now (LakefsRefsOptions). */
  readonly confirm?: (fresh: boolean, signal: AbortSignal) => Promise<void>;
  /** For tests. */
  readonly pagesOnly?: boolean;
  readonly cutsLookMs?: number;
}

export interface LandingParts {
  readonly client: LakefsClient;
  readonly repository: string;
  /** lakeFS's storage namespace of it. */
  readonly namespace: string;
  readonly sealKeys: readonly Uint8Array[];
  readonly mapping: Mapping;
  readonly commits: LakefsCommitMap;
  readonly defaultBranch: string;
  /** Commits that branches were at when the refs were last read. */
  heads(): readonly LandedHead[];
}

export interface LakefsRepository {
  readonly client: LakefsClient;
  readonly mapping: Mapping;
  readonly refs: LakefsRefs;
  readonly commits: LakefsCommitMap;
  readonly promised: PromisedBlobs;
  readonly defaultBranch: string;
  close(): void;
}

/** Throws "lakefs/missing" where lakeFS has no such repository. */
export async function openLakefsRepository(options: LakefsRepositoryOptions, signal: AbortSignal): Promise<LakefsRepository> {
  const { access, repository, store, prefix, pool, objects, manifestRefs, incoming, log, sealKeys = [] } = options;
  const client = options.client ?? new LakefsClient(access);
  const { default_branch: defaultBranch, storage_namespace: namespace } = await client.getRepository(repository, signal);
  const records = new LakeRecords(store, prefix);
  const mapping = await agreedMapping(client, records, options, signal);
  const commits = new LakefsCommitMap({
    access, client, repository, namespace, sealKeys, records, objects, pool, incoming, log,
    mapping: { ...mapping, namespace },
    tasks: options.synthesisTasks,
    pagesOnly: options.pagesOnly ?? false,
    cutsLookMs: options.cutsLookMs,
  });
  const remake = (pack: string, ending: AbortSignal) => commits.remake(pack, ending);
  const promised = new PromisedBlobs({ access, client, repository, namespace, records, objects, pool, incoming, log, tasks: options.synthesisTasks, remake });
  const heads = () => refs.latestHeads;
  const landing = options.landing?.({ client, repository, namespace, sealKeys, mapping, commits, defaultBranch, heads }) ?? refusingLanding("pushing to lakeFS is not possible yet");
  const onUnserved = ({ kind, id, reason }: UnservedRef) => log.warn("a ref of lakeFS is not served", { repository, kind, id, reason });
  const onIncomplete = (branch: string, fault: Fault) => log.debug("a half-landed push is not completed", { repository, branch, reason: fault.message });
  const refs: LakefsRefs = new LakefsRefs({
    client, repository, defaultBranch, commits, manifestRefs, landing, onUnserved, onIncomplete,
    ...(options.refsWaitMs === undefined ? {} : { waitMs: options.refsWaitMs }),
    ...(options.confirm === undefined ? {} : { confirm: options.confirm }),
  });
  return { client, mapping, refs, commits, promised, defaultBranch, close: () => refs.close() };
}

/**
 * What lakeFS says, and what this server has read the repository by before: they must not differ, or the same commits would get other ids. Where lakeFS has
 * lost its record, what was true before is written again, whatever the settings say now. Throws "lakefs/remapped".
 */
async function agreedMapping(client: LakefsClient, records: LakeRecords, { repository, mappingSeed, log }: LakefsRepositoryOptions, signal: AbortSignal): Promise<Mapping> {
  const before = await records.mapping(signal).catch((error: unknown) => {
    const fault = asFault(error);
    if (fault.code !== "odb/damaged") throw fault;
    log.warn("the note of a repository's mapping is damaged; it is made again", { repository, ...faultFacts(fault) });
    return undefined;
  });
  const now = await openMappingRecord(client, repository, before?.mapping ?? mappingSeed, signal, before).catch((error: unknown) => {
    // It is there, and is no mapping any more: with a note, that is another mapping.
    if (before === undefined || asFault(error).code !== "lakefs/bad-reply") throw error;
    throw new Fault("lakefs/remapped", { repository, before: formatMapping(before.mapping), now: "none that can be read" }, error);
  });
  if (before !== undefined && !isSameMapping(before.mapping, now.mapping)) {
    throw new Fault("lakefs/remapped", { repository, before: formatMapping(before.mapping), now: formatMapping(now.mapping) });
  }
  if (before?.commit !== now.commit || before === undefined) await records.putMapping(now, signal);
  return now.mapping;
}

/** Puts back into lakeFS what this server has read the repository by. Throws "lakefs/unmapped" where it never has. */
export async function repairNotedMapping(client: LakefsClient, store: Store, prefix: string, repository: string, signal: AbortSignal): Promise<{ readonly mapping: string; readonly commit: string | undefined }> {
  const records = new LakeRecords(store, prefix);
  const noted = await records.mapping(signal);
  if (noted === undefined) throw new Fault("lakefs/unmapped", { repository });
  const repaired = await repairMapping(client, repository, noted.mapping, signal);
  await records.putMapping(repaired, signal);
  return { mapping: formatMapping(repaired.mapping), commit: repaired.commit };
}
