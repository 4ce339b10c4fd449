/**
 * Writes the pack of one plan into a file, in order, in one pool thread; others may help with what
 * must be deflated.
 *
 * Stored bytes are copied where they lie: entries that are neighbours in a stored pack and need no
 * new header go as one range.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { deflateSync } from "node:zlib";
import { LIMITS } from "../../base/limits.js";
import { OBJECT_TYPE } from "../../git/oid.js";
import { type PackPlan, PLACE } from "../../git/pack-plan.js";
import { PackWriter } from "../../git/pack-writer.js";
import { treeDelta } from "../../git/tree-delta.js";
import type { TaskWatch } from "../../pool/control.js";
import { SharedDeflate, deflateEntry } from "./shared-deflate.js";
import type { DeflatedObject } from "./deflate-batch.js";
import type { ObjectReader } from "../packs/reader.js";
import { EntryHeader, type PackFile } from "../packs/entries.js";

export interface GenerationOptions {
  /** File to write, which must not exist. */
  readonly path: string;
  /** The client reads ofs-deltas. */
  readonly ofsDelta: boolean;
  readonly watch: TaskWatch;
  /** Bytes of the file that are final: readers may follow up to here. */
  readonly onWritten: (bytes: number, rows: number) => void;
  /** There is work worth sharing. */
  readonly onBoard: (board: SharedDeflate) => void;
}

export interface GeneratedPack {
  readonly checksum: string;
  readonly bytes: number;
}

/** Not fsynced: a cache. Throws what reading and writing throw; the file is then incomplete. */
export async function generatePack(
  reader: ObjectReader,
  plan: PackPlan,
  options: GenerationOptions,
): Promise<GeneratedPack> {
  const file = openSync(options.path, "wx");
  try {
    let bytes = 0;
    let rows = 0;
    const writer = new PackWriter(plan.count, LIMITS.streamChunkBytes, (piece) => {
      options.watch.check();
      for (let done = 0; done < piece.length; )
        done += writeSync(file, piece, done, piece.length - done, bytes + done);
      bytes += piece.length;
      options.onWritten(bytes, rows);
    });
    const generation = new Generation(reader, plan, writer, options);
    try {
      for (const row of plan.rows()) {
        if (options.watch.shouldYield()) await options.watch.turn();
        generation.writeRow(row);
        rows++;
      }
      generation.finish();
    } finally {
      generation.close();
    }
    const checksum = writer.finish();
    return { checksum, bytes };
  } finally {
    closeSync(file);
  }
}

class Generation {
  readonly #reader: ObjectReader;
  readonly #plan: PackPlan;
  readonly #writer: PackWriter;
  readonly #options: GenerationOptions;
  readonly #header = new EntryHeader();
  /** Offsets of each row's entry in the new pack; 0: it is still to come. */
  readonly #placed: Float64Array;
  readonly #wholes: Iterator<DeflatedObject>;
  readonly #board: SharedDeflate | undefined;
  /** Stored bytes waiting to be copied as one range. */
  #runPack = -1;
  #runStart = 0;
  #runEnd = 0;

  constructor(
    reader: ObjectReader,
    plan: PackPlan,
    writer: PackWriter,
    options: GenerationOptions,
  ) {
    this.#reader = reader;
    this.#plan = plan;
    this.#writer = writer;
    this.#options = options;
    this.#placed = new Float64Array(plan.count);
    const rows = plan.wholes();
    this.#board = rows.length > LIMITS.deflateBatchObjects ? this.#openBoard(rows) : undefined;
    this.#wholes = this.#board === undefined ? this.#deflated(rows) : this.#taken(this.#board);
  }

  writeRow(row: number): void {
    this.#options.watch.step();
    const plan = this.#plan;
    this.#placed[row] = this.#writer.offset + this.#runEnd - this.#runStart;
    const place = plan.place[row] as number;
    if (place === PLACE.whole) this.#writeWhole();
    else if (place === PLACE.reuse) this.#extendRun(row);
    else if (place === PLACE.made) this.#writeMade(row);
    else this.#writeDelta(row);
  }

  finish(): void {
    this.#flushRun();
  }

  close(): void {
    this.#wholes.return?.(); // nobody asks for more, and a batch that another thread has made is an open file
    this.#board?.close();
  }

  #pack(row: number): PackFile {
    return this.#reader.space.packs[this.#plan.pack[row] as number] as PackFile;
  }

  #writeDelta(row: number): void {
    const plan = this.#plan;
    const header = this.#header;
    const pack = this.#pack(row);
    pack.readHeader(plan.start[row] as number, header);
    const base = plan.base[row] as number;
    const isNear = header.type === OBJECT_TYPE.ofsDelta;
    const distance = this.#distance(row, base);
    // A stored header stays true where it names the base's id, or where nothing between base and
    // delta has changed its length.
    if (
      isNear
        ? distance === header.offset - header.baseOffset && this.#isSamePack(row, base)
        : distance === 0
    ) {
      this.#extendRun(row);
      return;
    }
    this.#flushRun();
    this.#writer.header(0, header.size, distance > 0 ? distance : this.#baseOid(pack));
    this.#copy(pack, header.dataAt, plan.end[row] as number);
  }

  /**
   * Returns how far `row` stands behind its base; 0: the base comes later, or is not in this pack,
   * or the client does not read distances.
   */
  #distance(row: number, base: number): number {
    const there = base < 0 || !this.#options.ofsDelta ? 0 : (this.#placed[base] as number);
    return there === 0 ? 0 : (this.#placed[row] as number) - there;
  }

  /** A delta between two stored trees. */
  #writeMade(row: number): void {
    const plan = this.#plan;
    const base = plan.base[row] as number;
    const delta = treeDelta(this.#read(base), this.#read(row));
    this.#options.watch.check();
    if (delta === undefined) {
      this.#extendRun(row);
      return;
    }
    const distance = this.#distance(row, base);
    const { lookup } = this.#pack(base);
    this.#flushRun();
    this.#writer.header(
      0,
      delta.length,
      distance > 0 ? distance : lookup.oidView(lookup.positionOf(plan.start[base] as number)),
    );
    this.#writer.bytes(deflateSync(delta, { level: LIMITS.deflateLevel }));
  }

  #read(row: number): Uint8Array {
    return this.#reader.readEntry(this.#pack(row), this.#plan.start[row] as number).data;
  }

  #isSamePack(row: number, base: number): boolean {
    return this.#plan.pack[row] === this.#plan.pack[base];
  }

  /** Id of the base of the entry in `#header`. */
  #baseOid(pack: PackFile): Uint8Array {
    const header = this.#header;
    return header.type === OBJECT_TYPE.refDelta
      ? header.baseOid
      : pack.lookup.oidView(pack.lookup.positionOf(header.baseOffset));
  }

  #writeWhole(): void {
    this.#flushRun();
    const { type, size, compressed } = this.#wholes.next().value as DeflatedObject;
    this.#writer.header(OBJECT_TYPE[type], size);
    this.#writer.bytes(compressed);
  }

  #extendRun(row: number): void {
    const plan = this.#plan;
    const start = plan.start[row] as number;
    if (plan.pack[row] !== this.#runPack || start !== this.#runEnd) {
      this.#flushRun();
      this.#runPack = plan.pack[row] as number;
      this.#runStart = start;
    }
    this.#runEnd = plan.end[row] as number;
    if (this.#runEnd - this.#runStart >= LIMITS.streamChunkBytes) this.#flushRun();
  }

  #flushRun(): void {
    if (this.#runEnd > this.#runStart)
      this.#copy(this.#reader.space.packs[this.#runPack] as PackFile, this.#runStart, this.#runEnd);
    this.#runStart = this.#runEnd;
  }

  #copy(pack: PackFile, start: number, end: number): void {
    this.#writer.copy(end - start, (target, done) => pack.copyInto(start + done, target));
  }

  /** Many rows to be made whole: others may help. */
  #openBoard(rows: Uint32Array): SharedDeflate {
    const board = SharedDeflate.create(rows.length, this.#options.path);
    rows.forEach((row, at) => {
      board.set(at, this.#plan.pack[row] as number, this.#plan.start[row] as number);
    });
    this.#options.onBoard(board);
    return board;
  }

  *#taken(board: SharedDeflate): Generator<DeflatedObject> {
    for (let batch = 0; batch < board.batches; batch++)
      yield* board.take(this.#reader, batch, this.#options.watch);
  }

  *#deflated(rows: Uint32Array): Generator<DeflatedObject> {
    for (const row of rows)
      yield deflateEntry(
        this.#reader,
        this.#plan.pack[row] as number,
        this.#plan.start[row] as number,
      );
  }
}
