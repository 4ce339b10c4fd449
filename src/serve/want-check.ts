/**
 * Whether a client may have what it names: tips of refs it can see and what is reachable from them. Git's own server lets
 * version 2 clients name anything; we do not, unless a setting says so.
 */
import { Fault } from "../base/fault.js";
import { SingleFlight } from "../base/flow.js";
import type { Oid } from "../git/oid.js";
import type { LivePack } from "../odb/object-database.js";
import { PackLookup } from "../odb/pack-lookup.js";
import { isReachable } from "../odb/reachable.js";
import type { RefSnapshot, RefStore } from "../odb/ref-store.js";
import type { ReachableBits } from "../pool/fetch-tasks.js";
import type { FetchContext } from "./fetch-context.js";

/** What was found for one repository, at one state of its refs and packs. */
interface Known {
  readonly state: string;
  /** Found while blobs were still only in lakeFS: those brought since are not among the bits, so nothing is built on them. */
  readonly promises: boolean;
  readonly bits: ReachableBits;
}

const tipsOf = new WeakMap<RefSnapshot, ReadonlySet<Oid>>();
const knownOf = new WeakMap<RefStore, Known>();
const flights = new SingleFlight<string, Known>();

/**
 * Throws "odb/not-our-ref" for the first id that may not be had. `tipsOnly`: reachable is not enough (version 0 on a connection
 * that saw the advertisement, where the server does not offer more).
 */
export async function checkWants(context: FetchContext, wants: readonly Oid[], tipsOnly: boolean): Promise<void> {
  const tips = visibleTips(context.refs);
  const others = wants.filter((want) => !tips.has(want));
  if (others.length === 0) return;
  const unknown = others.find((want) => !context.has(want));
  if (unknown !== undefined) throw notOurs(unknown);
  if (context.deps.allowAnyWant) return;
  if (tipsOnly) throw notOurs(others[0] as Oid);
  const refused = await firstUnreachable(context, others);
  if (refused !== undefined) throw notOurs(refused);
}

/** Of these ids, those the client may see; tips cost a look-up, the first other one may cost a walk of everything, as with a want. */
export async function visibleOf(context: FetchContext, oids: readonly Oid[]): Promise<ReadonlySet<Oid>> {
  const tips = visibleTips(context.refs);
  const others = oids.filter((oid) => !tips.has(oid));
  const reached = others.length === 0 ? [] : await visibleAmong(context, others);
  return new Set([...oids.filter((oid) => tips.has(oid)), ...reached]);
}

/** Of these ids, those the client may see: for object-info, which answers nothing about the rest. */
export async function visibleAmong(context: FetchContext, oids: readonly Oid[]): Promise<ReadonlySet<Oid>> {
  const held = oids.filter((oid) => context.has(oid));
  if (context.deps.allowAnyWant || held.length === 0) return new Set(held);
  const { packs, bits } = await reachable(context);
  return new Set(held.filter((oid) => isReachable(packs, bits, oid)));
}

function notOurs(oid: Oid): Fault {
  return new Fault("odb/not-our-ref", { oid });
}

/** What refs point at, and what their tags do. */
function visibleTips(refs: RefSnapshot): ReadonlySet<Oid> {
  const held = tipsOf.get(refs);
  if (held !== undefined) return held;
  const tips = new Set<Oid>();
  for (const { oid, peeled } of refs.refs) {
    tips.add(oid);
    if (peeled !== undefined) tips.add(peeled);
  }
  tipsOf.set(refs, tips);
  return tips;
}

async function firstUnreachable(context: FetchContext, oids: readonly Oid[]): Promise<Oid | undefined> {
  const { packs, bits } = await reachable(context);
  return oids.find((oid) => !isReachable(packs, bits, oid));
}

interface PackBits {
  readonly packs: readonly { readonly lookup: PackLookup }[];
  readonly bits: readonly Uint8Array[];
}

/** The bits for the refs and packs of this context: kept, extended from what was kept, or found anew in a pool thread. */
async function reachable(context: FetchContext): Promise<PackBits> {
  const { repository, refs, packs } = context;
  const state = `${refs.revision} ${packs.map(({ checksum }) => checksum).join(" ")}`;
  const kept = knownOf.get(repository.refs);
  const known = kept?.state === state ? kept : await flights.run(`${repository.id} ${state}`, (signal) => find(context, state, kept, signal), context.signal);
  const byChecksum = new Map(known.bits.packs.map(({ checksum, bits }) => [checksum, new Uint8Array(bits)]));
  const found = packs.flatMap((pack) => {
    const bits = byChecksum.get(pack.checksum);
    return bits === undefined ? [] : [{ lookup: new PackLookup(pack), bits }];
  });
  return { packs: found, bits: found.map(({ bits }) => bits) };
}

async function find({ repository, refs, packs, handles, deps }: FetchContext, state: string, kept: Known | undefined, signal: AbortSignal): Promise<Known> {
  const tips = [...new Set(refs.refs.map(({ oid }) => oid))];
  // Only where nothing leads out of a pack does its being reachable as a whole say all: what another's trees name elsewhere must be walked to.
  const whole = packs.filter(({ selfContained, tips: own }: LivePack) => selfContained && own !== undefined);
  const packTips = Object.fromEntries(whole.map(({ checksum, tips: own }) => [checksum, own ?? []]));
  const promises = packs.some(({ promised }) => promised !== undefined);
  // Bits of a pack that is gone are no one's: what only they covered would not be walked to again.
  const isWhole = kept?.bits.packs.every((before) => packs.some(({ checksum }) => checksum === before.checksum));
  const request = { packs: handles, tips, packTips, promises, ...(kept === undefined || !isWhole || kept.promises || promises ? {} : { before: kept.bits }) };
  const bits = await deps.pool.run("pack-objects/reachable", request, { signal });
  const known = { state, promises, bits };
  knownOf.set(repository.refs, known);
  return known;
}
