/**
 * Entries that branches have already at the very path at which a push brings the same file. lakeFS
 * counts user metadata and content type into what an entry is, so the pushed file is staged just as
 * it is there: two branches that have brought one file merge without a conflict. Only heads count:
 * what older commits alone name may be collected at any time.
 */
import { fromLatin1, lossyText } from "../../base/bytes.js";
import type { Oid } from "../../git/oid.js";
import { MODE_TREE } from "../../git/tree.js";
import { parseTree, type TreeEntry } from "../../git/tree-entries.js";
import type { ObjectReader } from "../../odb/packs/reader.js";
import { NONE } from "../../odb/packs/numbering.js";
import type { BranchHead } from "../read/branch-heads.js";
import type { LakefsClient } from "../api/client.js";
import type { LakefsObject } from "../api/types.js";

export interface TwinSource {
  readonly client: LakefsClient;
  readonly signal: AbortSignal;
}

export type Twin = LakefsObject & { readonly size_bytes: number };

/** Written by landings themselves, with a managed block in Git that lakeFS does not have. */
const ATTRIBUTES_PATH = ".gitattributes";
/** Parsed trees held: paths of a push come in order, so that few suffice. */
const TREES_MAX = 256;

export class Twins {
  readonly #reader: ObjectReader;
  readonly #source: TwinSource;
  readonly #heads: readonly BranchHead[];
  readonly #trees = new Map<Oid, ReadonlyMap<string, TreeEntry>>();

  constructor(reader: ObjectReader, source: TwinSource, heads: readonly BranchHead[]) {
    this.#reader = reader;
    this.#source = source;
    this.#heads = [...new Map(heads.map((head) => [head.tree, head])).values()];
  }

  /** `mode`: as lakeFS's metadata tell it. One call, where a branch has it. */
  async find(path: string, mode: number, blob: Oid): Promise<Twin | undefined> {
    if (path === ATTRIBUTES_PATH) return undefined;
    const head = this.#heads.find(({ tree }) => this.#isAt(tree, path, mode, blob));
    if (head === undefined) return undefined;
    const { client, signal } = this.#source;
    // Missing: that branch has gone meanwhile.
    const name = lossyText(fromLatin1(path));
    const entry = await client.findObject(head.lakeId, name, signal);
    return entry?.size_bytes === undefined ? undefined : { ...entry, size_bytes: entry.size_bytes };
  }

  #isAt(root: Oid, path: string, mode: number, blob: Oid): boolean {
    const names = path.split("/");
    let tree = root;
    for (const [at, name] of names.entries()) {
      const entry = this.#entriesOf(tree)?.get(name);
      if (entry === undefined) return false;
      if (at === names.length - 1) return entry.oid === blob && entry.mode === mode;
      if (entry.mode !== MODE_TREE) return false;
      tree = entry.oid;
    }
    return false;
  }

  #entriesOf(tree: Oid): ReadonlyMap<string, TreeEntry> | undefined {
    const held = this.#trees.get(tree);
    if (held !== undefined) return held;
    const number = this.#reader.locate(tree);
    if (number === NONE) return undefined;
    const entries = parseTree(this.#reader.readAs("tree", number));
    if (this.#trees.size >= TREES_MAX) this.#trees.clear();
    this.#trees.set(tree, entries);
    return entries;
  }
}
