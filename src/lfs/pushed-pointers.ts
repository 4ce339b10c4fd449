/**
 * Pointers that a push brings, in a pool thread. Two steps, because the second is needed only where something is wrong: all small blobs of the pushed pack
 * that are pointers by their text; and for those whose object is missing, the paths at which .gitattributes make them pointers. A text that only looks
 * like a pointer is a plain file.
 */
import { parseCommit } from "../git/commit.js";
import { parsePointer, POINTER_BYTES_MAX } from "../git/lfs-pointer.js";
import type { Oid } from "../git/oid.js";
import { TreeCursor } from "../git/tree.js";
import { LIMITS } from "../base/limits.js";
import type { Kernels } from "../kernels/kernels.js";
import { describeObject } from "../odb/connected.js";
import { ObjectReader, threadReaderCaches } from "../odb/object-reader.js";
import { NONE } from "../odb/object-space.js";
import { EntryHeader } from "../odb/pack-file.js";
import { TaskWatch } from "../pool/control.js";
import type { FindPointersRequest, FoundPointer, LfsTasks, PointerPath, PointerPathsRequest } from "../pool/lfs-tasks.js";

/** The shortest: a size of one digit. */
const POINTER_BYTES_MIN = POINTER_BYTES_MAX - 15;
/** Instructions of a delta that makes a pointer: all of it inserted, and two sizes and some operation bytes. */
const DELTA_BYTES_MAX = POINTER_BYTES_MAX + 32;

/** Reads a .gitattributes file and answers for paths below its folder; `isLfs` climbs the folders. lakefs/gitattributes has them. */
export interface AttributeReading<R> {
  readonly parse: (text: Uint8Array) => R;
  readonly isLfs: (path: string, rulesOf: (folder: string) => R | undefined) => boolean;
}

type Work<K extends keyof LfsTasks> = (request: LfsTasks[K]["request"]) => LfsTasks[K]["result"];

export interface PointerWork {
  readonly pointers: Work<"lfs/pointers">;
  readonly paths: Work<"lfs/paths">;
}

export function pointerWork<R>(kernels: Kernels, attributes: AttributeReading<R>): PointerWork {
  return {
    pointers: (request) => findPointers(request, kernels),
    paths: (request) => new PointerPaths(request, kernels, attributes).find(),
  };
}

function findPointers({ packs, pushed, control }: FindPointersRequest, kernels: Kernels): FoundPointer[] {
  const reader = new ObjectReader(packs, kernels, threadReaderCaches());
  const watch = new TaskWatch(control);
  const { space } = reader;
  const at = space.packs.findIndex(({ handle }) => handle.checksum === pushed);
  const pack = space.packs[at];
  if (pack === undefined) return [];
  const header = new EntryHeader();
  const found: FoundPointer[] = [];
  for (let rank = 0; rank < pack.lookup.count; rank++) {
    watch.step();
    const position = pack.lookup.positionAt(rank); // as they lie in the pack: each block is read once
    pack.readHeader(pack.lookup.offset(position), header);
    if (header.isDelta ? header.size > DELTA_BYTES_MAX : !isPointerSize(header.size)) continue;
    const number = (space.starts[at] as number) + position;
    if (!isPointerSize(reader.size(number)) || reader.type(number) !== "blob") continue; // a type may lie at the end of a long chain
    const pointer = parsePointer(reader.read(number).data);
    if (pointer !== undefined) found.push({ blob: pack.lookup.oid(position), ...pointer });
  }
  return found;
}

function isPointerSize(bytes: number): boolean {
  return bytes >= POINTER_BYTES_MIN && bytes <= POINTER_BYTES_MAX;
}

class PointerPaths<R> {
  readonly #request: PointerPathsRequest;
  readonly #reader: ObjectReader;
  readonly #attributes: AttributeReading<R>;
  readonly #watch: TaskWatch;
  readonly #blobs: ReadonlySet<Oid>;
  /** Whether anything looked for lies in a tree or below. */
  readonly #holds = new Map<Oid, boolean>();
  readonly #rules = new Map<Oid, R>();

  constructor(request: PointerPathsRequest, kernels: Kernels, attributes: AttributeReading<R>) {
    this.#request = request;
    this.#reader = new ObjectReader(request.packs, kernels, threadReaderCaches());
    this.#attributes = attributes;
    this.#watch = new TaskWatch(request.control);
    this.#blobs = new Set(request.blobs);
  }

  find(): PointerPath[] {
    return this.#request.tips.flatMap((tip) => this.#below(tip));
  }

  /** The first paths in commits that the push brings; one is enough to refuse its ref. */
  #below(tip: Oid): PointerPath[] {
    const found = new Map<string, PointerPath>();
    const commit = describeObject(this.#reader, tip);
    const pending = [commit?.peeled ?? commit?.oid];
    const seen = new Set<Oid>();
    for (let oid = pending.pop(); oid !== undefined && found.size < LIMITS.lfsOffendersMax; oid = pending.pop()) {
      this.#watch.check();
      if (seen.has(oid) || !this.#isPushed(oid)) continue;
      seen.add(oid);
      const number = this.#reader.locate(oid);
      if (number === NONE || this.#reader.type(number) !== "commit") continue;
      const { tree, parents } = parseCommit(this.#reader.read(number).data);
      for (const { path, blob } of this.#inTree(tree)) found.set(path, { tip, path, blob });
      pending.push(...parents);
    }
    return [...found.values()].slice(0, LIMITS.lfsOffendersMax);
  }

  #isPushed(oid: Oid): boolean {
    return this.#reader.space.packs.some(({ handle, lookup }) => handle.checksum === this.#request.pushed && lookup.findOid(oid) >= 0);
  }

  #inTree(root: Oid): { readonly path: string; readonly blob: Oid }[] {
    const files = new Map<string, Oid>();
    const ruleFiles = new Map<string, Oid>();
    this.#collect(root, "", files, ruleFiles);
    const rulesOf = (folder: string): R | undefined => {
      const blob = ruleFiles.get(folder);
      return blob === undefined ? undefined : this.#rulesIn(blob);
    };
    return [...files].filter(([path]) => this.#attributes.isLfs(path, rulesOf)).map(([path, blob]) => ({ path, blob }));
  }

  #collect(tree: Oid, folder: string, files: Map<string, Oid>, ruleFiles: Map<string, Oid>): void {
    if (!this.#holdsAny(tree, 0)) return;
    const prefix = folder === "" ? "" : `${folder}/`;
    const cursor = this.#tree(tree);
    while (cursor.next()) {
      const { name, oid } = cursor;
      if (cursor.isTree) this.#collect(oid, prefix + name, files, ruleFiles);
      else if (this.#blobs.has(oid)) files.set(prefix + name, oid);
      else if (name === ".gitattributes") ruleFiles.set(folder, oid);
    }
  }

  /** Recursion is as deep as paths are, which fsck has bounded. */
  #holdsAny(tree: Oid, depth: number): boolean {
    const known = this.#holds.get(tree);
    if (known !== undefined) return known;
    this.#watch.step();
    let holds = false;
    const cursor = this.#tree(tree);
    while (!holds && cursor.next()) {
      if (cursor.isTree) holds = depth < LIMITS.treeDepthMax && this.#holdsAny(cursor.oid, depth + 1);
      else holds = !cursor.isGitlink && this.#blobs.has(cursor.oid);
    }
    this.#holds.set(tree, holds);
    return holds;
  }

  #tree(oid: Oid): TreeCursor {
    return new TreeCursor(this.#reader.readAs("tree", this.#reader.space.need(oid)));
  }

  #rulesIn(blob: Oid): R {
    const known = this.#rules.get(blob);
    if (known !== undefined) return known;
    const rules = this.#attributes.parse(this.#reader.readOid(blob).data);
    this.#rules.set(blob, rules);
    return rules;
  }
}
