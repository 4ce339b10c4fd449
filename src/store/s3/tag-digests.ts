/**
 * Holds tags against contents. Storage may read an object and its tag one after the other, and
 * answer one content with the tag of another that has taken its place in between; who then replaces
 * "what has this tag" loses an update. Where tags are MD5 digests of contents, as they are unless
 * storage encrypts by keys of its own, such an answer is found out and asked for again.
 */
import { createHash } from "node:crypto";
import type { StoreTag } from "../store.js";

export class TagDigests {
  /** Undefined: nothing was written yet that would tell. */
  #areDigests: boolean | undefined;
  /** Answers that were held against their tags, and those that did not fit. */
  readonly figures = { checked: 0, wrong: 0 };

  /** Takes in the tag of bytes that were stored just now, which is theirs beyond doubt. */
  learn(tag: StoreTag, bytes: Uint8Array): void {
    const isDigest = tag === digestOf(bytes);
    // Storage that changes its mind is believed about neither.
    this.#areDigests = this.#areDigests === undefined ? isDigest : this.#areDigests && isDigest;
  }

  /** False: the tag is another content's. */
  fits(tag: StoreTag, bytes: Uint8Array): boolean {
    if (this.#areDigests !== true) return true;
    const fits = tag === digestOf(bytes);
    this.figures.checked++;
    if (!fits) this.figures.wrong++;
    return fits;
  }
}

function digestOf(bytes: Uint8Array): StoreTag {
  return `"${createHash("md5").update(bytes).digest("hex")}"`;
}
