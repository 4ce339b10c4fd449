/**
 * Finds the paths of pointers without an object in the commits of a push, where .gitattributes make
 * them LFS files. A tree is looked through once, whatever names it; paths are followed only where
 * something that is looked for lies below. The cost of all that is bounded: ten trees within each
 * other, ten entries each, are ten thousand million paths.
 */
import { LIMITS } from "../base/limits.js";
import { parseCommit } from "../git/commit.js";
import type { Oid } from "../git/oid.js";
import { TreeCursor } from "../git/tree.js";
import { describeObject } from "../odb/walk/connected.js";
import type { ObjectReader } from "../odb/packs/reader.js";
import { NONE } from "../odb/packs/numbering.js";
import type { TaskWatch } from "../pool/control.js";
import type { PointerPath, PointerPathsRequest, PointerPathsResult } from "./tasks.js";

/**
 * Reads a .gitattributes file and answers for paths below its folder; `isLfs` climbs the folders.
 * lakefs/gitattributes has them.
 */
export interface AttributeReading<R> {
  readonly parse: (text: Uint8Array) => R;
  readonly isLfs: (path: string, rulesOf: (folder: string) => R | undefined) => boolean;
}

/** Knowledge of an object, by its number. */
const [UNKNOWN, NOTHING, HOLDS, WANTED] = [0, 1, 2, 3];
const LF = 0x0a;
/** Bytes of trees kept on the way back up; those of the rest are read again. */
const HELD_BYTES_MAX = 32 * 1024 * 1024;
/**
 * One step is an entry looked at, or a pattern held against a path; so many bytes read, or made
 * text, count as one more.
 */
const BYTES_PER_STEP = 64;

/** A .gitattributes file on the way from the root. */
interface RulesNode<R> {
  readonly folder: string;
  readonly rules: R;
  /** Lines of this one and of those above, and how many files these are. */
  readonly lines: number;
  readonly files: number;
  readonly above: RulesNode<R> | undefined;
  /** The same for the same files. */
  readonly key: string;
}

/** A tree to look into, and how it is reached. */
interface Place<R> {
  readonly number: number;
  readonly folder: string;
  readonly depth: number;
  readonly above: RulesNode<R> | undefined;
}

/** A tree on the way back up. */
interface Frame {
  readonly number: number;
  at: number;
  data: Uint8Array | undefined;
  /** The subtree that was looked through last. */
  child: number;
}

interface Named {
  readonly name: string;
  readonly number: number;
}

class TooMany extends Error {}

export class PointerPaths<R> {
  readonly #request: PointerPathsRequest;
  readonly #reader: ObjectReader;
  readonly #attributes: AttributeReading<R>;
  readonly #watch: TaskWatch;
  readonly #state: Uint8Array;
  readonly #rules = new Map<number, { readonly rules: R; readonly lines: number }>();
  /** Trees that were looked into, with their folder and rules. */
  readonly #done = new Set<string>();
  #steps = 0;

  constructor(
    request: PointerPathsRequest,
    reader: ObjectReader,
    attributes: AttributeReading<R>,
    watch: TaskWatch,
  ) {
    this.#request = request;
    this.#reader = reader;
    this.#attributes = attributes;
    this.#watch = watch;
    this.#state = new Uint8Array(reader.space.size);
    for (const oid of request.blobs) this.#state[reader.space.need(oid)] = WANTED;
  }

  async find(): Promise<PointerPathsResult> {
    const paths: PointerPath[] = [];
    try {
      for (const tip of this.#request.tips) {
        this.#done.clear(); // the same folder may belong to two tips
        await this.#below(tip, (path, blob) => paths.push({ tip, path, blob }));
      }
    } catch (error) {
      if (error instanceof TooMany) return { paths, exhausted: true };
      throw error;
    }
    return { paths, exhausted: false };
  }

  /** The first paths in commits that the push brings; one is enough to refuse its ref. */
  async #below(tip: Oid, found: (path: string, blob: Oid) => void): Promise<void> {
    const commit = describeObject(this.#reader, tip);
    const pending = [commit?.peeled ?? commit?.oid];
    const seen = new Set<Oid>();
    const paths = new Set<string>();
    for (let oid = pending.pop(); oid !== undefined; oid = pending.pop()) {
      if (seen.has(oid) || !this.#isPushed(oid)) continue;
      seen.add(oid);
      const number = this.#reader.locate(oid);
      if (number === NONE || this.#reader.type(number) !== "commit") continue;
      const { tree, parents } = parseCommit(this.#reader.read(number).data);
      for (const parent of parents) pending.push(parent);
      await this.#count(1 + parents.length);
      for await (const { path, blob } of this.#inTree(this.#reader.space.need(tree))) {
        if (!paths.has(path)) found(path, blob);
        if (paths.add(path).size === LIMITS.lfsOffendersMax) return;
      }
    }
  }

  #isPushed(oid: Oid): boolean {
    return this.#reader.space.packs.some(
      ({ handle, lookup }) => handle.checksum === this.#request.pushed && lookup.findOid(oid) >= 0,
    );
  }

  /** Counts work; a thread is given to others between. Throws TooMany. */
  async #count(steps: number): Promise<void> {
    this.#steps += steps;
    if (this.#steps > LIMITS.pointerStepsMax) throw new TooMany();
    this.#watch.check();
    if (this.#watch.shouldYield()) await this.#watch.turn();
  }

  // What lies below -------------------------------------------------------------------------------
  /**
   * Returns whether anything that is looked for lies in this tree or below. Post-order on an
   * explicit stack, each tree once.
   */
  async #holds(root: number): Promise<boolean> {
    const stack: Frame[] =
      this.#state[root] === UNKNOWN ? [{ number: root, at: 0, data: undefined, child: NONE }] : [];
    let held = 0;
    for (let frame = stack.at(-1); frame !== undefined; frame = stack.at(-1)) {
      const data = frame.data ?? this.#reader.readAs("tree", frame.number);
      if (frame.data === undefined) {
        await this.#count(1 + data.length / BYTES_PER_STEP);
        if (held + data.length <= HELD_BYTES_MAX) {
          frame.data = data;
          held += data.length;
        }
      }
      const child = this.#scan(frame, data);
      if (child !== NONE) {
        stack.push({ number: child, at: 0, data: undefined, child: NONE });
        continue;
      }
      held -= frame.data?.length ?? 0;
      stack.pop();
    }
    return this.#state[root] === HOLDS;
  }

  /**
   * Goes on in a tree: the next subtree that nothing is known of, or NONE, and then what is known
   * of the tree stands in #state.
   */
  #scan(frame: Frame, data: Uint8Array): number {
    if (frame.child !== NONE && this.#state[frame.child] === HOLDS)
      return this.#settle(frame, HOLDS);
    const cursor = new TreeCursor(data.subarray(frame.at));
    while (cursor.next()) {
      if (cursor.isGitlink) continue;
      const number = this.#reader.space.find(cursor.data, cursor.oidAt);
      const state = number === NONE ? NOTHING : this.#state[number];
      if (state === HOLDS || state === WANTED) return this.#settle(frame, HOLDS);
      if (state !== UNKNOWN || !cursor.isTree) continue;
      frame.at += cursor.oidAt + 20;
      frame.child = number;
      return number;
    }
    return this.#settle(frame, NOTHING);
  }

  #settle({ number }: Frame, state: number): number {
    this.#state[number] = state;
    return NONE;
  }

  // Paths -----------------------------------------------------------------------------------------
  async *#inTree(root: number): AsyncGenerator<{ readonly path: string; readonly blob: Oid }> {
    const pending: Place<R>[] = [{ number: root, folder: "", depth: 0, above: undefined }];
    for (let place = pending.pop(); place !== undefined; place = pending.pop()) {
      if (!(await this.#holds(place.number))) continue;
      const key = `${place.number} ${place.above?.key ?? ""} ${place.folder}`;
      await this.#count(1 + key.length / BYTES_PER_STEP);
      if (this.#done.has(key)) continue;
      this.#done.add(key);
      const { files, trees, rules } = await this.#read(place.number);
      const above = rules === undefined ? place.above : await this.#withRules(place, rules);
      const prefix = place.folder === "" ? "" : `${place.folder}/`;
      for (const { name, number } of files) {
        const path = prefix + name;
        if (above !== undefined && (await this.#isLfs(path, place.depth, above)))
          yield { path, blob: this.#reader.space.oid(number) };
      }
      // Git checks nothing out that lies deeper.
      if (place.depth === LIMITS.treeDepthMax) continue;
      for (const { name, number } of trees)
        pending.push({ number, folder: prefix + name, depth: place.depth + 1, above });
    }
  }

  async #read(number: number): Promise<{
    readonly files: Named[];
    readonly trees: Named[];
    readonly rules: number | undefined;
  }> {
    const data = this.#reader.readAs("tree", number);
    await this.#count(data.length / BYTES_PER_STEP);
    const [files, trees]: [Named[], Named[]] = [[], []];
    let rules: number | undefined;
    const cursor = new TreeCursor(data);
    while (cursor.next()) {
      if (cursor.isGitlink) continue;
      const child = this.#reader.space.find(cursor.data, cursor.oidAt);
      if (child === NONE) continue;
      const state = this.#state[child];
      if (cursor.isTree) {
        if (state !== NOTHING) trees.push({ name: cursor.name, number: child });
      } else if (state === WANTED) files.push({ name: cursor.name, number: child });
      else if (cursor.name === ".gitattributes") rules = child;
    }
    await this.#count(files.length + trees.length);
    return { files, trees, rules };
  }

  async #withRules({ folder, above }: Place<R>, number: number): Promise<RulesNode<R>> {
    const known = this.#rules.get(number) ?? (await this.#parse(number));
    this.#rules.set(number, known);
    return {
      folder,
      rules: known.rules,
      lines: known.lines + (above?.lines ?? 0),
      files: 1 + (above?.files ?? 0),
      above,
      key: `${above?.key ?? ""},${folder.length}:${number}`,
    };
  }

  async #parse(number: number): Promise<{ readonly rules: R; readonly lines: number }> {
    // A pattern takes some hundred bytes of memory.
    await this.#count(this.#reader.size(number) / 8);
    const { data } = this.#reader.read(number);
    let lines = 1;
    for (let at = data.indexOf(LF); at >= 0; at = data.indexOf(LF, at + 1)) lines++;
    return { rules: this.#attributes.parse(data), lines };
  }

  async #isLfs(path: string, depth: number, rules: RulesNode<R>): Promise<boolean> {
    await this.#count(
      1 + depth * rules.files + rules.lines + (depth * path.length) / BYTES_PER_STEP,
    );
    return this.#attributes.isLfs(path, (folder) => {
      let node: RulesNode<R> | undefined = rules;
      while (node !== undefined && node.folder.length > folder.length) node = node.above;
      return node?.folder === folder ? node.rules : undefined;
    });
  }
}
