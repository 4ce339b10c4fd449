/** Finds a content's form in Git, a file or the bytes of a pointer, once its hashes are known. */
import { formatPointer, POINTER_BYTES_MAX } from "../../git/lfs-pointer.js";
import { type Claim, type ContentFacts, judge } from "./claim.js";
import type { FileToResolve } from "./file-to-resolve.js";
import type { LakeEntry } from "./path-rules.js";

export interface PointerForm {
  readonly as: "pointer";
  readonly sha256: string;
  readonly text: Uint8Array;
  readonly proven: boolean;
  /** No claim says so, and no hub's link: it must be seen that git-lfs can have it. */
  readonly byRule?: boolean;
}

export type Form = { readonly as: "plain" } | PointerForm;

/** `onUnconfirmed`: the content does not confirm the claim, and the rules decide. */
export function formOf(
  { entry, crossing: { claim, pointer, linked } }: Pick<FileToResolve, "entry" | "crossing">,
  facts: ContentFacts,
  onUnconfirmed: (claim: Claim) => void,
): Form {
  const judged = claim && judge(claim, facts, entry.size);
  if (judged?.as === "plain") return { as: "plain" };
  if (judged?.as === "pointer")
    return { as: "pointer", sha256: facts.sha256, text: judged.text, proven: true };
  if (claim !== undefined) onUnconfirmed(claim);
  if (!pointer) return { as: "plain" };
  const sha256 = linked ?? facts.sha256;
  const text = formatPointer({ sha256, size: entry.size });
  return {
    as: "pointer",
    sha256,
    text,
    proven: sha256 === facts.sha256,
    byRule: linked === undefined,
  };
}

/**
 * Returns whether a file that the rules make a pointer may hold a pointer's text: git-lfs would
 * take it for the pointer itself.
 */
export function mustBeSeen({ size }: LakeEntry, form: Form): boolean {
  return form.as === "pointer" && form.byRule === true && size <= POINTER_BYTES_MAX;
}

export function isPointerForm(form: Form): form is PointerForm {
  return form.as === "pointer";
}
