/**
 * The trees of a push, in a pool thread: commit by commit the difference to what the work branch
 * has is staged there and committed, which gives the tree its metarange. Uploads run in the thread
 * itself, so that no content ever crosses to the main thread; only so many are held at once. Where
 * bytes of LFS objects lie is asked of the main thread.
 */
import { createHash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { MessagePort } from "node:worker_threads";
import { asFault, Fault } from "../../base/fault.js";
import { fromLatin1, lossyText } from "../../base/bytes.js";
import { checkAborted } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { Oid } from "../../git/oid.js";
import { parseTree } from "../../git/tree-entries.js";
import type { ObjectReader } from "../../odb/packs/reader.js";
import { TaskWatch } from "../../pool/control.js";
import { TaskPort } from "../../pool/port.js";
import type {
  BuildTreesRequest,
  BuildTreesResult,
  LandingNews,
  LandingQuestions,
} from "./tasks.js";
import type { HashedContent } from "../trees/tasks.js";
import { withoutBlock } from "../rules/managed-block.js";
import { SealKeys } from "../rules/claim-seal.js";
import { type LakefsClient, LakefsServer } from "../api/client.js";
import { commitStaged } from "../hooks/commit-staged.js";
import { committerOf, describeCommit } from "../rules/described-commit.js";
import { contentKey } from "../trees/hash-memory.js";
import { filesElsewhere, NOTHING_ELSEWHERE } from "./files-elsewhere.js";
import { locate } from "../trees/locate.js";
import { COMMIT_KEY } from "../rules/metadata-keys.js";
import { type LandingMemory, Stage } from "./stage.js";
import { checkHidden } from "./hidden-files.js";
import { Paddings } from "../rules/padded-modes.js";
import { ProvenNotes } from "../trees/proven-contents.js";
import { restate, saidOtherwise } from "./restated.js";
import { type OtherPath, stagedChanges } from "./staged-changes.js";
import type { LakefsCommit } from "../api/types.js";
import { Twins } from "./twins.js";
import { watchedSignal } from "../trees/watched-signal.js";

const ATTRIBUTES_PATH = ".gitattributes";
/** So many files are told of one by one, the others by the clock. */
const FILES_TOLD = 10;

export async function buildTrees(
  reader: ObjectReader,
  request: BuildTreesRequest,
): Promise<BuildTreesResult> {
  const abort = watchedSignal(request.control);
  const client = new LakefsServer(request.access).in(request.repository);
  const port = new MainThread(request.port);
  try {
    return await new TreeFactory(reader, client, request, port, abort.signal).build();
  } finally {
    abort.stop();
    request.port.close();
  }
}

/** The root's .gitattributes in lakeFS: the one that Git shows, something else, or nothing. */
type OwnAttributes = "shown" | "other" | "absent";

/** Progress of the work branch. */
interface BuildState {
  own: OwnAttributes;
  readonly filesTotal: number;
  /** Its tree, as Git shows it; undefined: nothing that Git has. */
  tree: Oid | undefined;
  headMetarange: string;
  touchesHooks: boolean;
  files: number;
}

class TreeFactory {
  readonly #reader: ObjectReader;
  readonly #client: LakefsClient;
  readonly #request: BuildTreesRequest;
  readonly #main: MainThread;
  readonly #signal: AbortSignal;
  readonly #watch: TaskWatch;
  readonly #twins: Twins;
  readonly #seals: SealKeys;
  readonly #paddings: Paddings;
  /** The work branch's commit. */
  #last: string;
  /** When it was last told how far this is. */
  #toldMs = 0;
  /** Trees that the work branch has had, each with the commit it was at then. */
  readonly #made = new Map<Oid, Pick<LakefsCommit, "id" | "meta_range_id">>();

  constructor(
    reader: ObjectReader,
    client: LakefsClient,
    request: BuildTreesRequest,
    main: MainThread,
    signal: AbortSignal,
  ) {
    this.#reader = reader;
    this.#client = client;
    this.#request = request;
    this.#main = main;
    this.#signal = signal;
    this.#watch = new TaskWatch(request.control);
    this.#seals = new SealKeys(request.sealKeys);
    this.#last = request.baseCommit;
    this.#paddings = new Paddings((oid) => reader.readAs("tree", reader.space.need(oid)));
    this.#twins = new Twins(reader, { client, signal }, request.heads);
  }

  async build(): Promise<BuildTreesResult> {
    const { baseTree, baseCommit, baseMetarange, commits } = this.#request;
    const own = await this.#ownAttributes();
    if (own === "shown" && baseTree !== undefined && baseMetarange !== "") {
      this.#made.set(baseTree, { id: baseCommit, meta_range_id: baseMetarange });
    }
    const filesTotal = await this.#countFiles(own);
    const state: BuildState = {
      own,
      filesTotal,
      tree: baseTree,
      headMetarange: baseMetarange,
      touchesHooks: false,
      files: 0,
    };
    const metaranges: string[] = [];
    for (const { oid, tree } of commits) {
      metaranges.push(
        (await this.#known(oid, tree, state)) ??
          (await this.#add(oid, tree, state, metaranges.length)),
      );
      this.#main.tell({
        kind: "progress",
        commits: metaranges.length,
        files: state.files,
        filesTotal,
      });
    }
    await this.#main.heard();
    const { headMetarange, touchesHooks, files } = state;
    return {
      metaranges,
      paddings: this.#paddingsOf(),
      headMetarange,
      touchesHooks,
      files,
      figures: Object.fromEntries(this.#client.http.figures),
    };
  }

  /**
   * The metarange of a tree that the branch has had; where hooks judge what is committed, by
   * another commit of it.
   */
  async #known(oid: Oid, tree: Oid, state: BuildState): Promise<string | undefined> {
    const before = this.#made.get(tree);
    if (before === undefined) return undefined;
    if (!this.#request.judged && !state.touchesHooks) return before.meta_range_id;
    const { workBranch } = this.#request;
    if (state.tree !== tree) await this.#client.hardReset(workBranch, before.id, this.#signal);
    const { id, meta_range_id: metarange } = await this.#commit(oid);
    this.#last = id;
    state.tree = tree;
    state.headMetarange = metarange;
    return metarange;
  }

  /** Stages what differs from the tree that the branch has, and commits it; the new metarange. */
  async #add(oid: Oid, tree: Oid, state: BuildState, done: number): Promise<string> {
    const { files, filesTotal } = state;
    const onFile = (staged: number) => this.#progress(done, files + staged, filesTotal);
    const stage = await this.#stage(state.tree, tree, otherThan(state.own), onFile);
    const made = await this.#commit(oid);
    await this.#check(made.id, stage.staged);
    this.#last = made.id;
    this.#made.set(tree, made);
    state.own = "shown";
    state.tree = tree;
    state.headMetarange = made.meta_range_id;
    state.touchesHooks ||= stage.touchesHooks;
    state.files += stage.files;
    return made.meta_range_id;
  }

  /** Each message wakes the main thread, which costs as much as the upload that it tells of. */
  #progress(commits: number, files: number, filesTotal: number): void {
    const nowMs = performance.now();
    if (files > FILES_TOLD && nowMs - this.#toldMs < LIMITS.progressMs) return;
    this.#toldMs = nowMs;
    this.#main.tell({ kind: "progress", commits, files, filesTotal });
  }

  /** Stages what leads from one tree to the next. */
  async #stage(
    before: Oid | undefined,
    next: Oid,
    other: OtherPath | undefined,
    onFile: (files: number) => void,
  ): Promise<Stage> {
    const {
      namespace,
      workBranch: branch,
      plainFileBytesMax,
      mapping,
      hidden,
      baseCommit,
      baseTree,
    } = this.#request;
    const [client, signal, twins] = [this.#client, this.#signal, this.#twins];
    const source = { client, signal, pagesOnly: true };
    if (hidden?.length !== 0)
      await checkHidden(
        this.#reader,
        { source, commit: baseCommit, tree: baseTree, hidden },
        before,
        next,
      );
    const elsewhere = this.#isAlive()
      ? await filesElsewhere(this.#reader, source, { commit: this.#last, tree: before }, next)
      : NOTHING_ELSEWHERE;
    const place = {
      client,
      namespace,
      mapping,
      seals: this.#seals,
      twins,
      elsewhere,
      branch,
      plainFileBytesMax,
      signal,
    };
    const stage = new Stage(this.#reader, place, next, this.#main, onFile);
    await stage.put(before, other);
    if (mapping.version < 3 || before === undefined) return stage;
    const restated = await restate(
      this.#reader,
      { client, namespace, branch, commit: this.#last, signal },
      saidOtherwise(this.#reader, before, next),
    );
    for (const [path, key] of restated) stage.staged.set(path, key);
    return stage;
  }

  /**
   * Returns whether lakeFS's collection spares what the work branch's commit names: a branch leads
   * to it.
   */
  #isAlive(): boolean {
    const { baseCommit, isBaseHead } = this.#request;
    return isBaseHead || this.#last !== baseCommit;
  }

  #paddingsOf(): (string | undefined)[] {
    const { commits, baseTree, isBasePadded, mapping } = this.#request;
    const known = new Map<Oid, string | undefined>();
    let clean = isBasePadded ? undefined : baseTree;
    return commits.map(({ tree }) => {
      if (mapping.version < 3) return undefined;
      const padding = known.has(tree) ? known.get(tree) : this.#paddings.of(tree, clean);
      known.set(tree, padding);
      if (padding === undefined) clean = tree;
      return padding;
    });
  }

  /** Files that `build` will stage: differences are cheap beside calls. */
  async #countFiles(own: OwnAttributes): Promise<number> {
    const made = new Set(this.#made.keys());
    let tree = this.#request.baseTree;
    let other = otherThan(own);
    let files = 0;
    for (const { tree: next } of this.#request.commits) {
      if (made.has(next)) continue;
      await nextTurn(); // the word to stop comes between two commits
      checkAborted(this.#signal);
      for (const _ of stagedChanges(this.#reader, tree, next, other)) files++;
      made.add(next);
      other = undefined;
      tree = next;
    }
    return files;
  }

  /**
   * Asks lakeFS for the root's .gitattributes where Git's may hold a block that lakeFS does not
   * have.
   */
  async #ownAttributes(): Promise<OwnAttributes> {
    const { baseTree, baseCommit } = this.#request;
    if (baseTree === undefined) return "shown";
    const entry = parseTree(this.#reader.readAs("tree", this.#reader.space.need(baseTree))).get(
      ATTRIBUTES_PATH,
    );
    const number = entry === undefined ? undefined : this.#reader.locate(entry.oid);
    if (number === undefined || number < 0 || this.#reader.type(number) !== "blob") return "shown";
    const file = this.#reader.readAs("blob", number);
    if (withoutBlock(file) === file) return "shown";
    const there = await this.#client.findObject(baseCommit, ATTRIBUTES_PATH, this.#signal);
    if (there === undefined) return "absent";
    const isSame =
      there.size_bytes === file.length &&
      there.checksum === createHash("md5").update(file).digest("hex");
    return isSame ? "shown" : "other";
  }

  /**
   * Others may write to the work branch too: each path must lie where it was put, or what is about
   * to be sealed and pushed would be theirs.
   */
  async #check(commit: string, staged: ReadonlyMap<string, string>): Promise<void> {
    const { namespace } = this.#request;
    const source = { client: this.#client, signal: this.#signal, pagesOnly: true };
    const found = await locate(source, commit, [...staged.keys()]);
    for (const [path, key] of staged) {
      const entry = found.get(path);
      if (entry !== undefined && contentKey(entry, namespace) === key) continue;
      throw new Fault("lakefs/damaged", {
        path: lossyText(fromLatin1(path)),
        reason: "somebody else has written to this push's work branch",
      });
    }
  }

  /** It says what the pushed commit says: hooks for every branch judge it. */
  async #commit(oid: Oid): Promise<LakefsCommit> {
    const { workBranch, pusher } = this.#request;
    const raw = this.#reader.readAs("commit", this.#reader.space.need(oid));
    const description = describeCommit(lossyText(raw));
    const metadata = {
      [COMMIT_KEY]: Buffer.from(raw).toString("base64"),
      ...committerOf(description, pusher).metadata,
    };
    const commit = () =>
      commitStaged(
        this.#client,
        workBranch,
        { message: description.message, metadata },
        this.#signal,
      );
    // A hook may take minutes, and so would everybody else who waits for this thread.
    return this.#request.judged ? this.#watch.away(commit) : commit();
  }
}

function otherThan(own: OwnAttributes): OtherPath | undefined {
  return own === "shown" ? undefined : { path: ATTRIBUTES_PATH, isThere: own === "other" };
}

/** The main thread, which keeps what this task finds out and knows what it does not. */
class MainThread implements LandingMemory {
  readonly #port: TaskPort<LandingNews, LandingQuestions>;
  readonly #proven = new ProvenNotes((ids) => this.tell({ kind: "proven", ids }));

  constructor(port: MessagePort) {
    this.#port = new TaskPort(port);
  }

  tell(news: LandingNews): void {
    this.#port.tell(news);
  }

  addressOf(sha256: string, size: number): Promise<string | undefined> {
    return this.#asking(() => this.#port.ask("address", sha256, size));
  }

  proves(key: string, sha256: string): Promise<boolean> {
    return this.#asking(() => this.#port.ask("proves", key, sha256));
  }

  remember(key: string, size: number, facts: HashedContent): void {
    if (facts.blob === undefined || size >= LIMITS.contentRecordBytesMin)
      this.tell({ kind: "hashed", key, facts });
    else this.#proven.add(key, facts.sha256);
  }

  heard(): Promise<void> {
    return this.#asking(() => this.#port.heard());
  }

  /** Asks once all that was told before is heard. Throws "lakefs/failed", "base/aborted". */
  async #asking<T>(ask: () => Promise<T>): Promise<T> {
    this.#proven.flush();
    return ask().catch((error: unknown) => {
      const fault = asFault(error);
      throw fault.code === "base/aborted"
        ? fault
        : new Fault("lakefs/failed", { reason: fault.message }, fault);
    });
  }
}
