/** The contract between the refs of a lakeFS repository and the writing half. */
import type { GuardState } from "../hooks/guard-proof.js";
import type { MovingTag } from "./tag-move.js";
import type { LakefsRef } from "../api/types.js";
import type { RefChange, RefOutcome, RefUpdateOptions } from "../../odb/ref-store.js";
import type { Log } from "../../observe/log.js";
import type { Pool } from "../../pool/task.js";
import type { Semaphore } from "../../base/flow.js";
import type { ObjectDatabase } from "../../odb/object-database.js";
import type { LakefsClient } from "../api/client.js";
import type { LakefsCredentials } from "../api/credentials.js";
import type { LakefsAccess } from "../api/http.js";
import type { PreCommitPolicy } from "../hooks/commit-hooks.js";
import type { RootCommit } from "../agreed/root-commit.js";
import type { BranchHeads } from "../read/branch-heads.js";
import type { LakefsCommitMap } from "../read/commit-map.js";
import type { Mapping, LfsObjects } from "../rules/contract.js";

/** Moves lakeFS branches and tags: an outcome per change, in order; `ok` is durable. */
export interface Landing {
  update(
    changes: readonly RefChange[],
    options: RefUpdateOptions,
    signal?: AbortSignal,
  ): Promise<readonly RefOutcome[]>;

  /** State of the guard that keeps pushes from landing on a moved head. */
  readonly guard: GuardState;

  /**
   * Returns the moves of tags that branches (`lakepack-tag-…`) note: such a tag is where it was
   * while it is missing.
   */
  moving(branches: readonly LakefsRef[], signal: AbortSignal): Promise<readonly MovingTag[]>;

  /**
   * Ends a move whose server has died: the tag is put back where it was, unless there is one, and
   * the note goes.
   */
  settle(move: MovingTag, signal: AbortSignal): Promise<void>;

  /** Takes away the note of a move that has ended, whose server died before it did. */
  forget(move: MovingTag, signal: AbortSignal): Promise<void>;

  /**
   * A reader has seen a landing's merge (`lakeId`) at the head of a branch: its server may have
   * died before the last step. Idempotent, and harmless beside a landing under way.
   */
  complete(branch: string, lakeId: string, signal: AbortSignal): Promise<void>;
}

export interface LandingPolicy {
  /**
   * True if a push may take commits away from a branch; the old head is then kept under
   * `lakepack-kept-…`.
   */
  readonly allowForced: boolean;
  /** About hooks on commits that a push passes by; default: it is refused. */
  readonly preCommit?: PreCommitPolicy;
  /** Commits of one push; default: LIMITS.landingCommitsMax. */
  readonly commitsMax?: number;
  /** Bytes of a file that is no LFS pointer; default: LIMITS.plainFileBytesMax. */
  readonly plainFileBytesMax?: number;
}

export interface LandingOptions {
  readonly access: LakefsAccess;
  readonly client: LakefsClient;
  /** lakeFS's storage namespace of it. */
  readonly namespace: string;
  readonly sealKeys: readonly Uint8Array[];
  readonly mapping: Mapping;
  readonly commits: LakefsCommitMap;
  readonly root: RootCommit;
  readonly defaultBranch: string;
  readonly heads: Pick<BranchHeads, "latest">;
  readonly objects: ObjectDatabase;
  readonly pool: Pool;
  /** Threads that the bridge may hold at once, shared with synthesis. */
  readonly tasks: Semaphore;
  readonly lfs: LfsObjects;
  readonly policy: LandingPolicy;
  /** Keys by who pushes; default: the server's own for everybody. */
  readonly credentials?: LakefsCredentials | undefined;
  readonly log: Log;
}
