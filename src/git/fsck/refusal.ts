/** Types that the checks of objects share. */
import type { Oid } from "../oid.js";

/** The reason to refuse an object: Git's message id, and a sentence. */
export interface Refusal {
  readonly id: string;
  readonly text: string;
}

/** Blobs that must be looked at because of what a tree calls them. */
export interface CheckMarks {
  gitmodules: Oid[];
  gitattributes: Oid[];
}
