/**
 * Opens one lakeFS repository, in this order: what is read of it, the landing of pushes, which
 * works with that, and the refs, which need both.
 */
import { asFault, Fault } from "../base/fault.js";
import type { Semaphore } from "../base/flow.js";
import { faultFacts, type Log } from "../observe/log.js";
import type { ObjectDatabase } from "../odb/object-database.js";
import type { Pool } from "../pool/task.js";
import type { Store } from "../store/store.js";
import type { LakefsClient } from "./api/client.js";
import { BranchHeads } from "./read/branch-heads.js";
import { LakefsCommitMap } from "./read/commit-map.js";
import type { Mapping } from "./rules/contract.js";
import type { LakefsAccess } from "./api/http.js";
import { LakefsRefs, type LakefsRefsOptions, type StaleRefs } from "./refs.js";
import {
  formatMapping,
  isSameMapping,
  openMappingRecord,
  repairMapping,
} from "./agreed/mapping.js";
import { PromisedBlobs } from "./read/promised-blobs.js";
import { StoredLists } from "./read/promise-lists.js";
import { LakeNotes } from "./read/lake-notes.js";
import { RootCommit } from "./agreed/root-commit.js";
import { unlessAway } from "./api/stale.js";

export interface LakefsReadingOptions {
  readonly access: LakefsAccess;
  readonly client: LakefsClient;
  readonly store: Store;
  /** Prefix of its Git side in the store ("repos/…", without "/git"). */
  readonly prefix: string;
  readonly pool: Pool;
  readonly objects: ObjectDatabase;
  /** Keys of seals: the first signs, all verify. Default: none. */
  readonly sealKeys?: readonly Uint8Array[];
  /** The mapping of the settings; it counts only where lakeFS holds none yet. */
  readonly mappingSeed: Mapping;
  readonly incoming: string;
  /**
   * Synthesis tasks at once over all repositories: `new Semaphore(Math.max(1, pool.threads - 1))`,
   * one for the server.
   */
  readonly synthesisTasks: Semaphore;
  readonly log: Log;
  /** While lakeFS is away, what is known is served for reading. */
  readonly serveStale?: boolean;
  /** Told when a repository that was opened without lakeFS can be opened with it. */
  readonly onBack?: () => void;
  /** For tests. */
  readonly pagesOnly?: boolean;
  readonly cutsLookMs?: number;
}

/** The reading half of one lakeFS repository. */
export interface LakefsReading {
  readonly client: LakefsClient;
  /** lakeFS's storage namespace of it. */
  readonly namespace: string;
  readonly defaultBranch: string;
  readonly sealKeys: readonly Uint8Array[];
  readonly mapping: Mapping;
  readonly commits: LakefsCommitMap;
  readonly promised: PromisedBlobs;
  /** Lists of what packs promise, for who folds the packs. */
  readonly lists: StoredLists;
  readonly root: RootCommit;
  readonly heads: BranchHeads;
  /** Refs to serve while lakeFS is away; undefined: none. */
  readonly stale: StaleRefs | undefined;
}

/** Throws "lakefs/missing" where lakeFS has no such repository. */
export async function openLakefsReading(
  options: LakefsReadingOptions,
  signal: AbortSignal,
): Promise<LakefsReading> {
  const { access, client, store, prefix, pool, objects, incoming, log, sealKeys = [] } = options;
  const records = new LakeNotes(store, prefix);
  const { defaultBranch, namespace, mapping, isStale } = await factsOf(
    client,
    records,
    options,
    signal,
  );
  const shared = {
    access,
    client,
    namespace,
    records,
    objects,
    pool,
    log,
    tasks: options.synthesisTasks,
  };
  const commits = new LakefsCommitMap({
    ...shared,
    sealKeys,
    mapping: { ...mapping, namespace },
    pagesOnly: options.pagesOnly ?? false,
    cutsLookMs: options.cutsLookMs,
  });
  const remake = (pack: string, ending: AbortSignal) => commits.remake(pack, ending);
  const promised = new PromisedBlobs({ ...shared, remake });
  const stale =
    options.serveStale === true
      ? staleRefs(records, { defaultBranch, namespace, isStale }, options)
      : undefined;
  return {
    client,
    namespace,
    defaultBranch,
    sealKeys,
    mapping,
    commits,
    promised,
    lists: new StoredLists({ records, pool, incoming }),
    root: new RootCommit(client),
    heads: new BranchHeads(),
    stale,
  };
}

export interface LakefsRefsWishes
  extends Pick<LakefsRefsOptions, "manifestRefs" | "landing" | "confirm" | "waitMs"> {
  readonly log: Log;
}

/** Refs of what `reading` reads, whose pushes land by `landing`. */
export function openLakefsRefs(
  { client, defaultBranch, commits, heads, stale }: LakefsReading,
  { log, ...wishes }: LakefsRefsWishes,
): LakefsRefs {
  return new LakefsRefs({
    ...wishes,
    client,
    defaultBranch,
    commits,
    branchHeads: heads,
    stale,
    onUnserved: ({ kind, id, reason }) =>
      log.warn("a ref of lakeFS is not served", {
        repository: client.repository,
        kind,
        id,
        reason,
      }),
    onIncomplete: (branch, { message: reason }) =>
      log.debug("a half-landed push is not completed", {
        repository: client.repository,
        branch,
        reason,
      }),
  });
}

interface Facts {
  readonly defaultBranch: string;
  readonly namespace: string;
  readonly mapping: Mapping;
  /** As they were when lakeFS was there. */
  readonly isStale: boolean;
}

/**
 * Returns the facts that open a repository: asked of lakeFS, or as noted while lakeFS is away and
 * may be.
 */
async function factsOf(
  client: LakefsClient,
  records: LakeNotes,
  options: LakefsReadingOptions,
  signal: AbortSignal,
): Promise<Facts> {
  const now = async (asking: AbortSignal): Promise<Facts> => {
    const { default_branch: defaultBranch, storage_namespace: namespace } =
      await client.getRepository(asking);
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
  records: LakeNotes,
  facts: Omit<Facts, "mapping">,
  { client, log, onBack }: LakefsReadingOptions,
): StaleRefs {
  const { defaultBranch, namespace, isStale } = facts;
  const { repository } = client;
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
 * Returns the mapping on which lakeFS and this server's own record agree: they must not differ, or
 * the same commits would get other ids. Where lakeFS has lost its record, what was true before is
 * written again, whatever the settings say now. Throws "lakefs/remapped".
 */
async function agreedMapping(
  client: LakefsClient,
  records: LakeNotes,
  { mappingSeed, log }: LakefsReadingOptions,
  signal: AbortSignal,
): Promise<Mapping> {
  const { repository } = client;
  const before = await records.mapping(signal).catch((error: unknown) => {
    const fault = asFault(error);
    if (fault.code !== "odb/damaged") throw fault;
    log.warn("the note of a repository's mapping is damaged; it is made again", {
      repository,
      ...faultFacts(fault),
    });
    return undefined;
  });
  const now = await openMappingRecord(client, before?.mapping ?? mappingSeed, signal, before).catch(
    (error: unknown) => {
      // It is there, and is no mapping any more: with a note, that is another mapping.
      if (before === undefined || asFault(error).code !== "lakefs/bad-reply") throw error;
      throw new Fault(
        "lakefs/remapped",
        { repository, before: formatMapping(before.mapping), now: "none that can be read" },
        error,
      );
    },
  );
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
  signal: AbortSignal,
): Promise<{ readonly mapping: string; readonly commit: string | undefined }> {
  const records = new LakeNotes(store, prefix);
  const noted = await records.mapping(signal);
  if (noted === undefined) throw new Fault("lakefs/unmapped", { repository: client.repository });
  const repaired = await repairMapping(client, noted.mapping, signal);
  await records.putMapping(repaired, signal);
  return { mapping: formatMapping(repaired.mapping), commit: repaired.commit };
}
