/**
 * Proof in a link that this server made it: HMACs over what the link allows. It stands in the query, not in a header, because hub clients ignore the
 * headers of an action. A node that does not know the key answers 403, at which git-lfs asks for a new link.
 *
 *   proof=<seconds since 1970, when it ends>-<HMAC, 128 bits>-<SHA-256 HMAC>
 *
 * The first says that the link was made for the name in its address, and is checked before that name is looked up: a stranger's link learns nothing
 * and costs nothing. The second binds it to the repository the name led to.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { Fault } from "../base/fault.js";
import type { LfsObject } from "./store.js";

export type LinkPurpose = "download" | "upload" | "verify";

/** What an address says before its repository is looked up. */
export interface LinkAddress extends LfsObject {
  readonly purpose: LinkPurpose;
  /** The repository's name as it was asked for: its title. */
  readonly asked: string;
}

export interface LinkGrant extends LinkAddress {
  /** The repository's id. */
  readonly repository: string;
}

const PROOF = /^([1-9][0-9]{0,11})-([0-9a-f]{32})-([0-9a-f]{64})$/;
const ADDRESS_BYTES = 16;

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
    return `${ends}-${this.#signAddress(grant, ends).toString("hex")}-${this.#sign(grant, ends).toString("hex")}`;
  }

  /** Whether such a link was ever made, and is still good. Throws "lfs/proof". */
  checkAddress(proof: string | null, address: LinkAddress): void {
    const { ends, forAddress } = readProof(proof);
    if (!timingSafeEqual(this.#signAddress(address, ends), forAddress) || ends * 1_000 < this.#now()) throw new Fault("lfs/proof");
  }

  /** Throws "lfs/proof". */
  check(proof: string | null, grant: LinkGrant): void {
    this.checkAddress(proof, grant);
    const { ends, forGrant } = readProof(proof);
    if (!timingSafeEqual(this.#sign(grant, ends), forGrant)) throw new Fault("lfs/proof");
  }

  #signAddress({ purpose, asked, oid, size }: LinkAddress, ends: number): Buffer {
    return this.#hmac(["address", purpose, asked, oid, size, ends]).subarray(0, ADDRESS_BYTES);
  }

  #sign({ purpose, asked, repository, oid, size }: LinkGrant, ends: number): Buffer {
    return this.#hmac(["grant", purpose, asked, repository, oid, size, ends]);
  }

  #hmac(words: readonly (string | number)[]): Buffer {
    return createHmac("sha256", this.#key).update(JSON.stringify(words)).digest();
  }
}

function readProof(proof: string | null): { readonly ends: number; readonly forAddress: Buffer; readonly forGrant: Buffer } {
  const [, ends, forAddress, forGrant] = PROOF.exec(proof ?? "") ?? [];
  if (ends === undefined || forAddress === undefined || forGrant === undefined) throw new Fault("lfs/proof");
  return { ends: Number(ends), forAddress: Buffer.from(forAddress, "hex"), forGrant: Buffer.from(forGrant, "hex") };
}
