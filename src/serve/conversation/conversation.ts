/** The contract of every conversation (fetch, push, advertisement), whatever carries it. */
import type { Fault } from "../../base/fault.js";
import type { ByteSink, ByteSource } from "../../base/flow.js";
import type { Role } from "../../auth/caller.js";
import type { Visibility } from "../../auth/permissions.js";
import type { LakefsClient } from "../../lakefs/api/client.js";
import type { WantedCommits } from "../../lakefs/read/promised-blobs.js";
import type { GuardState } from "../../lakefs/hooks/guard-proof.js";
import type { LakefsCommitMap } from "../../lakefs/read/commit-map.js";
import type { UncrossedPaths } from "../../lakefs/read/uncrossed.js";
import type { Oid } from "../../git/oid.js";
import type { LfsStore } from "../../lfs/store.js";
import type { BundleLine } from "../../odb/manifest/bundle-line.js";
import type { ManifestBundles } from "../../odb/manifest/bundles.js";
import type { ObjectDatabase } from "../../odb/object-database.js";
import type { RefStore } from "../../odb/ref-store.js";
import type { Conceal } from "./conceal.js";
import type { RepositoryType } from "./repository-name.js";
import type { RepositorySettings } from "./repository-settings.js";
import type { RequestRecord } from "./request-record.js";

/** The other side of a repository whose branches and tags are in lakeFS. */
export interface LakefsSide {
  /** Full Git name of its default branch. */
  readonly head: string;
  /** Of the repository, under lakeFS's name of it. */
  readonly client: LakefsClient;
  readonly commits: LakefsCommitMap;
  readonly uncrossed: UncrossedPaths;
  /** Returns the state of the guard that keeps pushes from landing on a moved branch. */
  guard(): GuardState;
  /** Refs that are not in the list because their commits cannot be read. */
  unreadable(): readonly { readonly name: string; readonly fault: Fault }[];
}

/** Contents of blobs that lakeFS still has alone, their ids being known. */
export interface PromisedContents {
  /** Progress of what is being brought. */
  readonly progress: { readonly blobs: number; readonly total: number };
  /** Whatever can be brought. */
  bringAll(signal: AbortSignal): Promise<void>;
  /** Brings what these commits reach: all of it, or a Fault. */
  bringFor(commits: WantedCommits, signal: AbortSignal): Promise<void>;
  /** Those of these ids that are promised. */
  bring(oids: readonly Oid[], signal: AbortSignal): Promise<void>;
  /** Waits until nothing is brought any more. */
  settled(signal: AbortSignal): Promise<void>;
}

/** Bundles of a repository of our own store. */
export interface RepositoryBundles
  extends Pick<ManifestBundles, "list" | "sound" | "add" | "read"> {
  /** Returns whether the repository is there still, and not set aside. */
  isThere(): Promise<boolean>;
}

export interface Repository {
  /**
   * Its row's id: of no other repository, whatever it is called and whenever it is there.
   */
  readonly id: string;
  readonly type: RepositoryType;
  /** For people: "ns/name". */
  readonly title: string;
  /** Role of the caller. */
  readonly role?: Role;
  /** Reads the settings of the repository, as the database has them now. */
  readonly settings?: () => Promise<RepositorySettings>;
  readonly refs: RefStore;
  readonly objects: ObjectDatabase;
  /** True if its refs can move together, all or none. lakeFS has no such call. */
  readonly atomic: boolean;
  /** Undefined: its branches and tags are ours. */
  readonly lakefs?: LakefsSide | undefined;
  /**
   * Cuts lakeFS's name of it, which is not for this caller, from what he is told. Undefined: there
   * is nothing to hide.
   */
  readonly conceal?: Conceal | undefined;
  /** Lines for those who fetch or push, about the name that was asked for. */
  readonly notices: readonly string[];
  /** Nothing is there yet, and this request makes it: the pusher is told. */
  readonly created: boolean;
  /**
   * Notes it before anything of it is stored. Returns the one that has its name from then on: this
   * one, or one that another node has made meanwhile. Present where `created`. Throws
   * "repository/too-many", "store/conflict", and as they are failures to find the other one.
   */
  readonly make?: (visibility: Visibility) => Promise<Repository>;
  /** The store of its LFS objects, if not our own. */
  readonly lfs?: LfsStore | undefined;
  /** Undefined: it is in lakeFS. */
  readonly bundles?: RepositoryBundles | undefined;
  /** Brings what packs name and do not hold (LivePack.promised). Undefined: they never do. */
  readonly promised?: PromisedContents | undefined;
  /** To be called after refs or packs have changed: plans the upkeep that follows. */
  readonly changed: () => void;
}

/** Protocol version the client asked for (Git-Protocol header, GIT_PROTOCOL variable). */
export type ProtocolVersion = 0 | 1 | 2;

export interface Exchange {
  readonly request: RequestRecord;
  readonly repository: Repository;
  readonly version: ProtocolVersion;
  /**
   * The caller, for his fair part of the pool (auth/caller `shareOf`): a user, or the address of
   * one without a name.
   */
  readonly caller: string;
  /** The account that asks; undefined: nobody is asked who they are, or it has none. */
  readonly account?: string | undefined;
  /**
   * Asked before anything moves that a long request has prepared for this repository: throws
   * "push/no-longer" where the caller may not do it any more.
   */
  readonly stillMay: (repository: Repository) => Promise<void>;
  /** Returns the address of a bundle for this caller. Undefined: there is no way to read one. */
  readonly bundleLink?: (bundle: Pick<BundleLine, "name" | "bytes">) => string;
  /** Over HTTP every request stands alone: no state is kept between them. False on SSH. */
  readonly stateless: boolean;
  readonly input: ByteSource;
  readonly output: ByteSink;
  readonly signal: AbortSignal;
}
