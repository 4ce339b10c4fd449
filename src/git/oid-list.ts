/**
 * Object ids in the order they came, 20 bytes each: a client may name hundreds of thousands, and as
 * texts they would be five times that and as much again until the collector comes.
 */
import { OID_BYTES, type Oid } from "./oid.js";

/** Ids to be looked at one after the other: a list of these, or an array. */
export interface Oids extends Iterable<Oid> {
  readonly length: number;
}

const PLACES_AT_FIRST = 16;

export class OidList implements Oids {
  #bytes = Buffer.allocUnsafe(PLACES_AT_FIRST * OID_BYTES);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(oid: Oid): void {
    const end = this.#length * OID_BYTES;
    if (end === this.#bytes.length)
      this.#bytes = Buffer.concat([this.#bytes], this.#bytes.length * 2);
    this.#bytes.write(oid, end, OID_BYTES, "hex");
    this.#length++;
  }

  /** Makes a text of each id when its turn comes. */
  *[Symbol.iterator](): Generator<Oid> {
    for (let at = 0; at < this.#length; at++)
      yield this.#bytes.toString("hex", at * OID_BYTES, (at + 1) * OID_BYTES);
  }
}
