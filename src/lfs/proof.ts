/**
 * Proof in a link that this server made it: an HMAC over what the link allows. It stands in the query, not in a header, because hub clients ignore the
 * headers of an action. A node that does not know the key answers 403, at which git-lfs asks for a new link.
 *
 *   proof=<seconds since 1970, when it ends>-<SHA-256 HMAC, hex>
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { Fault } from "../base/fault.js";
import type { LfsObject } from "./store.js";

export type LinkPurpose = "download" | "upload" | "verify";

export interface LinkGrant extends LfsObject {
  readonly purpose: LinkPurpose;
  /** The repository's id. */
  readonly repository: string;
}

const PROOF = /^([1-9][0-9]{0,11})-([0-9a-f]{64})$/;

export class LinkProofs {
  readonly #key: Uint8Array;
  readonly #now: () => number;

  /** `key`: 32 random bytes, the same on all nodes that serve one another's links. */
  constructor(key: Uint8Array, now: () => number = Date.now) {
    this.#key = key;
    this.#now = now;
  }

  make(grant: LinkGrant, seconds: number): string {
    const ends = Math.floor(this.#now() / 1_000) + seconds;
    return `${ends}-${this.#sign(grant, ends).toString("hex")}`;
  }

  /** Throws "lfs/proof". */
  check(proof: string | null, grant: LinkGrant): void {
    const match = PROOF.exec(proof ?? "");
    if (match === null) throw new Fault("lfs/proof");
    const ends = Number(match[1]);
    const isOurs = timingSafeEqual(this.#sign(grant, ends), Buffer.from(match[2] as string, "hex"));
    if (!isOurs || ends * 1_000 < this.#now()) throw new Fault("lfs/proof");
  }

  #sign({ purpose, repository, oid, size }: LinkGrant, ends: number): Buffer {
    return createHmac("sha256", this.#key).update(JSON.stringify([purpose, repository, oid, size, ends])).digest();
  }
}
