/**
 * Writes a tree as a delta on an older one, from what a merge walk over the two finds. A general
 * encoder would index the base by blocks, and find little: most of a tree is ids.
 *
 *   size of the base | size of the tree | instructions        sizes: 7 bits a byte, low bits first
 *   copy     1 oooo sss | offset bytes | size bytes           only those bytes that are not 0, low first
 *   insert   0 nnnnnnn  | n bytes
 *
 * Source: gitformat-pack(5) "Deltified representation". A list that is not sorted costs bytes,
 * never truth: only bytes that are equal are copied.
 */
import { TreeMerge } from "./tree-merge.js";

const COPY = 0x80;
const COPY_BYTES_MAX = 0xffffff;
/** First bit that says a copy's size. */
const COPY_SIZE_BIT = 0x10;
const INSERT_BYTES_MAX = 127;
/** An instruction to copy takes up to 8 bytes: below, the bytes themselves are as short. */
const COPY_BYTES_MIN = 8;

/**
 * Undefined where the delta would not be shorter than half of the tree: then the tree itself is the
 * better entry.
 */
export function treeDelta(base: Uint8Array, tree: Uint8Array): Uint8Array | undefined {
  const delta = new DeltaWriter(base, tree);
  const merge = new TreeMerge(base, tree);
  while (!delta.isTooLong && merge.next()) {
    const { step, from, to, bytes, head } = merge;
    if (step === "same") delta.copy(from, to, bytes);
    else if (step === "added") delta.insert(to, bytes);
    else if (step === "changed") {
      delta.copy(from, to, head);
      delta.insert(to + head, bytes - head);
    }
  }
  return delta.finish();
}

/** Instructions; neighbours become one. */
class DeltaWriter {
  readonly #tree: Uint8Array;
  readonly #out: Uint8Array;
  #length = 0;
  /** Waiting: bytes of the base to copy, then bytes of the tree to insert. */
  #copyFrom = 0;
  #copyBytes = 0;
  #insertFrom = 0;
  #insertBytes = 0;
  isTooLong = false;

  constructor(base: Uint8Array, tree: Uint8Array) {
    this.#tree = tree;
    this.#out = new Uint8Array(tree.length >>> 1);
    this.#size(base.length);
    this.#size(tree.length);
  }

  /** `bytes` bytes that stand at `from` of the base and at `to` of the tree. */
  copy(from: number, to: number, bytes: number): void {
    if (this.#insertBytes === 0 && this.#copyFrom + this.#copyBytes === from)
      this.#copyBytes += bytes;
    else if (this.#insertBytes > 0 && bytes < COPY_BYTES_MIN) this.insert(to, bytes);
    else {
      this.#flush();
      this.#copyFrom = from;
      this.#copyBytes = bytes;
    }
  }

  /** `bytes` bytes at `to` of the tree, which is written in order. */
  insert(to: number, bytes: number): void {
    if (this.#insertBytes === 0) this.#insertFrom = to;
    this.#insertBytes += bytes;
  }

  finish(): Uint8Array | undefined {
    this.#flush();
    return this.isTooLong ? undefined : this.#out.slice(0, this.#length);
  }

  #flush(): void {
    while (this.#copyBytes > 0 && !this.isTooLong) {
      const bytes = Math.min(this.#copyBytes, COPY_BYTES_MAX);
      this.#copy(this.#copyFrom, bytes);
      this.#copyFrom += bytes;
      this.#copyBytes -= bytes;
    }
    while (this.#insertBytes > 0 && !this.isTooLong) {
      const bytes = Math.min(this.#insertBytes, INSERT_BYTES_MAX);
      this.#put(bytes);
      if (this.#length + bytes > this.#out.length) this.isTooLong = true;
      else
        this.#out.set(
          this.#tree.subarray(this.#insertFrom, this.#insertFrom + bytes),
          this.#length,
        );
      this.#length += bytes;
      this.#insertFrom += bytes;
      this.#insertBytes -= bytes;
    }
  }

  #copy(from: number, bytes: number): void {
    const at = this.#length;
    let op = COPY;
    this.#put(op);
    for (let bit = 1, rest = from; rest > 0; bit <<= 1, rest = Math.floor(rest / 256)) {
      if (rest % 256 === 0) continue;
      op |= bit;
      this.#put(rest % 256);
    }
    for (let bit = COPY_SIZE_BIT, rest = bytes; rest > 0; bit <<= 1, rest >>>= 8) {
      if ((rest & 0xff) === 0) continue;
      op |= bit;
      this.#put(rest & 0xff);
    }
    if (at < this.#out.length) this.#out[at] = op;
  }

  #size(size: number): void {
    let rest = size;
    for (; rest > 0x7f; rest = Math.floor(rest / 128)) this.#put((rest % 128) | 0x80);
    this.#put(rest);
  }

  #put(byte: number): void {
    if (this.#length >= this.#out.length) this.isTooLong = true;
    else this.#out[this.#length] = byte;
    this.#length++;
  }
}
