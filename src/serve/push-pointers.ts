/**
 * A push may move a ref only where every LFS pointer it brings has its object here, with the right size. git-lfs uploads before it pushes, but it exits 0
 * after some failures, and a client without git-lfs uploads nothing.
 */
import { fromLatin1, lossyText } from "../base/bytes.js";
import { Semaphore } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import type { Oid } from "../git/oid.js";
import type { LfsStore } from "../lfs/store.js";
import type { FoundPointer } from "../pool/lfs-tasks.js";
import type { PackHandle, Pool } from "../pool/tasks.js";

export interface PointerCheckInput {
  readonly pool: Pool;
  /** Live packs and the pushed one. */
  readonly packs: readonly PackHandle[];
  /** Checksum of the pushed one. */
  readonly pushed: string;
  /** New ids of the refs that are to move. */
  readonly tips: readonly Oid[];
  readonly store: LfsStore;
  readonly signal: AbortSignal;
}

/** A reason to refuse by tip; those that are fine are not in it. */
export async function refusePointers({ pool, packs, pushed, tips, store, signal }: PointerCheckInput): Promise<ReadonlyMap<Oid, string>> {
  const found = await pool.run("lfs/pointers", { packs, pushed }, { signal });
  const missing = await withoutObject(found, store, signal);
  if (missing.length === 0) return new Map();
  const blobs = missing.map(({ blob }) => blob);
  const offenders = await pool.run("lfs/paths", { packs, pushed, tips, blobs }, { signal });
  const paths = new Map<Oid, string[]>();
  for (const { tip, path } of offenders) paths.set(tip, [...(paths.get(tip) ?? []), lossyText(fromLatin1(path))]);
  return new Map([...paths].map(([tip, names]) => [tip, refusal(names)]));
}

async function withoutObject(pointers: readonly FoundPointer[], store: LfsStore, signal: AbortSignal): Promise<FoundPointer[]> {
  const looks = new Semaphore(LIMITS.lfsLooksMax);
  const sizes = await Promise.all(pointers.map(({ sha256: oid, size }) => looks.run(() => store.size({ oid, size }, signal), signal)));
  return pointers.filter(({ size }, at) => sizes[at] !== size);
}

/** One line of a report: paths may hold anything, so what a terminal would obey is cut out. */
function refusal(paths: readonly string[]): string {
  const names = paths.map((path) => path.replace(/[\x00-\x1f\x7f]/g, "?").slice(0, LIMITS.messageNameBytesMax)).join(", ");
  return `an LFS pointer points to a file that does not exist: ${names}; run: git lfs push --all <remote>`;
}
