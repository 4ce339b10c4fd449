/**
 * Whether a client may have what it names: tips of refs it can see and what is reachable from them.
 * Git's own server lets version 2 clients name anything; we do not, unless a setting says so.
 */
import { Fault } from "../../base/fault.js";
import { orAbort, SingleFlight, Turns } from "../../base/flow.js";
import { distinct, filtered } from "../../base/long-lists.js";
import type { Oid } from "../../git/oid.js";
import { closedPackTips } from "../../odb/pack-objects/fetch-pack.js";
import type { LivePack } from "../../odb/object-database.js";
import { PackLookup } from "../../odb/packs/lookup.js";
import { isReachable } from "../../odb/walk/reachable.js";
import type { RefSnapshot, RefStore } from "../../odb/ref-store.js";
import type { FetchContext } from "./context.js";
import { type ReachableBits, reachableTask } from "../../odb/walk/tasks.js";

/** What was found for one repository, at one state of its refs and packs. */
interface Known {
  readonly state: string;
  /**
   * Found while blobs were still only in lakeFS: those brought since are not among the bits, so
   * nothing is built on them.
   */
  readonly promises: boolean;
  readonly bits: ReachableBits;
}

const tipsOf = new WeakMap<RefSnapshot, Promise<ReadonlySet<Oid>>>();
const knownOf = new WeakMap<RefStore, Known>();
const flights = new SingleFlight<string, Known>();

/**
 * Throws "odb/not-our-ref" for the first id that may not be had. `tipsOnly`: reachable is not
 * enough (version 0 on a connection that saw the advertisement, where the server does not offer
 * more).
 */
export async function checkWants(
  context: FetchContext,
  wants: readonly Oid[],
  tipsOnly: boolean,
): Promise<void> {
  const tips = await visibleTips(context);
  const turns = new Turns(context.signal);
  const others = await filtered(wants, (want) => !tips.has(want), turns);
  for (const want of others) {
    if (turns.isDue) await turns.next();
    if (!context.has(want)) throw notOurs(want);
  }
  if (others.length === 0 || context.deps.allowAnyWant) return;
  if (tipsOnly) throw notOurs(others[0] as Oid);
  const sight = await Sight.open(context);
  for (const want of others) {
    if (turns.isDue) await turns.next();
    if (!(await sight.sees(want))) throw notOurs(want);
  }
}

/**
 * Tells for one id after the other whether the client may see it. What it may not see counts as
 * unknown wherever it is named: a have that is confirmed tells that we hold it, and a boundary
 * below a hidden commit would make its history part of the answer.
 */
export class Sight {
  readonly #context: FetchContext;
  readonly #tips: ReadonlySet<Oid>;
  #bits: PackBits | undefined;

  private constructor(context: FetchContext, tips: ReadonlySet<Oid>) {
    this.#context = context;
    this.#tips = tips;
  }

  /** Throws "base/aborted". */
  static async open(context: FetchContext): Promise<Sight> {
    return new Sight(context, await visibleTips(context));
  }

  /**
   * Costs a look-up; the first id that is here and no tip may cost the walk that marks what the
   * refs reach.
   */
  sees(oid: Oid): boolean | Promise<boolean> {
    if (!this.#context.has(oid)) return false;
    if (this.#tips.has(oid) || this.#context.deps.allowAnyWant) return true;
    return this.#bits === undefined
      ? this.#count(oid)
      : isReachable(this.#bits.packs, this.#bits.bits, oid);
  }

  async #count(oid: Oid): Promise<boolean> {
    this.#bits = await reachable(this.#context);
    return this.sees(oid);
  }
}

/** Of these ids, in order and each once, those that are here and that the client may see. */
export async function visibleOf(
  context: FetchContext,
  oids: Iterable<Oid>,
): Promise<ReadonlySet<Oid>> {
  const sight = await Sight.open(context);
  const turns = new Turns(context.signal);
  const visible = new Set<Oid>();
  for (const oid of oids) {
    if (turns.isDue) await turns.next();
    if (await sight.sees(oid)) visible.add(oid);
  }
  return visible;
}

function notOurs(oid: Oid): Fault {
  return new Fault("odb/not-our-ref", { oid });
}

/** What refs point at, and what their tags do: found once for all who ask about the same refs. */
function visibleTips({ refs, signal }: FetchContext): Promise<ReadonlySet<Oid>> {
  let tips = tipsOf.get(refs);
  if (tips === undefined) {
    tips = findTips(refs);
    tipsOf.set(refs, tips);
  }
  return orAbort(tips, signal);
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

interface PackBits {
  readonly packs: readonly { readonly lookup: PackLookup }[];
  readonly bits: readonly Uint8Array[];
}

/**
 * The bits for the refs and packs of this context: kept, extended from what was kept, or found anew
 * in a pool thread.
 */
async function reachable(context: FetchContext): Promise<PackBits> {
  const { repository, refs, packs } = context;
  const state = `${refs.revision} ${packs.map(({ checksum }) => checksum).join(" ")}`;
  const kept = knownOf.get(repository.refs);
  const known =
    kept?.state === state
      ? kept
      : await flights.run(
          `${repository.id} ${state}`,
          (signal) => find(context, state, kept, signal),
          context.signal,
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

async function find(
  { repository, refs, packs, handles, deps }: FetchContext,
  state: string,
  kept: Known | undefined,
  signal: AbortSignal,
): Promise<Known> {
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
  const request = {
    packs: handles,
    tips,
    packTips,
    promises,
    ...(closedTips && { closedTips }),
    ...(kept === undefined || !isWhole || kept.promises || promises ? {} : { before: kept.bits }),
  };
  const bits = await deps.pool.run(reachableTask, request, { signal });
  const known = { state, promises, bits };
  knownOf.set(repository.refs, known);
  return known;
}
