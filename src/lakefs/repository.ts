/** Puts the reading half together for one lakeFS repository. */
import { asFault, Fault } from "../base/fault.js";
import type { Semaphore } from "../base/flow.js";
import { faultFacts, type Log } from "../observe/log.js";
import type { ObjectDatabase } from "../odb/object-database.js";
import type { RefStore } from "../odb/ref-store.js";
import type { Pool } from "../pool/task.js";
import type { Store } from "../store/store.js";
import { LakefsClient } from "./api/client.js";
import type { GuardState } from "./hooks/guard-proof.js";
import { LakefsCommitMap } from "./read/commit-map.js";
import type { Mapping } from "./rules/contract.js";
import type { LakefsAccess } from "./api/http.js";
import { LakefsRefs, type StaleRefs, type UnservedRef } from "./refs.js";
import { type Landing, type LandingParts, refusingLanding } from "./land/contract.js";
import { formatMapping, isSameMapping, openMappingRecord, repairMapping } from "./notes/mapping.js";
import { PromisedBlobs } from "./read/promised-blobs.js";
import { StoredLists } from "./read/promise-lists.js";
import { LakeRecords } from "./read/records.js";
import { RootCommit } from "./notes/root-commit.js";
import { unlessAway } from "./api/stale.js";

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
  /**
   * Synthesis tasks at once over all repositories: `new Semaphore(Math.max(1, pool.threads - 1))`,
   * one for the server.
   */
  readonly synthesisTasks: Semaphore;
  readonly log: Log;
  /** Made with what it needs of this half; default: every push is refused. */
  readonly landing?: (parts: LandingParts) => Landing;
  readonly refsWaitMs?: number;
  /** While lakeFS is away, what is known is served for reading. */
  readonly serveStale?: boolean;
  /** Told when a repository that was opened without lakeFS can be opened with it. */
  readonly onBack?: () => void;
  /** Throws where lakeFS's name leads to another repository by now (LakefsRefsOptions). */
  readonly confirm?: (fresh: boolean, signal: AbortSignal) => Promise<void>;
  /** For tests. */
  readonly pagesOnly?: boolean;
  readonly cutsLookMs?: number;
}

export interface OpenLakefsRepository {
  readonly client: LakefsClient;
  readonly mapping: Mapping;
  readonly refs: LakefsRefs;
  readonly commits: LakefsCommitMap;
  readonly promised: PromisedBlobs;
  /** Lists of what packs promise, for who folds the packs. */
  readonly lists: StoredLists;
  readonly defaultBranch: string;
  /** What is known of the guard of pushes. */
  guard(): GuardState;
  close(): void;
}

/** Throws "lakefs/missing" where lakeFS has no such repository. */
export async function openLakefsRepository(
  options: LakefsRepositoryOptions,
  signal: AbortSignal,
): Promise<OpenLakefsRepository> {
  const {
    access,
    repository,
    store,
    prefix,
    pool,
    objects,
    manifestRefs,
    incoming,
    log,
    sealKeys = [],
  } = options;
  const client = options.client ?? new LakefsClient(access);
  const records = new LakeRecords(store, prefix);
  const { defaultBranch, namespace, mapping, isStale } = await factsOf(
    client,
    records,
    options,
    signal,
  );
  const commits = new LakefsCommitMap({
    access,
    client,
    repository,
    namespace,
    sealKeys,
    records,
    objects,
    pool,
    incoming,
    log,
    mapping: { ...mapping, namespace },
    tasks: options.synthesisTasks,
    pagesOnly: options.pagesOnly ?? false,
    cutsLookMs: options.cutsLookMs,
  });
  const remake = (pack: string, ending: AbortSignal) => commits.remake(pack, ending);
  const promised = new PromisedBlobs({
    access,
    client,
    repository,
    namespace,
    records,
    objects,
    pool,
    incoming,
    log,
    tasks: options.synthesisTasks,
    remake,
  });
  const heads = () => refs.latestHeads;
  const root = new RootCommit(client, repository);
  const landing =
    options.landing?.({
      client,
      repository,
      namespace,
      sealKeys,
      mapping,
      commits,
      root,
      defaultBranch,
      heads,
    }) ?? refusingLanding("pushing to lakeFS is not possible yet");
  const onUnserved = ({ kind, id, reason }: UnservedRef) =>
    log.warn("a ref of lakeFS is not served", { repository, kind, id, reason });
  const onIncomplete = (branch: string, fault: Fault) =>
    log.debug("a half-landed push is not completed", { repository, branch, reason: fault.message });
  const refs: LakefsRefs = new LakefsRefs({
    client,
    repository,
    defaultBranch,
    commits,
    manifestRefs,
    landing,
    onUnserved,
    onIncomplete,
    ...(options.refsWaitMs === undefined ? {} : { waitMs: options.refsWaitMs }),
    ...(options.confirm === undefined ? {} : { confirm: options.confirm }),
    stale:
      options.serveStale === true
        ? staleRefs(records, { defaultBranch, namespace, isStale }, options)
        : undefined,
  });
  const guard = () => landing.guard;
  const lists = new StoredLists({ records, pool, incoming });
  return {
    client,
    mapping,
    refs,
    commits,
    promised,
    lists,
    defaultBranch,
    guard,
    close: () => refs.close(),
  };
}

interface Facts {
  readonly defaultBranch: string;
  readonly namespace: string;
  readonly mapping: Mapping;
  /** As they were when lakeFS was there. */
  readonly isStale: boolean;
}

/**
 * What a repository is opened by: asked of lakeFS, or while that is away and it may be, what was
 * noted.
 */
async function factsOf(
  client: LakefsClient,
  records: LakeRecords,
  options: LakefsRepositoryOptions,
  signal: AbortSignal,
): Promise<Facts> {
  const now = async (asking: AbortSignal): Promise<Facts> => {
    const { default_branch: defaultBranch, storage_namespace: namespace } =
      await client.getRepository(options.repository, asking);
    return {
      defaultBranch,
      namespace,
      mapping: await agreedMapping(client, records, options, asking),
      isStale: false,
    };
  };
  if (options.serveStale !== true) return now(signal);
  const noted = async (): Promise<Facts | undefined> => {
    const [served, record] = [await records.served(signal), await records.mapping(signal)];
    if (served === undefined || record === undefined) return undefined;
    return {
      defaultBranch: served.defaultBranch,
      namespace: served.namespace,
      mapping: record.mapping,
      isStale: true,
    };
  };
  return unlessAway(client.http, now, noted, signal);
}

function staleRefs(
  records: LakeRecords,
  facts: Omit<Facts, "mapping">,
  { repository, log, onBack }: LakefsRepositoryOptions,
): StaleRefs {
  const { defaultBranch, namespace, isStale } = facts;
  let isChecked = !isStale;
  return {
    async known(signal) {
      const served = await records.served(signal);
      if (served === undefined) return undefined;
      const refs = served.refs.map(([name, oid, peeled]) => ({
        name,
        oid,
        ...(peeled === undefined ? {} : { peeled }),
      }));
      const byName = new Map(refs.map((ref) => [ref.name, ref]));
      return {
        revision: `stale ${served.atMs}`,
        head: served.head,
        refs,
        byName,
        staleSinceMs: served.atMs,
      };
    },
    note: ({ head, refs }) => {
      // What the repository was opened by was never compared with what lakeFS says.
      if (!isChecked) onBack?.();
      isChecked = true;
      const rows = refs.map(({ name, oid, peeled }): [string, string] | [string, string, string] =>
        peeled === undefined ? [name, oid] : [name, oid, peeled],
      );
      return records.putServed({ atMs: Date.now(), defaultBranch, namespace, head, refs: rows });
    },
    changed(isAway) {
      if (isAway) log.warn("lakeFS is away: what is known is served for reading", { repository });
      else log.info("lakeFS answers again", { repository });
    },
  };
}

/**
 * What lakeFS says, and what this server has read the repository by before: they must not differ,
 * or the same commits would get other ids. Where lakeFS has lost its record, what was true before
 * is written again, whatever the settings say now. Throws "lakefs/remapped".
 */
async function agreedMapping(
  client: LakefsClient,
  records: LakeRecords,
  { repository, mappingSeed, log }: LakefsRepositoryOptions,
  signal: AbortSignal,
): Promise<Mapping> {
  const before = await records.mapping(signal).catch((error: unknown) => {
    const fault = asFault(error);
    if (fault.code !== "odb/damaged") throw fault;
    log.warn("the note of a repository's mapping is damaged; it is made again", {
      repository,
      ...faultFacts(fault),
    });
    return undefined;
  });
  const now = await openMappingRecord(
    client,
    repository,
    before?.mapping ?? mappingSeed,
    signal,
    before,
  ).catch((error: unknown) => {
    // It is there, and is no mapping any more: with a note, that is another mapping.
    if (before === undefined || asFault(error).code !== "lakefs/bad-reply") throw error;
    throw new Fault(
      "lakefs/remapped",
      { repository, before: formatMapping(before.mapping), now: "none that can be read" },
      error,
    );
  });
  if (before !== undefined && !isSameMapping(before.mapping, now.mapping)) {
    throw new Fault("lakefs/remapped", {
      repository,
      before: formatMapping(before.mapping),
      now: formatMapping(now.mapping),
    });
  }
  if (before?.commit !== now.commit || before === undefined) await records.putMapping(now, signal);
  return now.mapping;
}

/**
 * Puts back into lakeFS what this server has read the repository by. Throws "lakefs/unmapped" where
 * it never has.
 */
export async function repairNotedMapping(
  client: LakefsClient,
  store: Store,
  prefix: string,
  repository: string,
  signal: AbortSignal,
): Promise<{ readonly mapping: string; readonly commit: string | undefined }> {
  const records = new LakeRecords(store, prefix);
  const noted = await records.mapping(signal);
  if (noted === undefined) throw new Fault("lakefs/unmapped", { repository });
  const repaired = await repairMapping(client, repository, noted.mapping, signal);
  await records.putMapping(repaired, signal);
  return { mapping: formatMapping(repaired.mapping), commit: repaired.commit };
}
