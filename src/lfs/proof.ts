/**
 * Proof in a link that this server made it: HMACs over what the link allows. It stands in the
 * query, not in a header, because hub clients ignore the headers of an action. A node that does not
 * know the key answers 403, at which git-lfs asks for a new link.
 *
 *   proof=<seconds since 1970, when it ends>-<who got it>-<HMAC, 128 bits>-<SHA-256 HMAC>
 *
 * Who got it is a token's id, or a digit (LinkHolder): a link is worth what its holder may when it
 * is used. The first HMAC says that the link was made for the name in its address, and is checked
 * before that name is looked up: a stranger's link learns nothing and costs nothing. The second
 * binds it to the repository the name led to: to its id, so that the link is no good for another
 * one that gets the name.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { Fault } from "../base/fault.js";
import type { LfsObject } from "./store.js";

/** "bundle": of Git itself (serve/fetch/bundle-links.ts), its name in the place of an oid. */
export type LinkPurpose = "download" | "upload" | "verify" | "bundle";

/**
 * The holder of a link: the id of the token that was shown, or one of the two below, which no token
 * has. Hex.
 */
export type LinkHolder = string;
/** Nobody who signed in. */
export const ANONYMOUS_HOLDER: LinkHolder = "0";
/** Nobody was asked (`auth: none`). */
export const TRUSTED_HOLDER: LinkHolder = "1";

/** The claims of an address before its repository is looked up. */
export interface LinkAddress extends LfsObject {
  readonly purpose: LinkPurpose;
  /** The repository's name as it was asked for: its title. */
  readonly asked: string;
}

/** A link's holder, and when it ends. */
interface Given {
  readonly ends: number;
  readonly holder: LinkHolder;
}

export interface LinkGrant extends LinkAddress {
  /** The repository's id. */
  readonly repository: string;
}

const PROOF = /^([1-9][0-9]{0,11})-([0-9a-f]{1,64})-([0-9a-f]{32})-([0-9a-f]{64})$/;
const ADDRESS_BYTES = 16;

export class LinkProofs {
  readonly #key: Uint8Array;
  readonly #now: () => number;

  /** `key`: 32 random bytes, the same on all nodes that serve one another's links. */
  constructor(key: Uint8Array, now: () => number = Date.now) {
    this.#key = key;
    this.#now = now;
  }

  make(grant: LinkGrant, holder: LinkHolder, seconds: number): string {
    const given = { ends: Math.floor(this.#now() / 1_000) + seconds, holder };
    return `${given.ends}-${holder}-${this.#signAddress(grant, given).toString("hex")}-${this.#sign(grant, given).toString("hex")}`;
  }

  /**
   * Checks that such a link was made and is still good; returns whom it was given to. Throws
   * "lfs/proof".
   */
  checkAddress(proof: string | null, address: LinkAddress): LinkHolder {
    const { forAddress, ...given } = readProof(proof);
    if (
      !timingSafeEqual(this.#signAddress(address, given), forAddress) ||
      given.ends * 1_000 < this.#now()
    )
      throw new Fault("lfs/proof");
    return given.holder;
  }

  /** Throws "lfs/proof". */
  check(proof: string | null, grant: LinkGrant): void {
    this.checkAddress(proof, grant);
    const { forGrant, ...given } = readProof(proof);
    if (!timingSafeEqual(this.#sign(grant, given), forGrant)) throw new Fault("lfs/proof");
  }

  #signAddress({ purpose, asked, oid, size }: LinkAddress, { ends, holder }: Given): Buffer {
    return this.#hmac(["address", purpose, asked, oid, size, ends, holder]).subarray(
      0,
      ADDRESS_BYTES,
    );
  }

  #sign({ purpose, asked, repository, oid, size }: LinkGrant, { ends, holder }: Given): Buffer {
    return this.#hmac(["grant", purpose, asked, repository, oid, size, ends, holder]);
  }

  #hmac(words: readonly (string | number)[]): Buffer {
    return createHmac("sha256", this.#key).update(JSON.stringify(words)).digest();
  }
}

function readProof(
  proof: string | null,
): Given & { readonly forAddress: Buffer; readonly forGrant: Buffer } {
  const [, ends, holder, forAddress, forGrant] = PROOF.exec(proof ?? "") ?? [];
  if (
    ends === undefined ||
    holder === undefined ||
    forAddress === undefined ||
    forGrant === undefined
  )
    throw new Fault("lfs/proof");
  return {
    ends: Number(ends),
    holder,
    forAddress: Buffer.from(forAddress, "hex"),
    forGrant: Buffer.from(forGrant, "hex"),
  };
}
