/**
 * The calls of lakeFS that the bridge makes, typed. Facts about each stand where they matter;
 * test/conformance/lakefs re-checks them against a real server. Always read by full commit id: a
 * branch's name would show its uncommitted staging.
 */
import { unlessMissing } from "./missing.js";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { asMade, LostCommits } from "./lost-commits.js";
import { type HttpOptions, type LakefsAccess, LakefsHttp, type OnCall, pathOf } from "./http.js";
import type {
  LakefsCommit,
  LakefsCommitRecord,
  LakefsConfig,
  LakefsDifference,
  LakefsObject,
  LakefsPage,
  LakefsRef,
  LakefsRepository,
  LakefsStage,
} from "./types.js";

/** Prefix of the headers that become an object's user metadata; lakeFS lower-cases the keys. */
const METADATA_HEADER = "x-lakefs-meta-";

export interface MergeRequest {
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
}

export interface DeleteFailure {
  readonly path?: string;
  readonly status_code: number;
  readonly message: string;
}

export interface StreamedUpload {
  /** Bytes that `content` gives, exactly. */
  readonly bytes: number;
  readonly content: AsyncIterable<Uint8Array>;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly repeatable?: boolean;
}

/** Content type of every upload: lakeFS counts it into what an entry is. */
export const UPLOAD_TYPE = "application/octet-stream";

interface LogQuery {
  readonly amount: number;
  readonly first_parent?: boolean;
}

/** A lakeFS, asked with one key: what concerns no repository, or finds one. */
export class LakefsServer {
  readonly http: LakefsHttp;
  /** Commits that lakeFS does not find by their ids for a while. */
  readonly lost: LostCommits;

  constructor(access: LakefsAccess | LakefsHttp, onCall?: OnCall, options?: HttpOptions) {
    this.http = access instanceof LakefsHttp ? access : new LakefsHttp(access, onCall, options);
    this.lost = new LostCommits(this);
  }

  /** With another key; its calls are counted and traced as this one's. */
  withAccess(access: LakefsAccess): LakefsServer {
    return new LakefsServer(this.http.withAccess(access));
  }

  /** The calls of one repository, whether it is there or not. */
  in(repository: string): LakefsClient {
    return new LakefsClient(this, repository);
  }

  config(signal: AbortSignal): Promise<LakefsConfig> {
    return this.http.json({
      name: "config",
      method: "GET",
      path: "/config",
      repeatable: true,
      signal,
    });
  }

  // repositories ----------------------------------------------------------------------------------

  /**
   * "lakefs/missing" where there is none of this name; "lakefs/deleting" while lakeFS deletes it.
   */
  getRepository(repository: string, signal: AbortSignal): Promise<LakefsRepository> {
    const call = {
      name: "getRepository",
      method: "GET",
      path: `/repositories${pathOf(repository)}`,
      repeatable: true,
      signal,
    } as const;
    return this.http.json<LakefsRepository>(call).catch((error: unknown) => {
      throw error instanceof Fault && error.code === "lakefs/gone"
        ? new Fault("lakefs/deleting", { repository }, error)
        : error;
    });
  }

  /** Undefined where there is none of this name. Throws "lakefs/deleting". */
  findRepository(repository: string, signal: AbortSignal): Promise<LakefsRepository | undefined> {
    return unlessMissing(this.getRepository(repository, signal));
  }

  listRepositories(after: string, signal: AbortSignal): Promise<LakefsPage<LakefsRepository>> {
    const query = { after, amount: LIMITS.lakefsPageMax };
    return this.http.json({
      name: "listRepositories",
      method: "GET",
      path: "/repositories",
      query,
      repeatable: true,
      signal,
    });
  }

  createRepository(
    json: { name: string; storage_namespace: string; default_branch?: string },
    signal: AbortSignal,
  ): Promise<LakefsRepository> {
    return this.http.json({
      name: "createRepository",
      method: "POST",
      path: "/repositories",
      json,
      repeatable: false,
      signal,
    });
  }
}

/** One repository of a lakeFS. */
export class LakefsClient {
  readonly server: LakefsServer;
  /** lakeFS's name of it. */
  readonly repository: string;

  constructor(server: LakefsServer, repository: string) {
    this.server = server;
    this.repository = repository;
  }

  get http(): LakefsHttp {
    return this.server.http;
  }

  /** With another key; its calls are counted and traced as this one's. */
  withAccess(access: LakefsAccess): LakefsClient {
    return this.server.withAccess(access).in(this.repository);
  }

  /** "lakefs/missing" where it is not there; "lakefs/deleting" while lakeFS deletes it. */
  getRepository(signal: AbortSignal): Promise<LakefsRepository> {
    return this.server.getRepository(this.repository, signal);
  }

  // branches and tags -----------------------------------------------------------------------------

  /** Every branch, hidden ones if asked for. */
  listBranches(
    options: { prefix?: string; hidden?: boolean },
    signal: AbortSignal,
  ): AsyncGenerator<LakefsRef> {
    const { prefix, hidden } = options;
    return this.#pages(
      "listBranches",
      `/repositories${pathOf(this.repository)}/branches`,
      { prefix, show_hidden: hidden },
      signal,
    );
  }

  getBranch(branch: string, signal: AbortSignal): Promise<LakefsRef> {
    return this.http.json({
      name: "getBranch",
      method: "GET",
      path: branchPath(this.repository, branch),
      repeatable: true,
      signal,
    });
  }

  /** Undefined where there is none of this name. */
  findBranch(branch: string, signal: AbortSignal): Promise<LakefsRef | undefined> {
    return unlessMissing(this.getBranch(branch, signal));
  }

  /**
   * An atomic test-and-set: "lakefs/conflict" where the branch exists. `source`: any ref
   * expression.
   */
  createBranch(
    json: { name: string; source: string; hidden?: boolean },
    signal: AbortSignal,
  ): Promise<void> {
    const path = `/repositories${pathOf(this.repository)}/branches`;
    const make = ([source = json.source]: readonly string[]) =>
      this.http.done({
        name: "createBranch",
        method: "POST",
        path,
        json: { ...json, source },
        repeatable: false,
        runsHooks: true,
        signal,
      });
    return this.#reading([json.source], signal, make);
  }

  /** Absent is success. No expected head can be given. */
  async deleteBranch(branch: string, signal: AbortSignal): Promise<void> {
    await unlessMissing(
      this.http.done({
        name: "deleteBranch",
        method: "DELETE",
        path: branchPath(this.repository, branch),
        repeatable: true,
        runsHooks: true,
        signal,
      }),
    );
  }

  /**
   * Moves a branch to what `ref` names, which is evaluated inside the atomic branch update: with an
   * expression over the branch itself (`B^2^7^1`) a conditional move. "lakefs/bad-request" where it
   * names nothing.
   */
  hardReset(branch: string, ref: string, signal: AbortSignal): Promise<void> {
    const path = `${branchPath(this.repository, branch)}/hard_reset`;
    return this.#reading([ref], signal, ([to = ref]) =>
      this.http.done({
        name: "hardReset",
        method: "PUT",
        path,
        query: { ref: to },
        repeatable: false,
        signal,
      }),
    );
  }

  listTags({ prefix }: { prefix?: string }, signal: AbortSignal): AsyncGenerator<LakefsRef> {
    return this.#pages(
      "listTags",
      `/repositories${pathOf(this.repository)}/tags`,
      { prefix },
      signal,
    );
  }

  getTag(tag: string, signal: AbortSignal): Promise<LakefsRef> {
    return this.http.json({
      name: "getTag",
      method: "GET",
      path: `/repositories${pathOf(this.repository)}/tags${pathOf(tag)}`,
      repeatable: true,
      signal,
    });
  }

  /** "lakefs/conflict" where it exists: tags never move. */
  createTag(json: { id: string; ref: string }, signal: AbortSignal): Promise<LakefsRef> {
    const path = `/repositories${pathOf(this.repository)}/tags`;
    return this.http.json({
      name: "createTag",
      method: "POST",
      path,
      json,
      repeatable: false,
      runsHooks: true,
      signal,
    });
  }

  async deleteTag(tag: string, signal: AbortSignal): Promise<void> {
    const path = `/repositories${pathOf(this.repository)}/tags${pathOf(tag)}`;
    await unlessMissing(
      this.http.done({
        name: "deleteTag",
        method: "DELETE",
        path,
        repeatable: true,
        runsHooks: true,
        signal,
      }),
    );
  }

  /**
   * Patterns of protected branches: uploads, commits and resets there are refused, merges are not.
   */
  async branchProtection(signal: AbortSignal): Promise<readonly string[]> {
    const path = `/repositories${pathOf(this.repository)}/settings/branch_protection`;
    const rules = await this.http.json<readonly { pattern: string }[]>({
      name: "branchProtection",
      method: "GET",
      path,
      repeatable: true,
      signal,
    });
    return rules.map(({ pattern }) => pattern);
  }

  // commits ---------------------------------------------------------------------------------------

  async getCommit(id: string, signal: AbortSignal): Promise<LakefsCommit> {
    return asMade(await this.#reading([id], signal, ([ref = id]) => this.commitAt(ref, signal)));
  }

  /** As `getCommit`, by just this name, with whatever lakeFS shows. */
  commitAt(ref: string, signal: AbortSignal): Promise<LakefsCommit> {
    return this.http.json({
      name: "getCommit",
      method: "GET",
      path: `/repositories${pathOf(this.repository)}/commits${pathOf(ref)}`,
      repeatable: true,
      signal,
    });
  }

  /** As `commitAt`; undefined where there is none of this name. */
  findCommitAt(ref: string, signal: AbortSignal): Promise<LakefsCommit | undefined> {
    return unlessMissing(this.commitAt(ref, signal));
  }

  /**
   * One page of history from `id`, ordered by date (not topologically); `id` itself comes first. A
   * missing parent makes it "lakefs/missing".
   */
  async log(id: string, amount: number, signal: AbortSignal): Promise<LakefsPage<LakefsCommit>> {
    const page = await this.#logOf(id, { amount }, signal);
    return { ...page, results: page.results.map(asMade) };
  }

  /** `id` and its first parents, nearest first. */
  firstParents(id: string, amount: number, signal: AbortSignal): Promise<LakefsPage<LakefsCommit>> {
    return this.#logOf(id, { amount, first_parent: true }, signal);
  }

  /** As `log`, by just this name, with whatever lakeFS shows. */
  logAt(ref: string, amount: number, signal: AbortSignal): Promise<LakefsPage<LakefsCommit>> {
    return this.#logBy(ref, { amount }, signal);
  }

  #logBy(ref: string, query: LogQuery, signal: AbortSignal): Promise<LakefsPage<LakefsCommit>> {
    const path = `/repositories${pathOf(this.repository)}/refs${pathOf(ref)}/commits`;
    return this.http.json({
      name: "log",
      method: "GET",
      path,
      query: { ...query },
      repeatable: true,
      signal,
    });
  }

  /**
   * Before 1.61 lakeFS takes no expression here, which another way to a lost commit is: then the
   * commit by itself, and the log of its first parent.
   */
  #logOf(id: string, query: LogQuery, signal: AbortSignal): Promise<LakefsPage<LakefsCommit>> {
    return this.#reading([id], signal, async ([ref = id]) => {
      try {
        return await this.#logBy(ref, query, signal);
      } catch (error) {
        if (ref === id || !(error instanceof Fault && error.code === "lakefs/bad-request"))
          throw error;
        const one = await this.commitAt(ref, signal);
        const [parent] = one.parents;
        if (parent === undefined || query.amount === 1)
          return {
            pagination: { has_more: parent !== undefined, next_offset: id },
            results: [one],
          };
        const rest = await this.#logOf(parent, { ...query, amount: query.amount - 1 }, signal);
        return { ...rest, results: [one, ...rest.results] };
      }
    });
  }

  /** Commits what is staged on a branch. */
  commit(
    branch: string,
    json: {
      message: string;
      metadata?: Readonly<Record<string, string>>;
      date?: number;
      allow_empty?: boolean;
    },
    signal: AbortSignal,
  ): Promise<LakefsCommit> {
    const path = `${branchPath(this.repository, branch)}/commits`;
    return this.http.json({
      name: "commit",
      method: "POST",
      path,
      json,
      repeatable: false,
      runsHooks: true,
      signal,
    });
  }

  /**
   * A commit record: tree, parents and all else as given; no branch moves. Being there already is
   * success.
   */
  async createCommitRecord(json: LakefsCommitRecord, signal: AbortSignal): Promise<void> {
    const path = `/repositories${pathOf(this.repository)}/commits`;
    await this.http
      .done({ name: "createCommitRecord", method: "POST", path, json, repeatable: true, signal })
      .catch((error: unknown) => {
        if (!(error instanceof Fault && error.code === "lakefs/conflict")) throw error;
      });
  }

  /**
   * Merges a ref or commit id into a branch. "lakefs/refused": a hook said no; "lakefs/conflict";
   * "lakefs/bad-request": dirty or nothing to do.
   */
  merge(
    source: string,
    branch: string,
    { message, metadata }: MergeRequest,
    signal: AbortSignal,
  ): Promise<{ readonly reference: string }> {
    const path = `/repositories${pathOf(this.repository)}/refs${pathOf(source)}/merge${pathOf(branch)}`;
    const json = { message, metadata, allow_empty: true };
    return this.http.json({
      name: "merge",
      method: "POST",
      path,
      json,
      repeatable: false,
      runsHooks: true,
      signal,
    });
  }

  /**
   * Returns the commit where the histories of two commits part; undefined: nowhere, or one of them
   * is not there.
   */
  async findMergeBase(
    left: string,
    right: string,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const call = ([from = left, to = right]: readonly string[]) =>
      this.http.json<{ readonly base_commit_id: string }>({
        name: "mergeBase",
        method: "GET",
        path: `/repositories${pathOf(this.repository)}/refs${pathOf(from)}/merge${pathOf(to)}`,
        repeatable: true,
        signal,
      });
    const found = await unlessMissing(this.#reading([left, right], signal, call));
    return found?.base_commit_id;
  }

  // objects ---------------------------------------------------------------------------------------

  /**
   * One page of the objects at a commit, ordered bytewise by path; `after`: exclusive; `prefix`: of
   * those whose path begins so.
   */
  listObjects(
    commit: string,
    after: string,
    signal: AbortSignal,
    prefix?: string,
  ): Promise<LakefsPage<LakefsObject>> {
    const query = { after, amount: LIMITS.lakefsPageMax, presign: false, prefix };
    return this.#reading([commit], signal, ([ref = commit]) =>
      this.http.json({
        name: "listObjects",
        method: "GET",
        path: `${objectPath(this.repository, ref)}/ls`,
        query,
        repeatable: true,
        signal,
      }),
    );
  }

  /**
   * As `listObjects` with the `amount` objects behind `after`, each with an address that can be
   * read for some minutes in place of the one where it lies. lakeFS signs them at 0.06 ms each;
   * where it cannot the call fails.
   */
  listPresigned(
    commit: string,
    after: string,
    amount: number,
    signal: AbortSignal,
  ): Promise<LakefsPage<LakefsObject>> {
    const query = { after, amount, presign: true, user_metadata: false };
    return this.#reading([commit], signal, ([ref = commit]) =>
      this.http.json({
        name: "listPresigned",
        method: "GET",
        path: `${objectPath(this.repository, ref)}/ls`,
        query,
        repeatable: true,
        signal,
      }),
    );
  }

  statObject(commit: string, object: string, signal: AbortSignal): Promise<LakefsObject> {
    return this.#reading([commit], signal, ([ref = commit]) =>
      this.http.json({
        name: "statObject",
        method: "GET",
        path: `${objectPath(this.repository, ref)}/stat`,
        query: { path: object, presign: false },
        repeatable: true,
        signal,
      }),
    );
  }

  /** As `statObject`; undefined where there is no such object, or no such commit. */
  findObject(
    commit: string,
    object: string,
    signal: AbortSignal,
  ): Promise<LakefsObject | undefined> {
    return unlessMissing(this.statObject(commit, object, signal));
  }

  /** Whole content of at most `bytesMax`. "lakefs/gone": listed, but its data is not there. */
  readObject(
    commit: string,
    object: string,
    bytesMax: number,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    return this.#reading([commit], signal, ([ref = commit]) =>
      this.http.bytes(
        {
          name: "readObject",
          method: "GET",
          path: objectPath(this.repository, ref),
          query: { path: object },
          repeatable: true,
          signal,
        },
        bytesMax,
      ),
    );
  }

  /** Content as it arrives, from `range` ("bytes=0-99") if given. */
  streamObject(
    commit: string,
    object: string,
    range: string | undefined,
    signal: AbortSignal,
  ): ReturnType<LakefsHttp["stream"]> {
    const headers = range === undefined ? {} : { range };
    return this.#reading([commit], signal, ([ref = commit]) =>
      this.http.stream({
        name: "streamObject",
        method: "GET",
        path: objectPath(this.repository, ref),
        query: { path: object },
        headers,
        repeatable: true,
        signal,
      }),
    );
  }

  /**
   * An address of the block store where the content can be read for some minutes.
   * "lakefs/bad-request": it has none to give.
   */
  presignObject(commit: string, object: string, signal: AbortSignal): Promise<string> {
    const query = { path: object, presign: true };
    return this.#reading([commit], signal, ([ref = commit]) =>
      this.http.location({
        name: "presignObject",
        method: "GET",
        path: objectPath(this.repository, ref),
        query,
        repeatable: true,
        signal,
      }),
    );
  }

  /**
   * As `readObject`, from an address that lakeFS has signed. "lakefs/denied": it has expired. Not
   * repeated: `readObject` is the other way.
   */
  readPresigned(address: URL, bytesMax: number, signal: AbortSignal): Promise<Uint8Array> {
    return this.http.bytes(
      {
        name: "readPresigned",
        method: "GET",
        path: address.pathname,
        presigned: address,
        repeatable: false,
        signal,
      },
      bytesMax,
    );
  }

  /** As `streamObject`, from an address that lakeFS has signed. */
  streamPresigned(
    address: URL,
    range: string | undefined,
    signal: AbortSignal,
  ): ReturnType<LakefsHttp["stream"]> {
    const headers = range === undefined ? {} : { range };
    return this.http.stream({
      name: "streamPresigned",
      method: "GET",
      path: address.pathname,
      presigned: address,
      headers,
      repeatable: false,
      signal,
    });
  }

  /** Uploads content to a branch's staging. Repeating it is harmless. */
  uploadObject(
    branch: string,
    object: string,
    body: Uint8Array,
    metadata: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<LakefsObject> {
    const path = `${branchPath(this.repository, branch)}/objects`;
    const headers = uploadHeaders(metadata);
    return this.http.json({
      name: "uploadObject",
      method: "POST",
      path,
      query: { path: object },
      body,
      headers,
      repeatable: true,
      signal,
    });
  }

  /**
   * Uploads content that arrives over time; lakeFS stages nothing of a body that ends early. Once,
   * as its bytes are gone then, unless `repeatable` says that `content` can be iterated again.
   */
  uploadStream(
    branch: string,
    object: string,
    upload: StreamedUpload,
    signal: AbortSignal,
  ): Promise<LakefsObject> {
    const path = `${branchPath(this.repository, branch)}/objects`;
    const headers = uploadHeaders(upload.metadata ?? {});
    return this.http.json({
      name: "uploadStream",
      method: "POST",
      path,
      query: { path: object },
      upload,
      headers,
      repeatable: upload.repeatable ?? false,
      signal,
    });
  }

  /**
   * Stages an entry for an object that is in the block store already: no copy, and nothing is
   * checked.
   */
  stageObject(
    branch: string,
    object: string,
    json: LakefsStage,
    signal: AbortSignal,
  ): Promise<LakefsObject> {
    const path = `${branchPath(this.repository, branch)}/objects`;
    return this.http.json({
      name: "stageObject",
      method: "PUT",
      path,
      query: { path: object },
      json,
      repeatable: true,
      signal,
    });
  }

  /**
   * Copies an object's data to a new address, under a branch's path. "lakefs/gone": it is not there
   * any more.
   */
  copyObject(
    branch: string,
    object: string,
    json: { readonly src_ref: string; readonly src_path: string },
    signal: AbortSignal,
  ): Promise<LakefsObject> {
    const path = `${branchPath(this.repository, branch)}/objects/copy`;
    return this.http.json({
      name: "copyObject",
      method: "POST",
      path,
      query: { dest_path: object },
      json,
      repeatable: true,
      signal,
    });
  }

  /**
   * At most `lakefsDeletePathsMax` paths; one that is not there is no failure. lakeFS answers 200
   * even where some fail: these throw.
   */
  async deleteObjects(
    branch: string,
    paths: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    const path = `${branchPath(this.repository, branch)}/objects/delete`;
    const call = {
      name: "deleteObjects",
      method: "POST" as const,
      path,
      json: { paths },
      repeatable: true,
      signal,
    };
    const { errors } = await this.http.json<{ readonly errors?: readonly DeleteFailure[] }>(call);
    const first = errors?.[0];
    if (first !== undefined) {
      throw new Fault("lakefs/failed", {
        call: call.name,
        path: first.path,
        status: first.status_code,
        reason: first.message,
        failures: errors?.length,
      });
    }
  }

  /**
   * Differences from `left` to `right` (both full commit ids), page by page, in path order, with
   * checksum and metadata of what is new.
   */
  diff(
    left: string,
    right: string,
    signal: AbortSignal,
    prefix?: string,
  ): AsyncGenerator<LakefsDifference> {
    const path = ([from = left, to = right]: readonly string[]) =>
      `/repositories${pathOf(this.repository)}/refs${pathOf(from)}/diff${pathOf(to)}`;
    return this.#pages(
      "diff",
      path,
      { type: "two_dot", include_right_stats: true, prefix },
      signal,
      [left, right],
    );
  }

  /** The first `amount` uncommitted changes of a branch. */
  async dirtyPaths(
    branch: string,
    amount: number,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const path = `${branchPath(this.repository, branch)}/diff`;
    const page = await this.http.json<LakefsPage<LakefsDifference>>({
      name: "dirtyPaths",
      method: "GET",
      path,
      query: { amount },
      repeatable: true,
      signal,
    });
    return page.results.map((difference) => difference.path);
  }

  /**
   * A raw range or metarange (an SSTable). "lakefs/gone": unknown id; "lakefs/denied": not for this
   * user.
   */
  readRange(
    type: "range" | "meta_range",
    id: string,
    bytesMax: number,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const path = `/repositories${pathOf(this.repository)}/metadata/object/${type}${pathOf(id)}`;
    return this.http.bytes(
      { name: "readRange", method: "GET", path, repeatable: true, signal },
      bytesMax,
    );
  }

  /**
   * A call by full commit ids that changes nothing where it is answered 404: lakeFS may not find
   * them for a while, and then other names of the same commits are used.
   */
  async #reading<T>(
    commits: readonly string[],
    signal: AbortSignal,
    call: (refs: readonly string[]) => Promise<T>,
  ): Promise<T> {
    const names = () => commits.map((commit) => this.server.lost.wayTo(this.repository, commit));
    try {
      return await call(names());
    } catch (error) {
      if (!(error instanceof Fault && error.code === "lakefs/missing")) throw error;
      let found = false;
      for (const commit of commits)
        found = (await this.server.lost.find(this.repository, commit, signal)) || found;
      if (!found) throw error;
      return call(names());
    }
  }

  async *#pages<T>(
    name: string,
    path: string | ((refs: readonly string[]) => string),
    query: Readonly<Record<string, string | boolean | undefined>>,
    signal: AbortSignal,
    commits: readonly string[] = [],
  ): AsyncGenerator<T, void, undefined> {
    let after = "";
    for (;;) {
      const page = await this.#reading(commits, signal, (refs) =>
        this.http.json<LakefsPage<T>>({
          name,
          method: "GET",
          path: typeof path === "string" ? path : path(refs),
          query: { ...query, after, amount: LIMITS.lakefsPageMax },
          repeatable: true,
          signal,
        }),
      );
      yield* page.results;
      if (!page.pagination.has_more) return;
      if (page.pagination.next_offset <= after)
        throw new Fault("lakefs/bad-reply", { call: name, reason: "a page that does not go on" });
      after = page.pagination.next_offset;
    }
  }
}

function objectPath(repository: string, commit: string): string {
  return `/repositories${pathOf(repository)}/refs${pathOf(commit)}/objects`;
}

function uploadHeaders(metadata: Readonly<Record<string, string>>): Record<string, string> {
  const headers: Record<string, string> = { "Content-Type": UPLOAD_TYPE };
  for (const [key, value] of Object.entries(metadata)) headers[METADATA_HEADER + key] = value;
  return headers;
}

function branchPath(repository: string, branch: string): string {
  return `/repositories${pathOf(repository)}/branches${pathOf(branch)}`;
}
