/**
 * New objects of one synthesis, on their way into a pack. A pack says first how many objects it
 * holds, so entries are gathered in a file beside it and copied behind the header at the end.
 * Objects that live packs hold are not written again.
 *
 * A tree that came of another one written here is a delta on it or on one before that
 * (git/delta-chain). One that came of a tree in a live pack is written whole: a stored pack has all
 * its bases. It becomes a delta when both packs are folded.
 */
import { createHash } from "node:crypto";
import { closeSync, createWriteStream, openSync, readSync, rmSync, statSync } from "node:fs";
import { pipeline } from "node:stream/promises";
import { createDeflate, deflateSync } from "node:zlib";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { baseOf } from "../../git/delta-chain.js";
import { objectId } from "../../git/object-id.js";
import { OidSet } from "../../git/oid-set.js";
import { OBJECT_TYPE, type ObjectType, type Oid } from "../../git/oid.js";
import {
  ENTRY_HEADER_BYTES_MAX,
  PackWriter,
  writeBaseDistance,
  writeTypeAndSize,
} from "../../git/pack-writer.js";
import { treeDelta } from "../../git/tree-delta.js";
import type { ObjectReader } from "../../odb/packs/reader.js";
import { NONE } from "../../odb/packs/numbering.js";
import type { PackHandle } from "../../odb/packs/handle.js";
import { writeExactly } from "../../odb/index-pack/write-exactly.js";
import type { TreeCache } from "./tree-cache.js";

const BUFFER_BYTES = 1024 * 1024;
/** gitformat-pack(5): signature, version and count before the entries, a SHA-1 behind them. */
const PACK_HEADER_BYTES = 12;
const CHECKSUM_BYTES = 20;

export class ObjectOutput {
  readonly #path: string;
  readonly #reader: ObjectReader;
  readonly #trees: TreeCache;
  readonly #written = new OidSet();
  /** Trees made here, and what else must be read again before the pack is live. */
  readonly #kept = new Map<Oid, Uint8Array>();
  /** Trees made or read since `takeTrees`. */
  #used = new Map<Oid, Uint8Array>();
  readonly #versions = new TreeVersions();
  /** Small entries are gathered: a write of its own would cost each as much as deflating it. */
  readonly #buffer = Buffer.allocUnsafe(BUFFER_BYTES);
  #filled = 0;
  #file: number | undefined;
  /** Bytes of the file, without those gathered in memory. */
  #length = 0;
  #spools = 0;
  #copied = 0;
  /** Entries since `mark` that are no blobs: a failure does not leave them in the pack. */
  #begun: Begun = { objects: 0, spans: [] };

  constructor(path: string, reader: ObjectReader, trees: TreeCache) {
    this.#path = path;
    this.#reader = reader;
    this.#trees = trees;
  }

  get count(): number {
    return this.#written.size + this.#copied;
  }

  /**
   * Begins with all entries of a pack that the reader has, as they lie: each is as far from its
   * base as before.
   */
  copyPack({ path, bytes, objectCount }: PackHandle): void {
    const start = this.#end;
    this.#appendFile(path, PACK_HEADER_BYTES, bytes - CHECKSUM_BYTES);
    this.#copied += objectCount;
    this.#isBegun(start, objectCount);
  }

  /** All that was added is whole: what follows belongs together. */
  mark(): void {
    this.#begun = { objects: 0, spans: [] };
  }

  /** Returns whether a pack, or this output, has the object. */
  has(oid: Oid): boolean {
    return this.#written.has(oid) || this.#reader.locate(oid) !== NONE;
  }

  /** `keep`: it will be read again. */
  add(type: Exclude<ObjectType, "tree">, data: Uint8Array, keep = false): Oid {
    const oid = objectId(type, data);
    if (keep) this.#kept.set(oid, data);
    if (this.has(oid)) return oid;
    const start = this.#end;
    this.#entry(OBJECT_TYPE[type], data);
    this.#written.add(oid);
    if (type !== "blob") this.#isBegun(start, 1);
    return oid;
  }

  /** `previous`: the tree that it came of. */
  addTree(data: Uint8Array, previous?: Oid): Oid {
    const oid = objectId("tree", data);
    this.#kept.set(oid, data);
    this.#used.set(oid, data);
    if (this.has(oid)) return oid;
    const start = this.#end;
    const versions = this.#versions;
    const base = versions.add(oid, start, previous);
    const delta =
      base === undefined ? undefined : treeDelta(this.#kept.get(base.oid) as Uint8Array, data);
    if (base === undefined || delta === undefined) {
      versions.isWhole();
      this.#entry(OBJECT_TYPE.tree, data);
    } else this.#entry(OBJECT_TYPE.ofsDelta, delta, start - base.start);
    this.#written.add(oid);
    this.#isBegun(start, 1);
    return oid;
  }

  /** Returns whether `readBlob` would find it. */
  canRead(oid: Oid): boolean {
    return this.#kept.has(oid) || this.#reader.locate(oid) !== NONE;
  }

  /** A blob's content: of this output only what was kept. Throws "odb/missing". */
  readBlob(oid: Oid): Uint8Array {
    return this.#kept.get(oid) ?? this.#reader.readOid(oid).data;
  }

  /** Throws "odb/missing". */
  readTree(oid: Oid): Uint8Array {
    const tree = this.#kept.get(oid) ?? this.#trees.get(oid) ?? this.#reader.readOid(oid).data;
    this.#used.set(oid, tree);
    return tree;
  }

  /** The trees of one commit, for the cache: those made or read since the last call. */
  takeTrees(): ReadonlyMap<Oid, Uint8Array> {
    const used = this.#used;
    this.#used = new Map();
    return used;
  }

  /**
   * A blob of `size` bytes as it arrives, which is what `content` must yield or throw. It becomes
   * part of the output if `isKept` says so of its id, once all has arrived.
   */
  async addStream(
    size: number,
    content: AsyncIterable<Uint8Array>,
    isKept: (oid: Oid) => boolean = () => true,
  ): Promise<Oid> {
    const spool = `${this.#path}.large-${this.#spools++}`;
    const hash = createHash("sha1").update(`blob ${size}\0`);
    const hashed = async function* () {
      for await (const chunk of content) {
        hash.update(chunk);
        yield chunk;
      }
    };
    try {
      await pipeline(
        hashed,
        createDeflate({ level: LIMITS.deflateLevel }),
        createWriteStream(spool, { flags: "wx" }),
      );
      const oid = hash.digest("hex");
      if (!isKept(oid) || this.has(oid)) return oid;
      this.#header(OBJECT_TYPE.blob, size);
      this.#appendFile(spool, 0, statSync(spool).size);
      this.#written.add(oid);
      return oid;
    } finally {
      rmSync(spool, { force: true });
    }
  }

  /** Writes the pack, if there is anything new. */
  finish(): void {
    this.mark();
    this.finishWhole();
  }

  /**
   * As `finish`, of what was added since `mark` only the blobs: contents that were read need not be
   * read again. How many objects.
   */
  finishWhole(): number {
    const count = this.count - this.#begun.objects;
    if (count === 0) {
      this.discard();
      return 0;
    }
    this.#flush();
    const file = this.#file as number;
    const pack = openSync(this.#path, "wx");
    try {
      let at = 0;
      const writer = new PackWriter(count, BUFFER_BYTES, (bytes) => {
        writeExactly(pack, bytes, at);
        at += bytes.length;
      });
      let start = 0;
      for (const [from, to] of [...this.#begun.spans, [this.#length, this.#length] as const]) {
        const first = start;
        writer.copy(from - first, (target, done) => readExactly(file, target, first + done));
        start = to;
      }
      writer.finish();
    } finally {
      closeSync(pack);
      this.discard();
    }
    return count;
  }

  /** Removes the file of entries. Safe any number of times. */
  discard(): void {
    if (this.#file === undefined) return;
    closeSync(this.#file);
    this.#file = undefined;
    rmSync(this.#entriesPath, { force: true });
  }

  /** Offset where the next entry begins. */
  get #end(): number {
    return this.#length + this.#filled;
  }

  #isBegun(start: number, objects: number): void {
    const { spans } = this.#begun;
    this.#begun.objects += objects;
    const last = spans.at(-1);
    if (last !== undefined && last[1] === start) last[1] = this.#end;
    else spans.push([start, this.#end]);
  }

  get #entriesPath(): string {
    return `${this.#path}.entries`;
  }

  #entry(type: number, data: Uint8Array, distance?: number): void {
    this.#header(type, data.length, distance);
    this.#append(deflateSync(data, { level: LIMITS.deflateLevel }));
  }

  /** `distance`: back to a delta's base. */
  #header(type: number, size: number, distance?: number): void {
    const header = new Uint8Array(ENTRY_HEADER_BYTES_MAX);
    const end = writeTypeAndSize(header, 0, type, size);
    this.#append(
      header.subarray(0, distance === undefined ? end : writeBaseDistance(header, end, distance)),
    );
  }

  #append(bytes: Uint8Array): void {
    if (bytes.length > this.#buffer.length - this.#filled) this.#flush();
    if (bytes.length >= this.#buffer.length) this.#write(bytes);
    else {
      this.#buffer.set(bytes, this.#filled);
      this.#filled += bytes.length;
    }
  }

  #appendFile(path: string, start: number, end: number): void {
    const file = openSync(path, "r");
    try {
      const buffer = Buffer.allocUnsafe(BUFFER_BYTES);
      for (let at = start; at < end; ) {
        const piece = buffer.subarray(0, Math.min(buffer.length, end - at));
        readExactly(file, piece, at);
        this.#append(piece);
        at += piece.length;
      }
    } finally {
      closeSync(file);
    }
  }

  #flush(): void {
    this.#write(this.#buffer.subarray(0, this.#filled));
    this.#filled = 0;
  }

  #write(bytes: Uint8Array): void {
    this.#file ??= openSync(this.#entriesPath, "wx+");
    writeExactly(this.#file, bytes, this.#length);
    this.#length += bytes.length;
  }
}

/** Trees written, by number. */
class TreeVersions {
  readonly #numbers = new Map<Oid, number>();
  readonly #trees: { readonly oid: Oid; readonly start: number }[] = [];
  readonly #versions = { previous: [] as number[], place: [] as number[], depth: [] as number[] };

  /** Adds a tree whose entry will start at `start`; its base, if it is to be a delta. */
  add(
    oid: Oid,
    start: number,
    previousOid: Oid | undefined,
  ): { readonly oid: Oid; readonly start: number } | undefined {
    const number = this.#trees.length;
    const { previous, place, depth } = this.#versions;
    const before = (previousOid === undefined ? undefined : this.#numbers.get(previousOid)) ?? -1;
    this.#numbers.set(oid, number);
    this.#trees.push({ oid, start });
    previous.push(before);
    place.push(before < 0 ? 0 : (place[before] as number) + 1);
    depth.push(0);
    const base = baseOf(this.#versions, number);
    if (base >= 0) depth[number] = (depth[base] as number) + 1;
    return this.#trees[base];
  }

  /** The tree added last was written whole after all. */
  isWhole(): void {
    this.#versions.depth[this.#trees.length - 1] = 0;
  }
}

interface Begun {
  objects: number;
  /** In the file of entries: from where to where. */
  readonly spans: [start: number, end: number][];
}

function readExactly(file: number, target: Uint8Array, position: number): void {
  for (let filled = 0; filled < target.length; ) {
    const bytes = readSync(file, target, filled, target.length - filled, position + filled);
    if (bytes === 0)
      throw new Fault("base/internal", { reason: "the file of entries became shorter" });
    filled += bytes;
  }
}
