/**
 * From what a client wrote to what is to be packed: names become ids, depths become boundaries,
 * wants are checked.
 */
import { Fault } from "../../base/fault.js";
import { Turns } from "../../base/flow.js";
import { distinct } from "../../base/long-lists.js";
import { isOid, type Oid } from "../../git/oid.js";
import type { PackRequest } from "../../odb/pack-objects/response-key.js";
import type { Ref, RefSnapshot } from "../../odb/ref-store.js";
import { resolvePathTask } from "../../odb/pack-objects/tasks.js";
import type { DepthRequest } from "../../wire/depth.js";
import type { Filter } from "../../wire/filter.js";
import type { FetchContext } from "./context.js";
import { visibleOf } from "./wants.js";
import {
  type Boundary,
  type DeepenBy,
  deepenTask,
  negotiateTask,
  type TagRef,
} from "../../odb/walk/tasks.js";

const NO_BOUNDARY: Boundary = { shallow: [], unshallow: [], parents: [] };

/**
 * Finds where the client's history is to end. Wants have been checked. Throws "wire/bad-request"
 * for a `deepen-not` that is no ref.
 */
export function resolveBoundary(
  context: FetchContext,
  wants: readonly Oid[],
  clientShallow: readonly Oid[],
  depth: DepthRequest | undefined,
): Promise<Boundary> {
  if (depth === undefined) return Promise.resolve(NO_BOUNDARY);
  const { deps, handles: packs, signal } = context;
  return deps.pool.run(
    deepenTask,
    { packs, wants, clientShallow, depth: resolveDepth(context.refs, depth) },
    { signal },
  );
}

function resolveDepth(refs: RefSnapshot, depth: DepthRequest): DeepenBy {
  if (depth.by === "depth") return depth;
  return { ...depth, not: depth.not.map((name) => expandRef(refs, name)) };
}

/** Places where Git looks for a short name, in this order. gitrevisions(7) "<refname>". */
const RULES: readonly ((name: string) => string)[] = [
  (name) => name,
  (name) => `refs/${name}`,
  (name) => `refs/tags/${name}`,
  (name) => `refs/heads/${name}`,
  (name) => `refs/remotes/${name}`,
  (name) => `refs/remotes/${name}/HEAD`,
];

/** Throws "wire/bad-request" where no ref has this name, or several have. */
function expandRef(refs: RefSnapshot, name: string): Oid {
  const found = RULES.flatMap((rule) => findRef(refs, rule(name)) ?? []);
  if (found.length === 0)
    throw new Fault("wire/bad-request", { reason: "deepen-not is not a ref", ref: name });
  if (found.length > 1)
    throw new Fault("wire/bad-request", { reason: "deepen-not is an ambiguous ref", ref: name });
  return (found[0] as Ref).oid;
}

/** A ref by its full name; "HEAD" is what it points at. */
export function findRef(refs: RefSnapshot, name: string): Ref | undefined {
  return refs.byName.get(name === "HEAD" ? refs.head : name);
}

/**
 * The filter with every `sparse:oid` as an id. Throws "wire/bad-filter" where an expression names
 * nothing.
 */
export async function resolveFilter(
  context: FetchContext,
  filter: Filter | undefined,
): Promise<Filter | undefined> {
  if (filter === undefined) return undefined;
  if (filter.kind === "combine") {
    const filters = await Promise.all(filter.filters.map((part) => resolveSparse(context, part)));
    return { kind: "combine", filters };
  }
  return resolveSparse(context, filter);
}

type SimpleFilter = Exclude<Filter, { kind: "combine" }>;

async function resolveSparse(context: FetchContext, filter: SimpleFilter): Promise<SimpleFilter> {
  if (filter.kind !== "sparse:oid") return filter;
  // Which paths a blob's lines let through tells what stands in it: one may be named by its id only
  // where it may be fetched.
  const [named = ""] = filter.spec.split(":");
  const isHidden = isOid(named) && !(await visibleOf(context, [named])).has(named);
  const spec = isHidden ? undefined : await resolveSpec(context, filter.spec);
  if (spec === undefined || !context.has(spec))
    throw new Fault("wire/bad-filter", {
      reason: "no such blob of sparse patterns",
      spec: filter.spec,
    });
  return { kind: "sparse:oid", spec };
}

/** "<oid>", or "<ref or oid>:<path>". */
async function resolveSpec(context: FetchContext, spec: string): Promise<Oid | undefined> {
  if (isOid(spec)) return spec;
  const colon = spec.indexOf(":");
  if (colon < 0)
    return RULES.map((rule) => findRef(context.refs, rule(spec))?.oid).find(
      (oid) => oid !== undefined,
    );
  const name = spec.slice(0, colon);
  const oid = isOid(name)
    ? name
    : RULES.map((rule) => findRef(context.refs, rule(name))?.oid).find(
        (found) => found !== undefined,
      );
  if (oid === undefined) return undefined;
  const { deps, handles: packs, signal } = context;
  return deps.pool.run(resolvePathTask, { packs, oid, path: spec.slice(colon + 1) }, { signal });
}

/**
 * The part of a pack's request that the client's words decide; where its history ends is found from
 * them.
 */
export type AskedPack = Omit<PackRequest, "shallow" | "unshallow" | "unshallowParents" | "tags">;

/** The request of a pack: of `asked`, what can be had, with the tags that come along. */
export async function packRequest(
  context: FetchContext,
  asked: AskedPack,
  { shallow, unshallow, parents: unshallowParents }: Boundary,
  includeTag: boolean,
): Promise<PackRequest> {
  const tags = includeTag ? await tagsBeside(context, asked.wants) : [];
  // Without common ground a pack cannot be thin, and with a filter nobody knows which bases the
  // client was spared: then who can read thin packs gets the same as who cannot.
  const thin = asked.thin && asked.common.length > 0 && asked.filter === undefined;
  return { ...asked, thin, shallow, unshallow, unshallowParents, tags };
}

/** Annotated tags that are not asked for by themselves. */
async function tagsBeside(
  { refs, signal }: FetchContext,
  wants: readonly Oid[],
): Promise<TagRef[]> {
  const turns = new Turns(signal);
  const wanted = await distinct(wants, turns);
  const tags: TagRef[] = [];
  for (const { name, oid, peeled } of refs.refs) {
    if (turns.isDue) await turns.next();
    if (peeled !== undefined && name.startsWith("refs/tags/") && !wanted.has(oid))
      tags.push({ oid, peeled });
  }
  return tags;
}

/**
 * Returns whether every want has an ancestor among the common ids: then nothing more need be asked.
 */
export async function isReady(
  context: FetchContext,
  wants: readonly Oid[],
  common: readonly Oid[],
  shallow: readonly Oid[],
): Promise<boolean> {
  if (common.length === 0) return false;
  const { deps, handles: packs, signal } = context;
  return deps.pool.run(negotiateTask, { packs, wants, common, shallow }, { signal });
}
