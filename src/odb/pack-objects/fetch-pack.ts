/**
 * From a resolved fetch to the stream of its pack: as it lies in the store, out of the response
 * cache, or made in the pool.
 */
import { asFault } from "../../base/fault.js";
import { Turns } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { distinct } from "../../base/long-lists.js";
import type { Oid } from "../../git/oid.js";
import { type GenerateResult, generateTask, type GenerationNews, helpTask } from "./tasks.js";
import type { WalkRequest } from "../walk/tasks.js";
import { type PackHandle, toHandles } from "../packs/handle.js";
import { servePort } from "../../pool/port.js";
import type { Pool } from "../../pool/task.js";
import type { LivePack } from "../object-database.js";
import type { PackChecks } from "../packs/checks.js";
import { PackLookup } from "../packs/lookup.js";
import { type PackStream, StoredPackStream } from "./pack-stream.js";
import type { Growth, PackMaker, ResponseCache } from "./response-cache.js";
import { type PackRequest, responseKey } from "./response-key.js";
import { sizeLimitOf, withSizeLimit } from "../walk/size-limits.js";
import { checkPackTask } from "../packs/tasks.js";

export interface FetchPackInput {
  readonly repositoryId: string;
  readonly packs: readonly LivePack[];
  readonly request: PackRequest;
  readonly pool: Pool;
  readonly cache: ResponseCache;
  readonly checks: PackChecks;
  readonly signal: AbortSignal;
  /** For the log: what a generation has cost. */
  readonly onGenerated?: (result: GenerateResult) => void;
}

/** Wants have been checked; the caller closes the stream. */
export async function openFetchPack(input: FetchPackInput): Promise<PackStream> {
  const { request, packs, checks, pool, signal } = input;
  const stored = await findAsItLies(packs, request, signal);
  await checks.check(stored === undefined ? packs : [stored], pool, signal);
  if (stored !== undefined) return StoredPackStream.open(stored);
  return openCached(input);
}

/**
 * A limit of blob sizes that is known to come to the same as another goes by that one's name: else
 * each number would be a pack of its own.
 */
async function openCached(input: FetchPackInput): Promise<PackStream> {
  const { request, cache, repositoryId, signal } = input;
  const { filter } = request;
  const bytes = sizeLimitOf(filter);
  if (filter === undefined || bytes === undefined)
    return cache.stream(await responseKey(repositoryId, request, signal), packMaker(input), signal);
  const family = await responseKey(
    repositoryId,
    { ...request, filter: withSizeLimit(filter, 0) },
    signal,
  );
  const asked = {
    ...request,
    filter: withSizeLimit(filter, cache.sizeLimits.standIn(family, bytes)),
  };
  const onGenerated = (result: GenerateResult) => {
    cache.sizeLimits.learn(family, bytes, result.sizes);
    input.onGenerated?.(result);
  };
  return cache.stream(
    await responseKey(repositoryId, asked, signal),
    packMaker({ ...input, request: asked, onGenerated }),
    signal,
  );
}

/**
 * A stored pack that is exactly what is asked for: nothing in it links out of it, the wants are in
 * it and cover its tips, and nothing limits the answer.
 */
async function findAsItLies(
  packs: readonly LivePack[],
  request: PackRequest,
  signal?: AbortSignal,
): Promise<LivePack | undefined> {
  const { common, clientShallow, shallow, unshallow, filter, ofsDelta } = request;
  const isPlain =
    common.length === 0 &&
    clientShallow.length === 0 &&
    shallow.length === 0 &&
    unshallow.length === 0 &&
    filter === undefined;
  if (!isPlain || !ofsDelta) return undefined;
  const turns = new Turns(signal);
  const wants = await distinct(request.wants, turns);
  for (const pack of packs) if (await coversExactly(pack, wants, request, turns)) return pack;
  return undefined;
}

async function coversExactly(
  pack: LivePack,
  wants: ReadonlySet<Oid>,
  { tags }: PackRequest,
  turns: Turns,
): Promise<boolean> {
  if (!pack.selfContained || pack.tips === undefined || !pack.tips.every((tip) => wants.has(tip)))
    return false;
  const lookup = new PackLookup(pack);
  for (const want of wants) {
    if (turns.isDue) await turns.next();
    if (lookup.findOid(want) < 0) return false;
  }
  // A tag that would have to come along and is in another pack.
  return !tags.some(({ oid, peeled }) => lookup.findOid(peeled) >= 0 && lookup.findOid(oid) < 0);
}

function packMaker({ packs, request, pool, onGenerated }: FetchPackInput): PackMaker {
  const handles = toHandles(packs);
  return {
    check: (path, signal) => pool.run(checkPackTask, { path }, { signal }),
    async generate(path, growth, signal) {
      const result = await generate(pool, handles, toWalk(request, packs), {
        request,
        path,
        growth,
        signal,
      });
      onGenerated?.(result);
      return result;
    },
  };
}

interface GenerateInput {
  readonly request: PackRequest;
  readonly path: string;
  readonly growth: Growth;
  readonly signal: AbortSignal;
}

async function generate(
  pool: Pool,
  packs: readonly PackHandle[],
  walk: WalkRequest,
  { request, path, growth, signal }: GenerateInput,
): Promise<GenerateResult> {
  const helping: Promise<unknown>[] = [];
  const done = new AbortController();
  const onNews = (news: GenerationNews): void => {
    if (news.kind === "found") growth.foundMore(news.objects);
    else if (news.kind === "planned") growth.planned(news.plan);
    else if (news.kind === "written") growth.written(news.bytes, news.objects);
    else
      helping.push(...askForHelp(pool, packs, news.board, AbortSignal.any([signal, done.signal])));
  };
  const { port, close } = servePort<GenerationNews>({ onNews, answers: {} });
  try {
    const { thin, ofsDelta } = request;
    const message = { packs, walk, thin, ofsDelta, path, port };
    return await pool.run(generateTask, message, { signal, transfer: [port] });
  } finally {
    close();
    done.abort(); // helpers that still wait for a thread
    await Promise.allSettled(helping);
  }
}

/**
 * As many threads as there are beside the one that writes. Whether they come in time does not
 * matter.
 */
function askForHelp(
  pool: Pool,
  packs: readonly PackHandle[],
  board: Extract<GenerationNews, { kind: "board" }>["board"],
  signal: AbortSignal,
): Promise<unknown>[] {
  const batches = board.entries.byteLength / 16 / LIMITS.deflateBatchObjects;
  const helpers = Math.min(pool.threads - 1, Math.floor(batches));
  return Array.from({ length: helpers }, () =>
    pool
      .run(helpTask, { packs, board }, { signal, priority: "background" })
      .catch((error: unknown) => asFault(error)),
  );
}

/**
 * Git's rule for deepening: what was the boundary is wanted from its parents on, and counts as had
 * itself.
 */
function toWalk(request: PackRequest, packs: readonly LivePack[]): WalkRequest {
  const { wants, common, clientShallow, shallow, unshallow, unshallowParents, filter, tags } =
    request;
  const packTips = closedPackTips(packs);
  return {
    wants: [...wants, ...unshallowParents],
    haves: [...common, ...unshallow],
    shallow: [...clientShallow, ...shallow],
    tags,
    ...(filter === undefined ? {} : { filter }),
    ...(packTips === undefined ? {} : { packTips }),
  };
}

/**
 * The tips of each pack, by checksum; undefined where a pack is not closed, or its tips are too
 * many to be known.
 */
export function closedPackTips(
  packs: readonly LivePack[],
): Readonly<Record<string, readonly Oid[]>> | undefined {
  if (!packs.every((pack) => pack.closed && pack.tips !== undefined)) return undefined;
  return Object.fromEntries(packs.map(({ checksum, tips }) => [checksum, tips ?? []]));
}
