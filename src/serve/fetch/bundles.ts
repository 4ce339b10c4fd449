/**
 * Bundles: what clones may read from a file before they fetch the rest.
 *
 * A bundle is offered only while every tip in it is reached from a ref that is there: what a
 * deleted ref had must not leave any more. It builds on the bundles before it, so that the first
 * one which may not be offered ends the list, and the next that is made may be a clone again.
 */
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { encodeBundleHead } from "../../git/bundle.js";
import type { Oid } from "../../git/oid.js";
import type { BundleLine } from "../../odb/manifest/bundle-line.js";
import { openFetchPack } from "../../odb/pack-objects/fetch-pack.js";
import type { PackRequest } from "../../odb/pack-objects/response-key.js";
import type { Ref, RefSnapshot } from "../../odb/ref-store.js";
import { bundleUriAnswer } from "../../wire/bundle-uri.js";
import { unknownCommand } from "../../wire/command-request.js";
import type { Exchange, Repository } from "../conversation/conversation.js";
import { UNRECORDED } from "../conversation/request-record.js";
import { type FetchContext, openContext, type UploadPackDeps } from "./context.js";
import { Sight } from "./wants.js";

/** What one bundle is to hold. */
interface Content {
  /** Branches and tags, HEAD's branch first. */
  readonly refs: readonly Ref[];
  readonly heads: readonly Oid[];
  readonly tags: readonly Oid[];
}

export interface MadeBundle {
  readonly line: BundleLine;
  /** Whether it stands by itself, or builds on those before. */
  readonly kind: "clone" | "catch-up";
}

/**
 * Makes what is in no bundle yet one more. Undefined: all is in one, or it would have less than
 * `bytesMin` bytes. Throws "bundle/off", "bundle/none", "bundle/too-large", "store/conflict".
 */
export async function makeBundle(
  repository: Repository,
  deps: UploadPackDeps,
  bytesMin: number,
  signal: AbortSignal,
): Promise<MadeBundle | undefined> {
  if (deps.bundles === undefined) throw new Fault("bundle/off");
  return deps.bundles.inTurn(async () => {
    const exchange = { request: UNRECORDED, repository, signal, stateless: true };
    return makeIn(await openContext(exchange, deps), bytesMin);
  }, signal);
}

/** Takes note of a clone, after which a bundle may be made. */
export function noteClone({ repository, packs, deps }: FetchContext): void {
  const { bundles, id, title } = repository;
  if (bundles === undefined) return;
  const bytes = packs.reduce((sum, pack) => sum + pack.bytes, 0);
  deps.bundles?.cloned({ id, bytes }, async (signal) => {
    if (!(await bundles.isThere())) return; // it was deleted meanwhile, and its files may be gone
    const made = await makeBundle(repository, deps, LIMITS.bundleBytesMin, signal);
    if (made === undefined) return;
    const { kind, line } = made;
    deps.log.info("bundle made", { repository: title, kind, bytes: line.bytes });
  });
}

/**
 * Returns whether bundle-uri is to be offered: to this client, of this repository as it was last
 * seen. Asking an object store would cost each advertisement a request; of a bundle that another
 * server has just made, the next client is told.
 */
export async function hasBundles(
  { repository, bundleLink, signal }: Exchange,
  { bundles }: UploadPackDeps,
): Promise<boolean> {
  if (bundles === undefined || bundleLink === undefined) return false;
  return ((await repository.bundles?.list(signal)) ?? []).length > 0;
}

/**
 * Answers bundle-uri: with an empty list where there are none any more, which a client takes.
 * Throws "wire/bad-request" where there never are.
 */
export async function answerBundleUri(exchange: Exchange, deps: UploadPackDeps): Promise<void> {
  const { bundleLink, repository } = exchange;
  if (bundleLink === undefined || deps.bundles === undefined || repository.bundles === undefined)
    throw unknownCommand("bundle-uri");
  const context = await openContext(exchange, deps);
  const lines = await offeredBundles(context);
  if (lines.length > 0) noteClone(context); // what follows tells of no clone any more
  const offers = lines.map((line) => {
    return { id: line.name, uri: bundleLink(line), creationToken: line.token };
  });
  await exchange.output.write(bundleUriAnswer(offers));
}

/** Returns the bundles that may be read now, oldest first. */
export async function offeredBundles(context: FetchContext): Promise<readonly BundleLine[]> {
  const lines = (await context.repository.bundles?.list(context.signal)) ?? [];
  const sight = await Sight.open(context);
  for (const [at, { heads, tags }] of lines.entries())
    for (const tip of [...heads, ...tags]) if (!(await sight.sees(tip))) return lines.slice(0, at);
  return lines;
}

async function makeIn(context: FetchContext, bytesMin: number): Promise<MadeBundle | undefined> {
  const { repository, refs, signal } = context;
  const { bundles } = repository;
  const content = contentOf(refs);
  if (bundles === undefined || content.refs.length === 0)
    throw new Fault("bundle/none", { name: repository.title });
  const before = await bundles.list(signal);
  const kept = chainToKeep(await bundles.sound(await offeredBundles(context), signal));
  const last = kept.at(-1);
  if (last !== undefined && holdsAll(last, content)) return undefined;
  const prerequisites = last?.heads ?? [];
  const pack = await openPack(context, content, prerequisites);
  try {
    const head = encodeBundleHead({ prerequisites, refs: namedRefs(refs, content) });
    const { heads, tags } = content;
    const token = nextToken(before);
    const draft = { head, pack, token, heads, tags, bytesMin };
    const line = await bundles.add(draft, { before, kept }, signal);
    return line && { line, kind: last === undefined ? "clone" : "catch-up" };
  } finally {
    await pack.close();
  }
}

/** Branches and tags, as many as a manifest should list: what is left out is fetched. */
function contentOf({ head, refs, byName }: RefSnapshot): Content {
  const first = byName.get(head);
  const under = (folder: string) =>
    refs.filter((ref) => ref.name.startsWith(folder) && ref !== first);
  const named = [...(first === undefined ? [] : [first]), ...under("refs/heads/")];
  const branches = named.slice(0, LIMITS.bundleRefsMax);
  const tags = under("refs/tags/").slice(0, LIMITS.bundleRefsMax - branches.length);
  return { refs: [...branches, ...tags], heads: idsOf(branches), tags: idsOf(tags) };
}

function idsOf(refs: readonly Ref[]): readonly Oid[] {
  return [...new Set(refs.map(({ oid }) => oid))];
}

/** HEAD first, so that a clone of the file alone knows what to check out. */
function namedRefs({ head }: RefSnapshot, { refs }: Content): readonly Ref[] {
  const [first] = refs;
  return first?.name === head ? [{ ...first, name: "HEAD" }, ...refs] : refs;
}

/**
 * A chain that has become long, or whose later bundles come to half of the first, is begun anew:
 * each bundle costs a clone requests, and holds what later ones hold in a better form. One without
 * branches has nothing to build on.
 */
function chainToKeep(lines: readonly BundleLine[]): readonly BundleLine[] {
  const [first, ...later] = lines;
  const bytes = later.reduce((sum, line) => sum + line.bytes, 0);
  const isWorn = lines.length >= LIMITS.bundlesMax || bytes > (first?.bytes ?? 0) / 2;
  return isWorn || lines.at(-1)?.heads.length === 0 ? [] : lines;
}

function holdsAll(last: BundleLine, { heads, tags }: Content): boolean {
  const held = new Set([...last.heads, ...last.tags]);
  return [...heads, ...tags].every((oid) => held.has(oid));
}

/** Tokens of a chain that is begun anew go on: a client remembers the largest that it has seen. */
function nextToken(before: readonly BundleLine[]): number {
  return Math.max(Math.floor(Date.now() / 1_000), (before.at(-1)?.token ?? 0) + 1);
}

/** The pack of a fetch of `content` by somebody who has `prerequisites`. */
function openPack(
  { deps, repository, packs, signal }: FetchContext,
  { heads, tags }: Content,
  prerequisites: readonly Oid[],
) {
  const request: PackRequest = {
    wants: [...new Set([...heads, ...tags])],
    common: prerequisites,
    clientShallow: [],
    shallow: [],
    unshallow: [],
    unshallowParents: [],
    filter: undefined,
    thin: prerequisites.length > 0,
    ofsDelta: true,
    tags: [],
  };
  const { pool, cache, checks } = deps;
  return openFetchPack({
    repositoryId: repository.id,
    packs,
    request,
    pool,
    cache,
    checks,
    signal,
  });
}
