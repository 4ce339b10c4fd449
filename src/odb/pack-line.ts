/** One pack of a repository, as its manifest lists it. */
import type { Oid } from "../git/oid.js";

export interface PackLine {
  /** SHA-1 of the pack, hex: what it holds. */
  readonly checksum: string;
  /**
   * 40 hex digits of this publication of it: its files are `pack-<name>.pack`, `.idx` and `.rev`.
   * No other publication has the same, so that a file that was dropped is never wanted again.
   */
  readonly name: string;
  readonly bytes: number;
  readonly objects: number;
  readonly origin: "push" | "synthesized" | "repack";
  /** All that its objects link to is in it or in packs before it. */
  readonly closed: boolean;
  /** All that its objects link to is in it. */
  readonly selfContained: boolean;
  /** Objects nothing in the pack links to; absent: too many to keep. */
  readonly tips?: readonly Oid[] | undefined;
  /**
   * Blobs its trees name that are still only in lakeFS, each with a known id. Absent: none.
   */
  readonly promised?: number | undefined;
}

/** Tells a pack apart: by what it holds, and by where that lies. */
export type PackName = Pick<PackLine, "checksum" | "name">;
