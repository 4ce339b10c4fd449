/**
 * Seals: a server that has hashed a content, or read a whole commit, says so to every server with
 * the key, which then need not do it again. A seal is worth the work it saves and nothing else:
 * what it vouches for is found out without it, too, and no object id depends on a key.
 *
 *   "1 " <key id: 16 hex digits> " " <HMAC-SHA-256: 64 hex digits>
 *
 * The MAC is over a JSON array, whose first item says what kind of statement it is. Names of
 * repositories are no part of it: names return. Addresses are whole, and the storage namespace,
 * which lakeFS never gives out twice, stands for the repository.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { Oid } from "../../git/oid.js";

/** The form of one content in Git. */
export interface ContentStatement {
  /** `plain`: the blob is the content; `pointer`: its Git LFS pointer. */
  readonly kind: "plain" | "pointer";
  readonly blob: Oid;
  readonly sha256: string;
  readonly size: number;
  /** lakeFS's. */
  readonly checksum: string;
  /** As `fullAddress` spells it. */
  readonly address: string;
}

/**
 * The form of a whole listing in Git. A metarange's id is a hash over all of its entries, their
 * addresses among them.
 */
export interface ListingStatement {
  readonly namespace: string;
  readonly metarange: string;
  /** The mapping's text: other rules give another tree. */
  readonly mapping: string;
  /** The tree of the listing, before any managed block. */
  readonly tree: Oid;
}

/** A landing's merge: where the branch was, and where it is to go. */
export interface LandingStatement {
  readonly namespace: string;
  readonly base: string;
  readonly tip: string;
  readonly step: number;
}

/**
 * Raised whenever the reading rules change what a listing becomes: seals from before then count as
 * none.
 */
const RULES_VERSION = 1;
const SEAL = /^1 ([0-9a-f]{16}) ([0-9a-f]{64})$/;
const KEY_ID_DIGITS = 16;

export class SealKeys {
  readonly #keys: readonly { readonly id: string; readonly key: Uint8Array }[];

  /** The first signs, all verify; none: nothing is signed or believed. */
  constructor(keys: readonly Uint8Array[]) {
    this.#keys = keys.map((key) => ({
      id: createHash("sha256")
        .update("lakepack seal key\n")
        .update(key)
        .digest("hex")
        .slice(0, KEY_ID_DIGITS),
      key,
    }));
  }

  /** Undefined where there is no key. */
  sealContent(statement: ContentStatement): string | undefined {
    return this.#sign(contentText(statement));
  }

  isContentSealed(seal: string | undefined, statement: ContentStatement): boolean {
    return this.#isSigned(seal, () => contentText(statement));
  }

  sealListing(statement: ListingStatement): string | undefined {
    return this.#sign(listingText(statement));
  }

  isListingSealed(seal: string | undefined, statement: ListingStatement): boolean {
    return this.#isSigned(seal, () => listingText(statement));
  }

  sealLanding(statement: LandingStatement): string | undefined {
    return this.#sign(landingText(statement));
  }

  isLandingSealed(seal: string | undefined, statement: LandingStatement): boolean {
    return this.#isSigned(seal, () => landingText(statement));
  }

  #sign(text: string): string | undefined {
    const [first] = this.#keys;
    return first && `1 ${first.id} ${macOf(first.key, text).toString("hex")}`;
  }

  #isSigned(seal: string | undefined, textOf: () => string): boolean {
    const [, id, mac] = SEAL.exec(seal ?? "") ?? [];
    if (id === undefined || mac === undefined) return false;
    const found = this.#keys.find((one) => one.id === id);
    return (
      found !== undefined && timingSafeEqual(macOf(found.key, textOf()), Buffer.from(mac, "hex"))
    );
  }
}

function macOf(key: Uint8Array, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

function contentText({ kind, blob, sha256, size, checksum, address }: ContentStatement): string {
  return JSON.stringify(["content", kind, blob, sha256, size, checksum, address]);
}

function listingText({ namespace, metarange, mapping, tree }: ListingStatement): string {
  return JSON.stringify(["listing", RULES_VERSION, namespace, metarange, mapping, tree]);
}

function landingText({ namespace, base, tip, step }: LandingStatement): string {
  return JSON.stringify(["landing", namespace, base, tip, step]);
}
