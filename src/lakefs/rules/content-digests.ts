/**
 * Hashes of a content while it passes: its SHA-256, its Git blob id where that is asked for, and
 * what lakeFS recorded of it.
 *
 * lakeFS's checksum is an MD5 where it took the bytes itself, "sha256:<hex>" where a hub or a
 * landing linked them, and for imported objects the store's ETag. A checksum that looks like a
 * plain MD5 or SHA-256 is compared: an object that was overwritten in the store would else be two
 * histories on two servers. Other strings (ETags of multipart uploads, "…-16") tell nothing and are
 * not compared. Known limit: S3 gives objects encrypted with SSE-KMS or SSE-C an ETag that looks
 * like an MD5 and is none; such an object is refused where it was imported. Import it by copying it
 * (lakectl fs upload), or leave it out.
 */
import { createHash, type Hash } from "node:crypto";
import { Fault } from "../../base/fault.js";
import type { ContentFacts } from "./claim.js";
import { checksumSha256 } from "./path-rules.js";

const MD5 = /^[0-9a-f]{32}$/;

export class ContentDigests {
  readonly #sha256 = createHash("sha256");
  readonly #md5: Hash | undefined;
  readonly #blob: Hash | undefined;
  readonly #checksum: string;

  constructor(
    { checksum, size }: { readonly checksum: string; readonly size: number },
    withBlob: boolean,
  ) {
    this.#checksum = checksum;
    this.#md5 = MD5.test(checksum) ? createHash("md5") : undefined;
    this.#blob = withBlob ? createHash("sha1").update(`blob ${size}\0`) : undefined;
  }

  update(bytes: Uint8Array): void {
    this.#sha256.update(bytes);
    this.#md5?.update(bytes);
    this.#blob?.update(bytes);
  }

  /** When all has passed. Throws "lakefs/damaged" where lakeFS has recorded another checksum. */
  finish(): ContentFacts {
    const sha256 = this.#sha256.digest("hex");
    const is =
      this.#md5?.digest("hex") ??
      (checksumSha256(this.#checksum) === undefined ? undefined : `sha256:${sha256}`);
    if (is !== undefined && is !== this.#checksum) {
      throw new Fault("lakefs/damaged", {
        reason: "the bytes in storage are not those that lakeFS has recorded",
        recorded: this.#checksum,
        is,
      });
    }
    return { sha256, blob: this.#blob?.digest("hex") };
  }
}
