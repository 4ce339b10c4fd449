/**
 * Many small packs made one, as pushes leave them and as reading lakeFS does: every look-up and
 * every task pays for each live pack. Stored entries go as they lie, each object once; trees that
 * are stored whole become deltas on older ones (fold-trees.ts).
 *
 * What is folded doubles from pack to pack, so that an object is written again only as often as its
 * repository doubles; large packs stay as they are. The new pack takes the place of the old ones in
 * the manifest, in one step; the old files stay where they are until somebody collects them.
 */
import { LIMITS } from "../../base/limits.js";
import { Fault } from "../../base/fault.js";
import type { TaskWatch } from "../../pool/control.js";
import type { FoldedPack } from "./tasks.js";
import type { PackHandle } from "../packs/handle.js";
import { markAll } from "../walk/whole-store.js";
import { generatePack } from "./generation.js";
import { planTreeDeltas } from "./fold-trees.js";
import type { LivePack } from "../object-database.js";
import type { ObjectReader } from "../packs/reader.js";
import { PackLookup } from "../packs/lookup.js";
import { planPack } from "./plan.js";

/** A pack that others were made, before it is published. */
export interface MergedPack {
  /** As in PackLine. */
  readonly name: string;
  readonly handle: PackHandle;
}

/**
 * Lists of the blobs that packs promise: they lie beside the packs, and who wrote them reads them.
 */
export interface PromiseLists {
  /** Ids that these packs promise, sorted, a table each. */
  ids(packs: readonly LivePack[], signal: AbortSignal): Promise<readonly SharedArrayBuffer[]>;
  /**
   * Keeps for the pack `by`, before it is live, a list of what `packs` promise and `by` does not
   * hold; how many blobs that is.
   */
  merge(packs: readonly LivePack[], by: MergedPack, signal: AbortSignal): Promise<number>;
}

export interface FoldChoice {
  /** Small packs from which on they are made one. Default: LIMITS.foldPacksMin. */
  readonly fewest?: number;
  /**
   * A pack is also folded that has many more objects than the smaller ones, as long as it has no
   * more bytes, or few: most are whole trees that others have as well.
   */
  readonly byBytes?: boolean;
  /** Also those that promise blobs; what was made from lakeFS is folded by itself then. */
  readonly promising?: boolean;
}

/** Chooses the packs to make one of; none if there are few enough. */
export function choosePacks(
  packs: readonly LivePack[],
  { fewest = LIMITS.foldPacksMin, byBytes = false, promising = false }: FoldChoice = {},
): readonly LivePack[] {
  // A list can only be made again where all that its pack holds can be: what was pushed is in no
  // pack that promises anything.
  const kinds = promising
    ? [packs.filter(isMade), packs.filter((pack) => !isMade(pack))]
    : [packs.filter(({ promised }) => promised === undefined)];
  for (const kind of kinds) {
    const small = kind.filter(({ bytes }) => bytes <= LIMITS.foldPackBytesMax);
    const chosen = small.length < fewest ? [] : chooseSmallest(small, fewest, byBytes);
    if (chosen.length > 0) return chosen;
  }
  return [];
}

/** Returns whether all of the pack was made from lakeFS. */
function isMade({ origin }: LivePack): boolean {
  return origin === "synthesized";
}

function chooseSmallest(small: LivePack[], fewest: number, byBytes: boolean): readonly LivePack[] {
  small.sort(
    (left, right) =>
      left.objectCount - right.objectCount || (left.checksum < right.checksum ? -1 : 1),
  );
  const chosen: LivePack[] = [];
  let [objects, bytes, blobs] = [0, 0, 0];
  for (const pack of small) {
    const isNext =
      chosen.length < fewest / 2 ||
      pack.objectCount <= 2 * objects ||
      (byBytes && pack.bytes <= Math.max(2 * bytes, LIMITS.foldBytesMin));
    if (
      !isNext ||
      bytes + pack.bytes > LIMITS.foldBytesMax ||
      blobs + (pack.promised ?? 0) > LIMITS.foldPromisedMax
    )
      break;
    chosen.push(pack);
    objects += pack.objectCount;
    bytes += pack.bytes;
    blobs += pack.promised ?? 0;
  }
  return chosen.length < 2 ? [] : chosen;
}

/**
 * In a pool thread: writes all that the reader's packs hold into one at `path`, which must not
 * exist. Not synced. `newestFirst`: their checksums.
 */
export async function foldPacks(
  reader: ObjectReader,
  newestFirst: readonly string[],
  path: string,
  watch: TaskWatch,
): Promise<FoldedPack> {
  const marks = new Uint8Array(reader.space.size);
  const objects = await markAll(reader, marks, watch);
  const plan = await planPack(reader, { count: objects, marks, few: undefined }, false, watch);
  // A history grows: what older packs hold is the base of what newer ones do, and a base that comes
  // first is named by a distance.
  const places = new Map(reader.space.packs.map(({ handle }, at) => [handle.checksum, at]));
  plan.order = newestFirst.map((checksum) => places.get(checksum) as number).reverse();
  await planTreeDeltas(reader, plan, watch);
  const { checksum, bytes } = await generatePack(reader, plan, {
    path,
    ofsDelta: true,
    watch,
    onWritten: () => undefined,
    onBoard: () => undefined,
  });
  return { checksum, bytes, objects };
}

/**
 * In a pool thread: throws "odb/missing" for the first object of `packs` that `by` does not hold.
 * Nothing is replaced before this was asked.
 */
export async function checkHolds(
  packs: readonly PackHandle[],
  by: PackHandle,
  watch: TaskWatch,
): Promise<void> {
  const whole = new PackLookup(by);
  for (const pack of packs) {
    const lookup = new PackLookup(pack);
    for (let position = 0; position < lookup.count; position++) {
      watch.step();
      if (watch.shouldYield()) await watch.turn();
      if (whole.find(lookup.oidView(position), 0) < 0)
        throw new Fault("odb/missing", { oid: lookup.oid(position), pack: by.checksum });
    }
  }
}
