/**
 * The context of one fetch: refs and packs as they are now, and what the server was told to allow.
 */
import { checkAborted, Turns } from "../../base/flow.js";
import { filtered } from "../../base/long-lists.js";
import type { Oid } from "../../git/oid.js";
import type { Log } from "../../observe/log.js";
import type { Metrics } from "../../observe/metrics.js";
import { type PackHandle, toHandles } from "../../odb/packs/handle.js";
import type { LivePack } from "../../odb/object-database.js";
import { NONE, ObjectNumbers, inSpaceOrder } from "../../odb/packs/numbering.js";
import { PackLookup } from "../../odb/packs/lookup.js";
import type { RefSnapshot } from "../../odb/ref-store.js";
import type { PackChecks } from "../../odb/packs/checks.js";
import type { ResponseCache } from "../../odb/pack-objects/response-cache.js";
import type { Pool } from "../../pool/task.js";
import type { Offer } from "../../wire/capabilities.js";
import type { Filter } from "../../wire/filter.js";
import type { Exchange, Repository } from "../conversation/conversation.js";
import type { Reached } from "./reached.js";
import type { BundleKeeper } from "./bundle-keeper.js";
import type { RefAnswers } from "./ref-answers.js";
import type { RequestRecord } from "../conversation/request-record.js";

/** A fetch asks for its wants and haves here, some hundred ids; the walks are elsewhere. */
const FEW_LOOKUPS_BITS = 8;

export interface UploadPackDeps {
  readonly pool: Pool;
  readonly cache: ResponseCache;
  readonly checks: PackChecks;
  readonly answers: RefAnswers;
  readonly reached: Reached;
  readonly offer: Offer;
  /** Undefined: none are offered. */
  readonly bundles?: BundleKeeper | undefined;
  readonly log: Log;
  readonly metrics: Metrics;
  /**
   * uploadpack.allowAnySHA1InWant: whatever is stored may be asked for by its id, reachable or not.
   */
  readonly allowAnyWant: boolean;
}

export interface FetchContext {
  readonly deps: UploadPackDeps;
  readonly request: RequestRecord;
  readonly repository: Repository;
  readonly stateless: boolean;
  readonly refs: RefSnapshot;
  readonly packs: readonly LivePack[];
  /** For tasks. */
  readonly handles: readonly PackHandle[];
  readonly signal: AbortSignal;
  /** Returns whether any pack holds the object: a look-up. */
  has(oid: Oid): boolean;
}

/**
 * Refs first, then packs: objects are published before refs point at them, so what is named is
 * here. `wanted`: ids the client asks for by themselves; those that lakeFS still has alone are
 * brought. So is everything where `filter` reads a blob.
 */
export async function openContext(
  exchange: Pick<Exchange, "request" | "repository" | "signal" | "stateless">,
  deps: UploadPackDeps,
  wanted: Iterable<Oid> = [],
  filter?: Filter,
): Promise<FetchContext> {
  const { request, repository, signal, stateless } = exchange;
  const refs = await repository.refs.read(signal);
  const context = await contextOf({ request, repository, deps, refs, signal, stateless });
  if (readsBlob(filter) && isPromising(context)) {
    await repository.promised?.bringAll(signal);
    return contextOf(context);
  }
  const unknown = isPromising(context)
    ? await filtered(wanted, (oid) => !context.has(oid), new Turns(signal))
    : [];
  if (unknown.length === 0) return context;
  await repository.promised?.bring(unknown, signal);
  return contextOf(context);
}

/** Patterns of a sparse checkout are the content of a blob. */
function readsBlob(filter: Filter | undefined): boolean {
  return (
    filter?.kind === "sparse:oid" || (filter?.kind === "combine" && filter.filters.some(readsBlob))
  );
}

/** Returns whether some contents are still in lakeFS alone. */
export function isPromising({
  packs,
  repository,
}: Pick<FetchContext, "packs" | "repository">): boolean {
  return repository.promised !== undefined && packs.some(({ promised }) => promised !== undefined);
}

/** The same with the packs there are now. */
export async function contextOf({
  request,
  repository,
  deps,
  refs,
  signal,
  stateless,
}: Omit<FetchContext, "packs" | "handles" | "has">): Promise<FetchContext> {
  const { packs } = await repository.objects.packs(signal);
  checkAborted(signal);
  let space: ObjectNumbers | undefined;
  return {
    deps,
    request,
    repository,
    stateless,
    refs,
    packs,
    handles: toHandles(packs),
    signal,
    has(oid) {
      space ??= new ObjectNumbers(
        inSpaceOrder(packs).map((pack) => ({ lookup: new PackLookup(pack) })),
        FEW_LOOKUPS_BITS,
      );
      return space.findOid(oid) !== NONE;
    },
  };
}
