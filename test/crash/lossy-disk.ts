/**
 * A disk as POSIX promises it and no more: what was not synced may be gone after a crash, each
 * piece by itself. A file's bytes last once the file was synced after they were written, a name
 * once its folder was synced after it was made. A sync that fails loses what it should have
 * written, though it is still shown: no later sync writes that.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { JournalRecord } from "./journal.js";

interface Write {
  readonly at: number;
  readonly bytes: Buffer;
}

/** One change that is not synced yet. A rename is one: the old name goes when the new one comes. */
type NameChange = { readonly set?: readonly [name: string, node: Node]; readonly drop?: string };

interface Pending<T> {
  readonly seq: number;
  readonly change: T;
}

export class FileNode {
  readonly label: string;
  /** Content that is read now, whether or not it will last. */
  shown: Buffer = Buffer.alloc(0);
  durable: Buffer = Buffer.alloc(0);
  pending: Pending<Write>[] = [];

  constructor(label: string) {
    this.label = label;
  }

  add(seq: number, change: Write): void {
    this.pending.push({ seq, change });
    this.shown = written(this.shown, [change]);
  }

  /** Returns the content after a crash that keeps these writes. */
  content(kept: readonly Write[]): Buffer {
    return written(this.durable, kept);
  }

  settle(before: number): void {
    this.durable = this.content(
      this.pending.filter(({ seq }) => seq < before).map(({ change }) => change),
    );
    this.pending = this.pending.filter(({ seq }) => seq >= before);
  }

  drop(): void {
    this.pending = [];
  }
}

function written(start: Buffer, writes: readonly Write[]): Buffer {
  return writes.reduce<Buffer>((bytes, { at, bytes: piece }) => {
    const grown = Buffer.alloc(Math.max(bytes.length, at + piece.length));
    bytes.copy(grown);
    piece.copy(grown, at);
    return grown;
  }, start);
}

export class FolderNode {
  readonly label: string;
  /** Names that are listed now, whether or not they will last. */
  readonly shown = new Map<string, Node>();
  durable = new Map<string, Node>();
  pending: Pending<NameChange>[] = [];

  constructor(label: string) {
    this.label = label;
  }

  add(seq: number, change: NameChange): void {
    this.pending.push({ seq, change });
    applyTo(this.shown, change);
  }

  /** Returns the names after a crash that keeps these changes. */
  entries(kept: readonly NameChange[]): Map<string, Node> {
    const names = new Map(this.durable);
    for (const change of kept) applyTo(names, change);
    return names;
  }

  settle(before: number): void {
    this.durable = this.entries(
      this.pending.filter(({ seq }) => seq < before).map(({ change }) => change),
    );
    this.pending = this.pending.filter(({ seq }) => seq >= before);
  }

  drop(): void {
    this.pending = [];
  }
}

function applyTo(names: Map<string, Node>, { set, drop }: NameChange): void {
  if (drop !== undefined) names.delete(drop);
  if (set !== undefined) names.set(...set);
}

type Node = FileNode | FolderNode;

/**
 * Fate of the unsynced part of one file or folder in a crash: all is kept, nothing, or what the
 * function says for each change.
 */
export type Fate = "kept" | "lost" | "zeros" | "torn" | "some";
export type Fates = (node: Node) => Fate;

interface OpenFile {
  readonly node: Node;
  position: number;
}

export class LossyDisk {
  readonly #root = new FolderNode("/");
  readonly #open = new Map<string, OpenFile>();
  readonly #syncs = new Map<string, { readonly node: Node; readonly seq: number }>();
  readonly #ignored: string | undefined;
  #seq = 0;

  /** `ignored`: the site whose syncs do nothing. */
  constructor(ignored?: string) {
    this.#ignored = ignored;
  }

  apply(record: JournalRecord): void {
    this.#seq++;
    if (record.op === "mkdir") this.#makeFolders(record.path);
    else if (record.op === "open") this.#openFile(record);
    else if (record.op === "write") this.#write(record.id, record.at, record.bytes);
    else if (record.op === "sync") this.#beginSync(record);
    else if (record.op === "unsynced") this.#open.get(record.id)?.node.drop();
    else if (record.op === "synced") this.#endSync(record.number);
    else if (record.op === "remove") this.#change(record.path, { drop: basename(record.path) });
    else if (record.op === "link")
      this.#change(record.to, { set: [basename(record.to), this.#need(record.path)] });
    else if (record.op === "copy") this.#copy(record.path, record.to);
    else if (record.op === "rename") this.#rename(record.path, record.to);
  }

  /** Files and folders with changes that are not synced, below `below`. */
  dirty(below: (node: Node) => boolean): Node[] {
    const found = new Set<Node>();
    const visit = (node: Node): void => {
      if (node.pending.length > 0 && below(node)) found.add(node);
      if (node instanceof FolderNode) for (const child of node.shown.values()) visit(child);
    };
    visit(this.#root);
    return [...found];
  }

  /**
   * Writes what is left of `path` into `folder`. `random`: for fates that need chance. False:
   * nothing is left of it.
   */
  crash(path: string, folder: string, fates: Fates, random: () => number): boolean {
    let node: Node | undefined = this.#root;
    for (const name of path.split("/"))
      node = node instanceof FolderNode ? surviving(node, fates, random).get(name) : undefined;
    if (node === undefined) return false;
    write(node, folder, fates, random);
    return true;
  }

  #find(path: string): Node | undefined {
    let node: Node | undefined = this.#root;
    for (const name of path === "" ? [] : path.split("/"))
      node = node instanceof FolderNode ? node.shown.get(name) : undefined;
    return node;
  }

  #need(path: string): Node {
    const node = this.#find(path);
    if (node === undefined) throw new Error(`the journal names ${path}, which is not there`);
    return node;
  }

  #change(path: string, change: NameChange): void {
    const folder = this.#need(parentOf(path));
    if (!(folder instanceof FolderNode)) throw new Error(`${path}: not in a folder`);
    if (change.drop !== undefined && change.set === undefined && !folder.shown.has(change.drop))
      return;
    folder.add(this.#seq, change);
  }

  #makeFolders(path: string): void {
    if (path === "" || this.#find(path) !== undefined) return;
    this.#makeFolders(parentOf(path));
    this.#change(path, { set: [basename(path), new FolderNode(path)] });
  }

  #openFile({ id, path, flags }: JournalRecord & { readonly op: "open" }): void {
    let node = this.#find(path);
    if (node === undefined) {
      node = new FileNode(path);
      if (flags !== "r") this.#change(path, { set: [basename(path), node] });
    }
    // Files that are truncated are not published again; what counts is that they start empty.
    if (flags.startsWith("w") && node instanceof FileNode && node.shown.length > 0) {
      node = new FileNode(path);
      this.#change(path, { set: [basename(path), node] });
    }
    this.#open.set(id, { node, position: 0 });
  }

  #write(id: string, at: number, bytes: Buffer): void {
    const file = this.#open.get(id);
    if (!(file?.node instanceof FileNode)) throw new Error("a write to what is not open");
    const position = at < 0 ? file.position : at;
    if (at < 0) file.position += bytes.length;
    file.node.add(this.#seq, { at: position, bytes });
  }

  #copy(from: string, to: string): void {
    const source = this.#need(from);
    if (!(source instanceof FileNode)) throw new Error(`${from}: not a file`);
    const copied = new FileNode(to);
    copied.add(this.#seq, { at: 0, bytes: source.shown });
    this.#change(to, { set: [basename(to), copied] });
  }

  #rename(from: string, to: string): void {
    const node = this.#need(from);
    if (parentOf(from) !== parentOf(to))
      throw new Error("a rename between folders is not modelled");
    this.#change(to, { set: [basename(to), node], drop: basename(from) });
  }

  #beginSync({ id, number, site }: JournalRecord & { readonly op: "sync" }): void {
    const file = this.#open.get(id);
    if (file === undefined) throw new Error("a sync of what is not open");
    if (siteName(site, file.node) !== this.#ignored)
      this.#syncs.set(number, { node: file.node, seq: this.#seq });
  }

  #endSync(number: string): void {
    const sync = this.#syncs.get(number);
    sync?.node.settle(sync.seq);
    this.#syncs.delete(number);
  }

  /** Name of the site of a sync that `record` begins, as it was applied. */
  siteOf({ id, site }: JournalRecord & { readonly op: "sync" }): string {
    const file = this.#open.get(id);
    if (file === undefined) throw new Error("a sync of what is not open");
    return siteName(site, file.node);
  }
}

function siteName(site: string, node: Node): string {
  return `${site}, ${node instanceof FileNode ? "file" : "folder"}`;
}

function parentOf(path: string): string {
  const parent = dirname(path);
  return parent === "." ? "" : parent;
}

function surviving(folder: FolderNode, fates: Fates, random: () => number): Map<string, Node> {
  const fate = folder.pending.length === 0 ? "kept" : fates(folder);
  if (fate === "kept") return folder.entries(folder.pending.map(({ change }) => change));
  if (fate !== "some") return folder.entries([]);
  return folder.entries(folder.pending.filter(() => random() < 0.5).map(({ change }) => change));
}

const SECTOR_BYTES = 512;

function survivingBytes(file: FileNode, fates: Fates, random: () => number): Buffer {
  const fate = file.pending.length === 0 ? "kept" : fates(file);
  if (fate === "kept") return file.content(file.pending.map(({ change }) => change));
  if (fate === "lost") return file.durable;
  if (fate === "zeros")
    return file.content([
      ...file.pending.map(({ change }) => ({
        at: change.at,
        bytes: Buffer.alloc(change.bytes.length),
      })),
    ]);
  const torn = ({ at, bytes }: Write): Write => ({
    at,
    bytes: bytes.subarray(0, Math.floor((random() * bytes.length) / SECTOR_BYTES) * SECTOR_BYTES),
  });
  const writes = file.pending.map(({ change }) => change);
  if (fate === "torn")
    return file.content(
      writes.map((change, at) => (at === writes.length - 1 ? torn(change) : change)),
    );
  return file.content(writes.filter(() => random() < 0.5));
}

function write(node: Node, path: string, fates: Fates, random: () => number): void {
  if (node instanceof FileNode) {
    writeFileSync(path, survivingBytes(node, fates, random));
    return;
  }
  mkdirSync(path, { recursive: true });
  for (const [name, child] of surviving(node, fates, random)) {
    // Emptied at the start, and never read.
    if (name !== "incoming") write(child, join(path, name), fates, random);
  }
}
