/**
 * Reads a commit's own .gitattributes, in any folder: by its tree, where that is known, or while
 * its listing passes, before its tree is made. Without the managed block: that follows from what is
 * decided here.
 */
import { LRUCache } from "lru-cache";
import { LIMITS } from "../../base/limits.js";
import { WorkBudget } from "../../base/work-budget.js";
import type { Oid } from "../../git/oid.js";
import { withoutBlock } from "./managed-block.js";
import { AttributeRules, type Filter, filterOf } from "../../git/gitattributes.js";
import { ATTRIBUTES_NAME, baseName, type LakeEntry } from "./path-rules.js";

/** Returns the `filter` of one path. Throws "lakefs/too-many-attributes". */
export type SaidOf = (path: string) => Filter;

export const NOTHING_SAID: SaidOf = () => undefined;

/** Makes the budget of one commit. Each path that is asked for raises it. */
export function attributeBudget(): WorkBudget {
  return new WorkBudget(LIMITS.attributeStepsBase, "steps", "lakefs/too-many-attributes");
}

/** Rules of this thread, by content: whoever reads a file again finds its rules parsed. */
const parsedRules = new LRUCache<string, AttributeRules>({
  maxSize: LIMITS.attributeRulesBytes,
  sizeCalculation: (_, key) => Number(key.slice(0, key.indexOf(" "))) + 1,
});

/** The lines of a file, as this thread has them parsed. */
function rulesOfFile(
  folder: string,
  oid: Oid,
  text: Uint8Array,
  budget: WorkBudget,
): AttributeRules {
  const key = `${text.length} ${folder === "" ? "root" : "folder"} ${oid}`;
  const held = parsedRules.get(key);
  if (held !== undefined) return held;
  budget.spend(text.length);
  const rules = new AttributeRules(folder === "" ? withoutBlock(text) : text);
  parsedRules.set(key, rules);
  return rules;
}

/** A folder's file; undefined: it has none that Git would read. */
export type AttributesFile = { readonly oid: Oid; readonly text: Uint8Array } | undefined;

/** By a tree: `fileOf` looks a folder's file up ("" the root, "a/b"), once each. */
export function saidByTree(fileOf: (folder: string) => AttributesFile, budget: WorkBudget): SaidOf {
  const rules = new LRUCache<string, { readonly rules: AttributeRules | undefined }>({
    max: FOLDERS_HELD,
  });
  const rulesOf = (folder: string) => {
    const held = rules.get(folder);
    if (held !== undefined) return held.rules;
    const file = fileOf(folder);
    const read = file && rulesOfFile(folder, file.oid, file.text, budget);
    rules.set(folder, { rules: read });
    return read;
  };
  return (path) => {
    budget.allow(LIMITS.attributeStepsPerPath);
    return filterOf(path, rulesOf, budget);
  };
}

/** Folders whose rules are at hand: paths mostly come in order. */
const FOLDERS_HELD = 1_000;

/**
 * Looks .gitattributes files up by path where they stand outside of what has passed, and reads
 * some.
 */
export interface AttributesSource {
  find(paths: readonly string[]): Promise<readonly LakeEntry[]>;
  /** One answer an entry, in order: what Git reads there. */
  read(entries: readonly LakeEntry[]): Promise<readonly AttributesFile[]>;
}

/**
 * As a listing passes in batches. Paths come in bytewise order, so a folder's file mostly comes in
 * the batch in which the folder begins; where the batch ends before its place it is asked for.
 * Rules are kept of folders that go on.
 */
export class PassingAttributes {
  readonly #source: AttributesSource;
  readonly #budget = attributeBudget();
  #rules = new Map<string, AttributeRules>();
  /** Folders of the last path so far, whose files are known to be there or not. */
  #open: ReadonlySet<string> = new Set();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(source: AttributesSource) {
    this.#source = source;
  }

  /** Batches in path order; the next may come before the one before is answered. */
  of(batch: readonly LakeEntry[]): Promise<readonly Filter[]> {
    const said = this.#turn.then(() => this.#take(batch));
    this.#turn = said;
    said.catch(() => undefined); // told to who asked, and to all that come later
    return said;
  }

  async #take(batch: readonly LakeEntry[]): Promise<readonly Filter[]> {
    const last = batch.at(-1)?.path ?? "";
    const open = foldersOf(last);
    const own = batch.filter(({ path }) => baseName(path) === ATTRIBUTES_NAME);
    const ahead = open.filter((folder) => !this.#open.has(folder) && last < attributesPath(folder));
    const files = [...own, ...(await this.#source.find(ahead.map(attributesPath)))];
    const texts = await this.#source.read(files);
    for (const [at, file] of texts.entries()) {
      const folder = folderOf((files[at] as LakeEntry).path);
      if (file !== undefined)
        this.#rules.set(folder, rulesOfFile(folder, file.oid, file.text, this.#budget));
    }
    const rulesOf = (folder: string) => this.#rules.get(folder);
    this.#budget.allow(batch.length * LIMITS.attributeStepsPerPath);
    const said = batch.map(({ path }) => filterOf(path, rulesOf, this.#budget));
    this.#open = new Set(open);
    this.#rules = new Map([...this.#rules].filter(([folder]) => this.#open.has(folder)));
    return said;
  }
}

function attributesPath(folder: string): string {
  return folder === "" ? ATTRIBUTES_NAME : `${folder}/${ATTRIBUTES_NAME}`;
}

function folderOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf("/"), 0));
}

/** The folders that a path lies in, the root first. */
function foldersOf(path: string): string[] {
  const folders = [""];
  for (let slash = path.indexOf("/"); slash >= 0; slash = path.indexOf("/", slash + 1))
    folders.push(path.slice(0, slash));
  return folders;
}
