/** The last part of every fetch: the pack, or why there is none. */
import { failureToTell } from "../../base/flow.js";
import { openFetchPack } from "../../odb/pack-objects/fetch-pack.js";
import { type PackStream, StoredPackStream } from "../../odb/pack-objects/pack-stream.js";
import type { PackRequest } from "../../odb/pack-objects/response-key.js";
import { bringContents, needsContents } from "./bring-contents.js";
import { noteClone } from "./bundles.js";
import type { FetchContext } from "./context.js";
import { fatalPacket, type PackReplyOptions, sendPack } from "./pack-reply.js";
import { tell } from "../conversation/request-record.js";

export interface ReplyOptions extends PackReplyOptions {
  /** Bytes to be said before the pack; undefined: they have been said. */
  readonly head: Uint8Array | undefined;
}

/**
 * Answers a fetch with its pack, whose contents are brought before where lakeFS has them alone.
 * Throws what is known before a word is said; later failures go to the client in band 3, or cut the
 * connection where there are no bands.
 */
export async function replyWithPack(
  context: FetchContext,
  request: PackRequest,
  { head, ...options }: ReplyOptions,
): Promise<void> {
  const mustBring = needsContents(context, request);
  const early = head === undefined || mustBring ? undefined : await openPack(context, request);
  try {
    if (head !== undefined) await options.output.write(head);
  } catch (error) {
    await early?.close();
    throw error;
  }
  try {
    const ready = mustBring ? await bringContents(context, request, options) : context;
    await send(context, early ?? (await openPack(ready, request)), options);
    if (isClone(request)) noteClone(context);
  } catch (error) {
    const fault = failureToTell(context.signal, error);
    if (context.signal.aborted || options.mode === "none") throw fault;
    await options.output.write(fatalPacket(options.mode, tell(context.request, fault)));
  }
}

/** Returns whether the client had nothing, and wanted all of it. */
function isClone({ common, clientShallow, shallow, filter }: PackRequest): boolean {
  return [common, clientShallow, shallow].every((list) => list.length === 0) && !filter;
}

/**
 * Finds the pack or has it begun. A failure at once (no thread to be had) fails here, before a word
 * is said.
 */
async function openPack(context: FetchContext, request: PackRequest): Promise<PackStream> {
  const { deps, repository, request: asked, packs, signal } = context;
  const stream = await openFetchPack({
    repositoryId: repository.id,
    packs,
    request,
    pool: deps.pool,
    cache: deps.cache,
    checks: deps.checks,
    signal,
    onGenerated: ({ plan, sizes: _sizes, ...figures }) =>
      deps.log.info("pack made", {
        request: asked.id,
        repository: repository.title,
        ...figures,
        ...plan,
      }),
  });
  await new Promise<void>((resolve) => setImmediate(resolve));
  const failure = stream.failure();
  if (failure === undefined) return stream;
  await stream.close();
  throw failure;
}

async function send(
  { deps, repository, request }: FetchContext,
  stream: PackStream,
  options: PackReplyOptions,
): Promise<void> {
  const source = stream instanceof StoredPackStream ? "stored" : "cache";
  try {
    const sent = await sendPack(stream, {
      ...options,
      onSent: (bytes) => deps.metrics.packSent(source, bytes),
    });
    request.note({ objects: sent.objects, packBytes: sent.bytes });
    deps.log.debug("pack sent", { request: request.id, repository: repository.title, ...sent });
  } finally {
    await stream.close();
  }
}
