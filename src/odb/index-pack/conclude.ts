/**
 * The end of an ingest, in a pool thread: completes a thin pack, writes idx and rev, and says what
 * the links of the new objects need. Nothing is synced here: a thread would wait for the disk three
 * times, one after the other.
 */
import { createHash } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { deflateSync } from "node:zlib";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { OBJECT_TYPE, type ObjectType, type Oid, oidAt, oidBytes } from "../../git/oid.js";
import { ENTRY_HEADER_BYTES_MAX, writeTypeAndSize } from "../../git/pack-writer.js";
import type { Kernels } from "../../kernels/kernels.js";
import { TaskWatch } from "../../pool/control.js";
import type { ConcludeRequest, ConcludeResult, TrailerRequest, TrailerResult } from "./tasks.js";
import { isBase, readExactly, type TaskParts } from "./scan.js";
import { Session } from "./session.js";
import { ObjectReader, threadReaderCaches } from "../packs/reader.js";
import { LINK } from "../../kernels/abi.js";
import { OutwardLinks, type WrongLink, wrongTypes } from "./outward-links.js";
import { checkSpecials } from "./checkout-files.js";
import { writeExactly } from "./write-exactly.js";

const CHUNK_BYTES = 1024 * 1024;
const CHECKSUM_BYTES = 20;
/** Tips beyond this are not listed: whoever wants them walks. */
const TIPS_MAX = 10_000;
/** Large bases are deflated at zlib's quickest: ten times as fast, and a push waits for it. */
const QUICK_BYTES_MIN = 1024 * 1024;
const QUICK_LEVEL = 1;
/** Readable bytes behind an object that is walked: kernels look ahead. */
const ROOM_SLACK_BYTES = 64;

/** Compares the pack's last 20 bytes with what they should be. Throws "pack/bad-trailer". */
export async function trailer(request: TrailerRequest): Promise<TrailerResult> {
  const file = openSync(request.path, "r");
  try {
    const hashed = await hashFile(file, 0, request.bytes, new TaskWatch(request.control));
    const checksum = hashed.toString("hex");
    const stored = Buffer.alloc(CHECKSUM_BYTES);
    readExactly(file, stored, request.bytes);
    if (stored.toString("hex") !== checksum)
      throw new Fault("pack/bad-trailer", { stored: stored.toString("hex"), computed: checksum });
    return { checksum, calls: Math.ceil(request.bytes / CHUNK_BYTES) + 2 };
  } finally {
    closeSync(file);
  }
}

async function hashFile(
  file: number,
  start: number,
  end: number,
  watch: TaskWatch,
): Promise<Buffer> {
  const hash = createHash("sha1");
  const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, Math.max(end - start, 1)));
  for (let at = start; at < end; ) {
    watch.check();
    if (watch.shouldYield()) await watch.turn();
    const length = Math.min(chunk.length, end - at);
    readExactly(file, chunk.subarray(0, length), at);
    hash.update(chunk.subarray(0, length));
    at += length;
  }
  return hash.digest();
}

export function conclude(request: ConcludeRequest, parts: TaskParts): Promise<ConcludeResult> {
  return new Conclusion(request, parts).run();
}

class Conclusion {
  readonly #request: ConcludeRequest;
  readonly #session: Session;
  readonly #watch: TaskWatch;
  readonly #calls: Kernels;
  #readerMade: ObjectReader | undefined;
  #checksum: string;
  #bytes: number;
  #appended = 0;
  #room = { at: 0, bytes: 0 };

  constructor(request: ConcludeRequest, { module, kernels }: TaskParts) {
    this.#request = request;
    this.#session = new Session(module, request.memory, { rules: request.rules });
    this.#watch = new TaskWatch(request.control);
    this.#calls = kernels;
    this.#checksum = request.checksum;
    this.#bytes = this.#session.kernels.packEnd() + CHECKSUM_BYTES;
  }

  /** Reads the packs that were here before. */
  get #reader(): ObjectReader {
    this.#readerMade ??= new ObjectReader(this.#request.packs, this.#calls, threadReaderCaches());
    return this.#readerMade;
  }

  async run(): Promise<ConcludeResult> {
    const { kernels } = this.#session;
    const deltas = kernels.deltaCount();
    if (kernels.resolvedCount() !== deltas) throw this.#missingBase();
    this.#session.check(kernels.sortRecords());
    if (this.#request.externals > 0) await this.#complete();
    this.#writeTables();
    const links = await this.#followLinks();
    return {
      checksum: this.#checksum,
      bytes: this.#bytes,
      objectCount: kernels.recordCount(),
      deltaCount: deltas,
      appendedCount: this.#appended,
      ...links,
      types: this.#types(),
      marks: this.#session.marks,
      counters: this.#counters(),
    };
  }

  /** The first delta that nothing could be made of. */
  #missingBase(): Fault {
    const { kernels } = this.#session;
    for (let index = 0, count = kernels.recordCount(); index < count; index++) {
      const record = this.#session.record(index);
      if (record.known || !record.isRefDelta || isBase(record.base)) continue;
      return new Fault("pack/base-missing", { base: record.id, offset: record.offset });
    }
    return new Fault("pack/base-missing");
  }

  // Thin packs ------------------------------------------------------------------------------------
  /**
   * Appends the bases that came from elsewhere, as `git index-pack --fix-thin` does; count and
   * checksum follow.
   */
  async #complete(): Promise<void> {
    const { kernels } = this.#session;
    const file = openSync(this.#request.path, "r+");
    try {
      let end = kernels.packEnd();
      const first = kernels.recordCount();
      for (let external = 0; external < this.#request.externals; external++) {
        this.#watch.check();
        if (this.#watch.shouldYield()) await this.#watch.turn();
        const { id } = this.#session.record(first + external);
        // A delta of this very pack may have made it meanwhile: then it needs no second copy.
        if (kernels.findRecord(this.#session.record(first + external).idAt) >= 0) continue;
        end += this.#append(file, end, id, first + this.#appended);
        this.#appended++;
      }
      if (this.#appended > 0) await this.#finishFile(file, end, first + this.#appended);
    } finally {
      closeSync(file);
    }
  }

  /**
   * Writes one object whole at `offset` and makes `index` its record; answers the entry's bytes.
   */
  #append(file: number, offset: number, id: Oid, index: number): number {
    const number = this.#reader.space.need(id);
    const [type, size] = [this.#reader.type(number), this.#reader.size(number)];
    const head = new Uint8Array(ENTRY_HEADER_BYTES_MAX);
    const header = head.subarray(0, writeTypeAndSize(head, 0, OBJECT_TYPE[type], size));
    const entry = Buffer.concat([header, this.#deflated(number)]);
    writeExactly(file, entry, offset);
    if (type !== "blob") this.#walk(type, this.#reader.read(number).data);
    this.#session.kernels.makeRecord(index);
    const record = this.#session.record(index);
    record.offset = offset;
    record.type = OBJECT_TYPE[type];
    record.headerBytes = header.length;
    record.crc = this.#calls.crc32(entry, 0);
    record.setId(oidBytes(id));
    return entry.length;
  }

  /** A stored object's zlib stream: as it lies, where it lies whole. */
  #deflated(number: number): Uint8Array {
    const stored = this.#reader.storedWhole(number);
    if (stored !== undefined) return stored;
    const { data } = this.#reader.read(number);
    this.#session.kernels.addCalls(0, 1);
    return deflateSync(data, {
      level: data.length < QUICK_BYTES_MIN ? LIMITS.deflateLevel : QUICK_LEVEL,
    });
  }

  /** Counts the links of an appended base among the pack's needs: it is one of its objects now. */
  #walk(type: ObjectType, data: Uint8Array): void {
    const { kernels } = this.#session;
    if (data.length + ROOM_SLACK_BYTES > this.#room.bytes) {
      const bytes = 2 * data.length + ROOM_SLACK_BYTES;
      this.#room = { at: this.#session.reserve(bytes), bytes };
    }
    this.#session.view(this.#room.at, data.length).set(data);
    kernels.useFirstLinkSet();
    kernels.walkObject(OBJECT_TYPE[type], this.#room.at, data.length);
    this.#session.checkLinks();
  }

  /** The new count into the header, the new checksum behind the last entry. */
  async #finishFile(file: number, end: number, count: number): Promise<void> {
    const { kernels } = this.#session;
    const words = Buffer.alloc(4);
    words.writeUInt32BE(count);
    writeExactly(file, words, 8);
    const checksum = await hashFile(file, 0, end, this.#watch);
    kernels.addCalls(Math.ceil(end / CHUNK_BYTES) + 2, 0);
    writeExactly(file, checksum, end);
    this.#checksum = checksum.toString("hex");
    this.#bytes = end + CHECKSUM_BYTES;
    kernels.setRecordCount(count);
    this.#session.check(kernels.sortRecords());
  }

  // Files -----------------------------------------------------------------------------------------
  #writeTables(): void {
    const { kernels } = this.#session;
    const { idxPath, revPath } = this.#request;
    const checksum = Buffer.from(this.#checksum, "hex");
    this.#writeTable(idxPath, kernels.writeIdx(), checksum);
    this.#writeTable(revPath, kernels.writeRev(), checksum);
  }

  /** A table, the pack's checksum, the file's own. */
  #writeTable(path: string, start: number, packChecksum: Buffer): void {
    if (start === 0) throw new Fault("pack/too-large");
    const size = this.#session.kernels.tableBytesEnd() - start;
    this.#session.view(start + size, CHECKSUM_BYTES).set(packChecksum);
    const table = this.#session.view(start, size + CHECKSUM_BYTES);
    this.#session.kernels.addCalls(3, 0);
    const own = createHash("sha1").update(table).digest();
    const file = openSync(path, "w", 0o644);
    try {
      writeExactly(file, table, 0);
      writeExactly(file, own, table.length);
    } finally {
      closeSync(file);
    }
  }

  // Links -----------------------------------------------------------------------------------------
  async #followLinks(): Promise<
    Pick<ConcludeResult, "closed" | "selfContained" | "tips" | "openLinks">
  > {
    const { kernels } = this.#session;
    const { stored, fsck } = this.#request;
    this.#session.check(kernels.sweepLinks());
    const outward = new OutwardLinks(this.#request, () => this.#reader, this.#watch);
    const links = this.#session.view(
      kernels.openLinks(),
      kernels.openLinkCount() * LINK.ENTRY_BYTES,
    );
    const { open, wrong = this.#wrongInside() } = await outward.follow(links);
    if (wrong !== undefined && !stored) throw new Fault("pack/link-type", { ...wrong });
    const own = { checksum: this.#checksum, bytes: this.#bytes };
    if (fsck)
      await checkSpecials(this.#session, this.#request, own, {
        kernels: this.#calls,
        stored: () => this.#reader,
      });
    const isSound = kernels.unwalkedCount() === 0 && wrong === undefined;
    return {
      closed: isSound && open.length === 0,
      selfContained: isSound && kernels.openLinkCount() === 0,
      tips: this.#tips(),
      openLinks: open,
    };
  }

  /** The first link inside the pack to an object of another type. */
  #wrongInside(): WrongLink | undefined {
    const { kernels } = this.#session;
    const conflict = kernels.linkConflict();
    if (conflict === 0) return undefined;
    const { id: object, type } = this.#session.record(conflict - 1);
    const wrong = wrongTypes(kernels.linkExpected(), type);
    return wrong && { object, ...wrong };
  }

  #types(): SharedArrayBuffer {
    const { kernels } = this.#session;
    const count = kernels.recordCount();
    const types = new SharedArrayBuffer(count);
    const room = this.#session.reserve(count);
    kernels.writeTypes(room);
    new Uint8Array(types).set(this.#session.view(room, count));
    return types;
  }

  #tips(): Oid[] | undefined {
    const { kernels } = this.#session;
    const room = this.#session.reserve(TIPS_MAX * 20);
    const count = kernels.writeTips(room, TIPS_MAX);
    if (count > TIPS_MAX) return undefined;
    const bytes = this.#session.view(room, count * 20);
    return Array.from({ length: count }, (_, tip) => oidAt(bytes, tip * 20));
  }

  /** Returns counts of the work done, for metrics, tests and the bench. */
  #counters(): Record<string, number> {
    const { kernels, memory } = this.#session;
    return {
      reinflated: kernels.reinflatedCount(),
      laneBatches: kernels.shaCalls(),
      keptBytes: kernels.keptBytes(),
      memoryBytes: memory.buffer.byteLength,
      nodeCryptoCalls: kernels.cryptoCalls(),
      nodeZlibCalls: kernels.zlibCalls(),
    };
  }
}
