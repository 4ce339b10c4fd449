/**
 * The head of a bundle: what its pack is good for. The pack follows at once.
 *
 *   # v2 git bundle LF
 *   -<oid> SP LF …            prerequisites: commits that whoever unpacks it must have
 *   <oid> SP <name> LF …      refs
 *   LF
 *
 * Source: gitformat-bundle(5).
 */
import { fromLatin1 } from "../base/bytes.js";
import type { Oid } from "./oid.js";

export interface BundleHead {
  /** Commits. */
  readonly prerequisites: readonly Oid[];
  /** Full names, latin1 text, or HEAD. */
  readonly refs: readonly { readonly name: string; readonly oid: Oid }[];
}

/** Writes the head of a bundle: a new array. */
export function encodeBundleHead({ prerequisites, refs }: BundleHead): Uint8Array {
  const needed = prerequisites.map((oid) => `-${oid} \n`);
  const named = refs.map(({ oid, name }) => `${oid} ${name}\n`);
  return fromLatin1(`# v2 git bundle\n${needed.join("")}${named.join("")}\n`);
}
