/** What one fetch is answered from: refs and packs as they are now, and what the server was told to allow. */
import { checkAborted } from "../base/flow.js";
import type { Oid } from "../git/oid.js";
import type { Log } from "../observe/log.js";
import { toHandles } from "../odb/fetch-pack.js";
import type { LivePack } from "../odb/object-database.js";
import { NONE, ObjectSpace, inSpaceOrder } from "../odb/object-space.js";
import { PackLookup } from "../odb/pack-lookup.js";
import type { RefSnapshot } from "../odb/ref-store.js";
import type { ResponseCache } from "../odb/response-cache.js";
import type { PackHandle, Pool } from "../pool/tasks.js";
import type { Offer } from "../wire/capabilities.js";
import type { Exchange, Repository } from "./conversation.js";

export interface UploadPackDeps {
  readonly pool: Pool;
  readonly cache: ResponseCache;
  readonly offer: Offer;
  readonly log: Log;
  /** uploadpack.allowAnySHA1InWant: whatever is stored may be asked for by its id, reachable or not. */
  readonly allowAnyWant: boolean;
}

export interface FetchContext {
  readonly deps: UploadPackDeps;
  readonly repository: Repository;
  readonly stateless: boolean;
  readonly refs: RefSnapshot;
  readonly packs: readonly LivePack[];
  /** For tasks. */
  readonly handles: readonly PackHandle[];
  readonly signal: AbortSignal;
  /** Whether any pack holds it: a look-up. */
  has(oid: Oid): boolean;
}

/** Refs first, then packs: objects are published before refs point at them, so what is named is here. */
export async function openContext(exchange: Pick<Exchange, "repository" | "signal" | "stateless">, deps: UploadPackDeps): Promise<FetchContext> {
  const { repository, signal, stateless } = exchange;
  const refs = await repository.refs.read(signal);
  const { packs } = await repository.objects.packs(signal);
  checkAborted(signal);
  let space: ObjectSpace | undefined;
  return {
    deps,
    repository,
    stateless,
    refs,
    packs,
    handles: toHandles(packs),
    signal,
    has(oid) {
      space ??= new ObjectSpace(inSpaceOrder(packs).map((pack) => ({ lookup: new PackLookup(pack) })));
      return space.findOid(oid) !== NONE;
    },
  };
}
