/**
 * A push may move a ref only where every LFS pointer it brings has its object here, with the right
 * size. git-lfs uploads before it pushes, but it exits 0 after some failures, and a client without
 * git-lfs uploads nothing.
 */
import { fromLatin1, lossyText } from "../../base/bytes.js";
import { Semaphore } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { Oid } from "../../git/oid.js";
import type { LfsStore } from "../../lfs/store.js";
import {
  type FindPointersResult,
  type FoundPointer,
  pointerPathsTask,
  pointersTask,
} from "../../lfs/tasks.js";
import type { Pool } from "../../pool/task.js";
import type { PackHandle } from "../../odb/packs/handle.js";

export interface PointerCheckInput {
  readonly pool: Pool;
  /** Live packs and the pushed one. */
  readonly packs: readonly PackHandle[];
  /** Checksum of the pushed one. */
  readonly pushed: string;
  /** New ids of the refs that are to move. */
  readonly tips: readonly Oid[];
  readonly store: LfsStore;
  /**
   * With `lfs_missing_objects=warn`: whether the store can have pointers without objects.
   * Undefined: it refuses them.
   */
  readonly lenience: "passes" | "cannot pass" | undefined;
  readonly warn: (line: string) => void;
  readonly signal: AbortSignal;
}

/**
 * A reason to refuse by tip; those that are fine are not in it. Ends with the first pointers that
 * refuse any.
 */
export async function refusePointers(input: PointerCheckInput): Promise<ReadonlyMap<Oid, string>> {
  const { pool, packs, pushed, store, signal } = input;
  for (let from: number | undefined = 0; from !== undefined; ) {
    const { found, next }: FindPointersResult = await pool.run(
      pointersTask,
      { packs, pushed, from },
      { signal },
    );
    const missing = await withoutObject(found, store, signal);
    const refusals = missing.length === 0 ? new Map() : await refusalsOf(input, missing);
    if (refusals.size > 0) return passed(input, refusals);
    from = next;
  }
  return new Map();
}

/**
 * Turns refusals into lines where pointers without objects may pass: the first of them are told.
 */
function passed(
  { lenience, warn }: PointerCheckInput,
  refusals: ReadonlyMap<Oid, string>,
): ReadonlyMap<Oid, string> {
  if (lenience === undefined) return refusals;
  if (lenience === "cannot pass") {
    const why =
      "; lfs_missing_objects=warn does not help where the repository is in lakeFS, which would have nothing to keep";
    return new Map([...refusals].map(([tip, refusal]) => [tip, refusal + why]));
  }
  const told = [...new Set(refusals.values())].slice(0, LIMITS.lfsOffendersMax);
  for (const refusal of told) warn(`warning: ${refusal}`);
  return new Map();
}

async function refusalsOf(
  { pool, packs, pushed, tips, signal }: PointerCheckInput,
  missing: readonly FoundPointer[],
): Promise<ReadonlyMap<Oid, string>> {
  const blobs = missing.map(({ blob }) => blob);
  const { paths: offenders, exhausted } = await pool.run(
    pointerPathsTask,
    { packs, pushed, tips, blobs },
    { signal },
  );
  const paths = new Map<Oid, string[]>();
  for (const { tip, path } of offenders)
    paths.set(tip, [...(paths.get(tip) ?? []), lossyText(fromLatin1(path))]);
  const refusals = new Map([...paths].map(([tip, names]) => [tip, refusal(names)]));
  if (exhausted)
    for (const tip of tips) if (!refusals.has(tip)) refusals.set(tip, tooMany(missing));
  return refusals;
}

/** It cannot be said whether .gitattributes make them LFS files, so they are named by their ids. */
function tooMany(missing: readonly FoundPointer[]): string {
  const names = missing.slice(0, LIMITS.lfsOffendersMax).map(({ blob }) => blob);
  return `LFS pointers without a file stand at more paths than are looked at (blobs ${names.join(", ")}); run: git lfs push --all <remote>`;
}

async function withoutObject(
  pointers: readonly FoundPointer[],
  store: LfsStore,
  signal: AbortSignal,
): Promise<FoundPointer[]> {
  const looks = new Semaphore(LIMITS.lfsLooksMax);
  const sizes = await Promise.all(
    pointers.map(({ sha256: oid, size }) =>
      looks.run(() => store.size({ oid, size }, signal), signal),
    ),
  );
  return pointers.filter(({ size }, at) => sizes[at] !== size);
}

/** One line of a report: paths may hold anything, so what a terminal would obey is cut out. */
function refusal(paths: readonly string[]): string {
  const names = paths
    .map((path) => path.replace(/[\x00-\x1f\x7f]/g, "?").slice(0, LIMITS.messageNameBytesMax))
    .join(", ");
  return `an LFS pointer points to a file that does not exist: ${names}; run: git lfs push --all <remote>`;
}
