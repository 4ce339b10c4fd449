/**
 * A set of object ids in one array: at most 40 bytes an id (80 while it grows), where a Set of
 * strings takes 90 and twice that until the collector comes.
 *
 *   slots of 20 bytes, a power of two of them; all zero: free (no object has that id)
 *   an id's place: what its bytes make with this process's secret, or the next free slot behind
 *
 * Ids in trees are whatever their author wrote, so that ids of one place could be chosen if the
 * place followed from the id alone.
 */
import { randomBytes } from "node:crypto";
import { OID_BYTES, type Oid } from "./oid.js";

const SLOTS_AT_FIRST = 1_024;

/**
 * One factor a byte of an id. The sum of the products, modulo 2^32, of which the upper 25 bits are
 * taken: any two ids meet in one place as often as chance would have it, whoever chose them.
 * Source: Lemire and Kaser, "Strongly universal string hashing is fast", multilinear.
 */
const FACTORS = new Int32Array(new Uint8Array(randomBytes(4 * OID_BYTES)).buffer);
const LOWER_BITS = 7;

export class OidSet {
  #slots = Buffer.alloc(SLOTS_AT_FIRST * OID_BYTES);
  #size = 0;
  /** The id that is looked for. */
  readonly #wanted = Buffer.alloc(OID_BYTES);

  get size(): number {
    return this.#size;
  }

  has(oid: Oid): boolean {
    this.#wanted.write(oid, "hex");
    return !this.#isFree(this.#find());
  }

  add(oid: Oid): void {
    this.#wanted.write(oid, "hex");
    if (this.#put()) this.#size++;
    if (this.#size * OID_BYTES * 4 > this.#slots.length * 3) this.#grow();
  }

  /** All of them, sorted, 20 bytes each: shared, so that threads need no copy. */
  sorted(): SharedArrayBuffer {
    const slots = this.#slots;
    const taken: number[] = [];
    for (let at = 0; at < slots.length; at += OID_BYTES) if (!this.#isFree(at)) taken.push(at);
    taken.sort((left, right) =>
      slots.compare(slots, right, right + OID_BYTES, left, left + OID_BYTES),
    );
    const ids = Buffer.from(new SharedArrayBuffer(taken.length * OID_BYTES));
    taken.forEach((at, index) => void slots.copy(ids, index * OID_BYTES, at, at + OID_BYTES));
    return ids.buffer as SharedArrayBuffer;
  }

  /** Puts the id in its place; returns whether it was not there. */
  #put(): boolean {
    const at = this.#find();
    if (!this.#isFree(at)) return false;
    this.#wanted.copy(this.#slots, at);
    return true;
  }

  /** Returns the place where the wanted id is, or would be. */
  #find(): number {
    const { length } = this.#slots;
    const slots = length / OID_BYTES;
    let sum = 0;
    for (let byte = 0; byte < OID_BYTES; byte++)
      sum = (sum + Math.imul(this.#wanted[byte] as number, FACTORS[byte] as number)) | 0;
    let at = ((sum >>> LOWER_BITS) % slots) * OID_BYTES;
    while (
      !this.#isFree(at) &&
      this.#slots.compare(this.#wanted, 0, OID_BYTES, at, at + OID_BYTES) !== 0
    )
      at = (at + OID_BYTES) % length;
    return at;
  }

  #isFree(at: number): boolean {
    const slots = this.#slots;
    for (let word = at; word < at + OID_BYTES; word += 4)
      if (slots.readUInt32LE(word) !== 0) return false;
    return true;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = Buffer.alloc(old.length * 2);
    for (let at = 0; at < old.length; at += OID_BYTES) {
      old.copy(this.#wanted, 0, at, at + OID_BYTES);
      if (this.#wanted.some((byte) => byte !== 0)) this.#put();
    }
  }
}
