/**
 * Deltas that are too large for the arenas of pass 2, and families whose root is: one after the
 * other, base, delta and result in memory or temporary files whatever their size. Rare (Git makes
 * no deltas above core.bigFileThreshold), so this is plain TypeScript; what it must be is bounded.
 */
import { createReadStream } from "node:fs";
import { createInflate } from "node:zlib";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { OBJECT_TYPE, type ObjectType, typeName } from "../../git/oid.js";
import type { Kernels } from "../../kernels/kernels.js";
import { TaskWatch } from "../../pool/control.js";
import type { IngestMarks, ResolveRequest } from "./tasks.js";
import { isBase, type TaskParts } from "./scan.js";
import { type EntryRecord, Session } from "./session.js";
import { Content, ContentWriter, MEMORY_BYTES_MAX } from "./object-content.js";
import { ObjectReader, threadReaderCaches } from "../packs/reader.js";

/** Bytes copied from a base at once. */
const COPY_BYTES = 1024 * 1024;
/** Bytes of a delta looked at at once. */
const DELTA_WINDOW_BYTES = 64 * 1024;
/** Above this, bases that wait for their other deltas go to files however small they are. */
const HELD_IN_MEMORY_BYTES = 64 * 1024 * 1024;
/** An instruction copies up to 16 MiB: some milliseconds. */
const INSTRUCTIONS_PER_LOOK = 8;
/** The longest instruction: an insertion of 127 bytes. */
const INSTRUCTION_BYTES = 128;

export async function large(
  request: ResolveRequest,
  { module, kernels }: TaskParts,
): Promise<IngestMarks> {
  const session = new Session(module, request.memory, { rules: request.rules });
  session.kernels.useFirstLinkSet();
  await new LargeObjects(session, request, kernels).run();
  return session.marks;
}

/** An object whose deltas are still to be made. */
interface Made {
  readonly node: number;
  readonly type: ObjectType;
  readonly content: Content;
  readonly children: number[];
  readonly depth: number;
}

class LargeObjects {
  readonly #session: Session;
  readonly #request: ResolveRequest;
  readonly #calls: Kernels;
  readonly #watch: TaskWatch;
  readonly #count: number;
  #room = { at: 0, bytes: 0 };
  /** Bytes of all contents on the stack but the root's. */
  #held = 0;

  constructor(session: Session, request: ResolveRequest, calls: Kernels) {
    this.#session = session;
    this.#request = request;
    this.#calls = calls;
    this.#watch = new TaskWatch(request.control);
    this.#count = session.kernels.recordCount();
  }

  /** Largest content that may stay in memory now. */
  get #memoryMax(): number {
    return this.#held < HELD_IN_MEMORY_BYTES ? MEMORY_BYTES_MAX : 0;
  }

  async run(): Promise<void> {
    const { kernels, memory } = this.#session;
    const list = new Uint32Array(memory.buffer, kernels.largeList(), kernels.largeCount()).slice();
    for (const node of list) {
      const record = this.#session.record(node);
      const isDelta = node < this.#count && record.isDelta;
      if (isDelta && record.known) continue;
      const base = await this.#rebuild(isDelta ? record.base : node);
      await this.#family(
        isDelta ? { ...base, children: [node] } : { ...base, children: this.#childrenOf(node) },
      );
    }
  }

  /** All that is made from `root`, depth first; an object is freed when its last child is begun. */
  async #family(root: Made): Promise<void> {
    const stack = [root];
    try {
      for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
        await this.#look();
        const child = top.children.pop();
        if (child === undefined) {
          stack.pop();
          top.content.close();
          if (top !== root) this.#held -= top.content.size;
          continue;
        }
        if (top.depth >= LIMITS.deltaChainLengthMax)
          throw new Fault("pack/chain-too-long", this.#session.facts(child));
        const made = await this.#make(top, child);
        if (made.children.length === 0) {
          made.content.close();
          continue;
        }
        stack.push(made);
        this.#held += made.content.size;
        if (this.#held > LIMITS.spillBytesMax)
          throw new Fault("pack/too-large", { temporaryBytes: this.#held });
      }
    } catch (error) {
      for (const { content } of stack) content.close();
      throw error;
    }
  }

  /** Object `node`, made from its base; its record is completed. */
  async #make(base: Made, node: number): Promise<Made> {
    const record = this.#session.record(node);
    const delta = await this.#inflate(node, record.size);
    let content: Content;
    let id: Uint8Array | undefined;
    try {
      ({ content, id } = await this.#apply(base.content, delta, base.type));
    } finally {
      delta.close();
    }
    this.#session.kernels.addCalls(2, 1);
    record.type = OBJECT_TYPE[base.type];
    record.setId(id as Uint8Array);
    this.#session.kernels.addResolved();
    await this.#check(node, record, content);
    return {
      node,
      type: base.type,
      content,
      children: this.#childrenOf(node),
      depth: base.depth + 1,
    };
  }

  async #look(): Promise<void> {
    this.#watch.check();
    if (this.#watch.shouldYield()) await this.#watch.turn();
  }

  /** Commits, trees and tags are checked and walked like all others. */
  async #check(node: number, record: EntryRecord, content: Content): Promise<void> {
    if (record.type === OBJECT_TYPE.blob) return;
    if (content.size > LIMITS.parsedObjectBytesMax)
      throw new Fault("pack/too-large", this.#session.facts(node));
    const { kernels } = this.#session;
    if (content.size + 128 > this.#room.bytes)
      this.#room = { at: this.#session.reserve(content.size + 128), bytes: content.size + 128 };
    this.#session.view(this.#room.at, content.size).set(content.read(0, content.size));
    if (!kernels.checkObject(node, record.type, this.#room.at, content.size))
      this.#session.check(0);
    this.#session.checkLinks();
    await this.#session.judgeDeferred(this.#watch);
  }

  /** Deltas on `node`: those known from the start, and ref-deltas that waited for its id. */
  #childrenOf(node: number): number[] {
    const { kernels, memory } = this.#session;
    const [first = 0, end = 0] = new Uint32Array(
      memory.buffer,
      kernels.childStarts() + 4 * node,
      2,
    );
    const children = [...new Uint32Array(memory.buffer, kernels.children(), end).subarray(first)];
    if (node < this.#count && this.#session.record(node).isDelta) {
      for (
        let next = kernels.takeWaiting(this.#session.record(node).idAt);
        next !== 0;
        next = kernels.siblingAt(next - 1)
      )
        children.push(next - 1);
    }
    return children;
  }

  /** The data of an object that is already known, from the root of its chain on. */
  async #rebuild(node: number): Promise<Made> {
    const chain: number[] = [];
    let root = node;
    while (root < this.#count && this.#session.record(root).isDelta) {
      chain.push(root);
      root = this.#session.record(root).base;
      if (!isBase(root) || chain.length > LIMITS.deltaChainLengthMax)
        throw new Fault("pack/chain-too-long", this.#session.facts(node));
    }
    const record = this.#session.record(root);
    const type = typeName(record.type) as ObjectType;
    let content =
      root < this.#count ? await this.#inflate(root, record.size) : this.#external(record);
    for (const link of chain.reverse()) {
      await this.#look();
      const delta = await this.#inflate(link, this.#session.record(link).size);
      const next = (await this.#apply(content, delta)).content;
      content.close();
      delta.close();
      content = next;
    }
    return { node, type, content, children: [], depth: chain.length };
  }

  /** gitformat-pack(5) "Deltified representation". Hashed where `type` is given. */
  async #apply(
    base: Content,
    delta: Content,
    type?: ObjectType,
  ): Promise<ReturnType<ContentWriter["end"]>> {
    const cursor = new DeltaCursor(delta);
    if (cursor.size() !== base.size) throw new Fault("pack/bad-delta", { base: base.size });
    const size = cursor.size();
    if (size > LIMITS.deltaResultBytesMax) throw new Fault("pack/too-large", { size });
    const writer = this.#writer(size, type);
    try {
      for (let step = 0; cursor.more; step++) {
        if (step % INSTRUCTIONS_PER_LOOK === 0) await this.#look();
        applyOne(cursor, base, writer);
      }
      return writer.end();
    } catch (error) {
      writer.abandon();
      throw error instanceof Fault && error.code === "pack/size-mismatch"
        ? new Fault("pack/bad-delta", error.facts)
        : error;
    }
  }

  #external({ id }: EntryRecord): Content {
    const { data } = new ObjectReader(
      this.#request.packs,
      this.#calls,
      threadReaderCaches(),
    ).readOid(id);
    return new Content(data.length, data);
  }

  #writer(size: number, type?: ObjectType): ContentWriter {
    return new ContentWriter(this.#request.folder, size, this.#memoryMax, type);
  }

  /** The entry's own bytes: an object or a delta. Pass 1 has seen that they inflate to `size`. */
  async #inflate(node: number, size: number): Promise<Content> {
    const record = this.#session.record(node);
    const { kernels } = this.#session;
    const end = node + 1 < this.#count ? this.#session.record(node + 1).offset : kernels.packEnd();
    const packed = createReadStream(this.#request.path, {
      start: record.offset + record.headerBytes,
      end: end - 1,
      highWaterMark: COPY_BYTES,
    });
    const writer = this.#writer(size);
    kernels.addCalls(0, 1);
    try {
      for await (const chunk of packed.pipe(createInflate({ chunkSize: DELTA_WINDOW_BYTES }))) {
        await this.#look();
        writer.write(chunk as Buffer);
      }
      return writer.end().content;
    } catch (error) {
      packed.destroy();
      writer.abandon();
      throw error instanceof Fault
        ? error
        : new Fault("pack/bad-zlib", this.#session.facts(node), error);
    }
  }
}

// Deltas on contents ------------------------------------------------------------------------------
/** Reads a delta through a window. */
class DeltaCursor {
  readonly #delta: Content;
  #window: Uint8Array = new Uint8Array(0);
  #start = 0;
  at = 0;

  constructor(delta: Content) {
    this.#delta = delta;
  }

  get more(): boolean {
    return this.at < this.#delta.size;
  }

  byte(): number {
    return this.take(1)[0] as number;
  }

  /** Throws "pack/bad-delta" where the delta ends before. */
  take(length: number): Uint8Array {
    if (length > this.#delta.size - this.at) throw new Fault("pack/bad-delta", { at: this.at });
    if (this.at + length > this.#start + this.#window.length) {
      this.#start = this.at;
      this.#window = this.#delta.read(
        this.at,
        Math.min(this.#delta.size - this.at, Math.max(DELTA_WINDOW_BYTES, INSTRUCTION_BYTES)),
      );
    }
    const from = this.at - this.#start;
    this.at += length;
    return this.#window.subarray(from, from + length);
  }

  /** 7 bits a byte, low bits first. */
  size(): number {
    let value = 0;
    for (let unit = 1; ; unit *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * unit;
      if (value > Number.MAX_SAFE_INTEGER) throw new Fault("pack/bad-varint", { at: this.at });
      if (byte < 0x80) return value;
    }
  }
}

/** Applies the instruction at the cursor. gitformat-pack(5) "Deltified representation". */
function applyOne(cursor: DeltaCursor, base: Content, writer: ContentWriter): void {
  const op = cursor.byte();
  if (op === 0) throw new Fault("pack/bad-delta", { at: cursor.at });
  if (op < 0x80) {
    writer.write(cursor.take(op));
    return;
  }
  let from = 0;
  let length = 0;
  for (let bit = 0; bit < 4; bit++) if (op & (1 << bit)) from += cursor.byte() * 2 ** (8 * bit);
  for (let bit = 0; bit < 3; bit++)
    if (op & (0x10 << bit)) length += cursor.byte() * 2 ** (8 * bit);
  if (length === 0) length = 0x10000;
  if (from + length > base.size) throw new Fault("pack/bad-delta", { at: cursor.at });
  for (let at = from; at < from + length; at += COPY_BYTES)
    writer.write(base.read(at, Math.min(COPY_BYTES, from + length - at)));
}
