/** The last part of every fetch: the pack, or why there is none. */
import { asFault } from "../../base/fault.js";
import { openFetchPack } from "../../odb/pack-objects/fetch-pack.js";
import { type PackStream, StoredPackStream } from "../../odb/pack-objects/pack-stream.js";
import type { PackRequest } from "../../odb/pack-objects/response-key.js";
import type { FetchContext } from "./context.js";
import { fatalPacket, type PackReplyOptions, sendPack } from "./pack-reply.js";
import { tell } from "../conversation/request-record.js";

/**
 * Finds the pack or has it begun. What fails at once (no thread to be had) fails here, before a
 * word is said.
 */
export async function openPack(context: FetchContext, request: PackRequest): Promise<PackStream> {
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

/**
 * As `openPack` and `replyWithPack`, where acknowledgements have been sent already: then a failure
 * can only be told in band 3.
 */
export async function replyAfterAcks(
  context: FetchContext,
  request: PackRequest,
  options: PackReplyOptions,
): Promise<void> {
  const { signal } = context;
  let stream: PackStream;
  try {
    stream = await openPack(context, request);
  } catch (error) {
    const fault = asFault(error);
    if (signal.aborted || options.mode === "none") throw fault;
    await options.output.write(fatalPacket(options.mode, tell(context.request, fault)));
    return;
  }
  await replyWithPack(context, stream, options);
}

/**
 * Sends the pack; a failure on the way goes to the client in band 3, or cuts the connection where
 * there are no bands.
 */
export async function replyWithPack(
  context: FetchContext,
  stream: PackStream,
  options: PackReplyOptions,
): Promise<void> {
  const { deps, repository, signal } = context;
  const source = stream instanceof StoredPackStream ? "stored" : "cache";
  try {
    const sent = await sendPack(stream, {
      ...options,
      onSent: (bytes) => deps.metrics.packSent(source, bytes),
    });
    context.request.note({ objects: sent.objects, packBytes: sent.bytes });
    deps.log.debug("pack sent", {
      request: context.request.id,
      repository: repository.title,
      ...sent,
    });
  } catch (error) {
    const fault = asFault(error);
    if (signal.aborted || options.mode === "none") throw fault;
    await options.output.write(fatalPacket(options.mode, tell(context.request, fault)));
  } finally {
    await stream.close();
  }
}
