/**
 * Links to bundles: each is given to one caller who was let in, for one repository, and ends by
 * itself, with his right, or with the bundle.
 */
import { LIMITS } from "../../base/limits.js";
import type { LinkHolder, LinkProofs } from "../../lfs/proof.js";
import type { BundleLine } from "../../odb/manifest/bundle-line.js";
import { type RepositoryName, titleOf } from "../conversation/repository-name.js";

/** The bundle that a link names, as its address has it. */
export type LinkedBundle = Pick<BundleLine, "name" | "bytes">;

export class BundleLinks {
  readonly #proofs: LinkProofs;

  constructor(proofs: LinkProofs) {
    this.#proofs = proofs;
  }

  /** Returns the address of a bundle; `base`: that of its repository, as the client spells it. */
  make(
    base: string,
    bundle: LinkedBundle,
    asked: RepositoryName,
    given: { readonly repository: string; readonly holder: LinkHolder },
  ): string {
    const grant = { ...claims(bundle, asked), repository: given.repository };
    const proof = this.#proofs.make(grant, given.holder, LIMITS.bundleLinkSeconds);
    return `${base}/bundles/${bundle.name}/${bundle.bytes}?proof=${proof}`;
  }

  /** Checks a link by its address alone; returns whom it was given to. Throws "lfs/proof". */
  admit(proof: string | null, bundle: LinkedBundle, asked: RepositoryName): LinkHolder {
    return this.#proofs.checkAddress(proof, claims(bundle, asked));
  }

  /** Checks that it was made for this repository. Throws "lfs/proof". */
  check(
    proof: string | null,
    bundle: LinkedBundle,
    asked: RepositoryName,
    repository: string,
  ): void {
    this.#proofs.check(proof, { ...claims(bundle, asked), repository });
  }
}

function claims({ name, bytes }: LinkedBundle, asked: RepositoryName) {
  return { purpose: "bundle", asked: titleOf(asked), oid: name, size: bytes } as const;
}
