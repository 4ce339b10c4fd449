/**
 * Remembers what the refs of repositories reach, for as long as refs and packs are what they were:
 * marks of the objects (one bit each, as of a reachability bitmap), found in a pool thread, once
 * for all who ask at one time, and from the marks of the state before where those still hold.
 */
import { orAbort, SingleFlight, Turns } from "../../base/flow.js";
import { distinct } from "../../base/long-lists.js";
import type { Oid } from "../../git/oid.js";
import type { LivePack } from "../../odb/object-database.js";
import { closedPackTips } from "../../odb/pack-objects/fetch-pack.js";
import type { PackHandle } from "../../odb/packs/handle.js";
import { PackLookup } from "../../odb/packs/lookup.js";
import type { RefSnapshot, RefStore } from "../../odb/ref-store.js";
import { type ReachableBits, reachableTask } from "../../odb/walk/tasks.js";
import type { Pool } from "../../pool/task.js";

/** A repository's refs and packs as one request sees them. */
export interface ReachSource {
  readonly repository: { readonly id: string; readonly refs: RefStore };
  readonly refs: RefSnapshot;
  readonly packs: readonly LivePack[];
  /** Handles of `packs`, for tasks. */
  readonly handles: readonly PackHandle[];
  readonly pool: Pool;
  readonly signal: AbortSignal;
}

export interface ReachedPacks {
  readonly packs: readonly { readonly lookup: PackLookup }[];
  /** Bits of each of `packs`, one for each object in the order of its index. */
  readonly bits: readonly Uint8Array[];
}

/** Bits of one repository, at one state of its refs and packs. */
interface Known {
  readonly state: string;
  /**
   * Found while blobs were still only in lakeFS: those brought since are not among the bits, so
   * nothing is built on them.
   */
  readonly promises: boolean;
  readonly bits: ReachableBits;
}

export class Reached {
  readonly #tips = new WeakMap<RefSnapshot, Promise<ReadonlySet<Oid>>>();
  readonly #known = new WeakMap<RefStore, Known>();
  readonly #finding = new SingleFlight<string, Known>();

  /** Ids that refs point at, and that their tags do. */
  tips(refs: RefSnapshot, signal: AbortSignal): Promise<ReadonlySet<Oid>> {
    let tips = this.#tips.get(refs);
    if (tips === undefined) {
      tips = findTips(refs);
      this.#tips.set(refs, tips);
    }
    return orAbort(tips, signal);
  }

  /** The objects of `source.packs` that its refs reach. */
  async packs(source: ReachSource): Promise<ReachedPacks> {
    const { repository, refs, packs } = source;
    const state = `${refs.revision} ${packs.map(({ checksum }) => checksum).join(" ")}`;
    const kept = this.#known.get(repository.refs);
    const known =
      kept?.state === state
        ? kept
        : await this.#finding.run(
            `${repository.id} ${state}`,
            (signal) => this.#find({ ...source, signal }, state, kept),
            source.signal,
          );
    const byChecksum = new Map(
      known.bits.packs.map(({ checksum, bits }) => [checksum, new Uint8Array(bits)]),
    );
    const found = packs.flatMap((pack) => {
      const bits = byChecksum.get(pack.checksum);
      return bits === undefined ? [] : [{ lookup: new PackLookup(pack), bits }];
    });
    return { packs: found, bits: found.map(({ bits }) => bits) };
  }

  async #find(source: ReachSource, state: string, kept: Known | undefined): Promise<Known> {
    const { repository, pool, signal } = source;
    const request = await requestOf(source, kept);
    const bits = await pool.run(reachableTask, request, { signal });
    const known = { state, promises: request.promises, bits };
    this.#known.set(repository.refs, known);
    return known;
  }
}

/** `kept`: what was found at the state before. */
async function requestOf({ refs, packs, handles, signal }: ReachSource, kept: Known | undefined) {
  const tips = [
    ...(await distinct(
      refs.refs.map(({ oid }) => oid),
      new Turns(signal),
    )),
  ];
  // Only where nothing leads out of a pack does its being reachable as a whole say all: what
  // another's trees name elsewhere must be walked to.
  const whole = packs.filter(
    ({ selfContained, tips: own }: LivePack) => selfContained && own !== undefined,
  );
  const packTips = Object.fromEntries(
    whole.map(({ checksum, tips: own }) => [checksum, own ?? []]),
  );
  const promises = packs.some(({ promised }) => promised !== undefined);
  // Bits of a pack that is gone are no one's: what only they covered would not be walked to again.
  const isWhole = kept?.bits.packs.every((before) =>
    packs.some(({ checksum }) => checksum === before.checksum),
  );
  const closedTips = closedPackTips(packs);
  return {
    packs: handles,
    tips,
    packTips,
    promises,
    ...(closedTips && { closedTips }),
    ...(kept === undefined || !isWhole || kept.promises || promises ? {} : { before: kept.bits }),
  };
}

async function findTips({ refs }: RefSnapshot): Promise<ReadonlySet<Oid>> {
  const turns = new Turns();
  const tips = new Set<Oid>();
  for (const { oid, peeled } of refs) {
    if (turns.isDue) await turns.next();
    tips.add(oid);
    if (peeled !== undefined) tips.add(peeled);
  }
  return tips;
}
