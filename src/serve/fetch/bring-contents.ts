/**
 * Contents that lakeFS still has alone, brought before a pack with blobs is made or a push is taken
 * in, while a person reads how far it is.
 */
import { asFault, Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import type { WantedCommits } from "../../lakefs/read/promised-blobs.js";
import type { PackStream } from "../../odb/pack-objects/pack-stream.js";
import type { PackRequest } from "../../odb/pack-objects/response-key.js";
import type { PromisedContents } from "../conversation/conversation.js";
import { contextOf, type FetchContext, isPromising } from "./context.js";
import { openPack, replyWithPack } from "./reply.js";
import { fatalPacket, type PackReplyOptions } from "./pack-reply.js";
import { PushProgress } from "../conversation/progress.js";
import { tell } from "../conversation/request-record.js";

/**
 * Whether contents must be brought before this can be answered: a clone without blobs does without.
 */
export function needsContents(context: FetchContext, { filter }: PackRequest): boolean {
  return filter?.kind !== "blob:none" && isPromising(context);
}

/**
 * Sends the pack once its contents are here. What goes wrong on the way is told in band 3: the head
 * of the answer has left.
 */
export async function replyWhenBrought(
  context: FetchContext,
  request: PackRequest,
  options: PackReplyOptions,
): Promise<void> {
  const { repository, signal } = context;
  const progress = new PushProgress(options.output, options.mode, options.quiet);
  let stream: PackStream;
  try {
    const { promised } = repository;
    if (promised !== undefined)
      await telling(
        promised,
        (line, done) => progress.report(line, done),
        () => promised.bringFor(commitsOf(request), signal),
      );
    await progress.settle();
    stream = await openPack(await contextOf(context), request);
  } catch (error) {
    const fault = withWay(asFault(error), repository);
    if (signal.aborted || options.mode === "none") throw fault;
    await progress.settle();
    return options.output.write(fatalPacket(options.mode, tell(context.request, fault)));
  } finally {
    progress.stop();
  }
  return replyWithPack(context, stream, options);
}

/** Old data that lakeFS's collection has removed keeps nobody from the newest commits. */
function withWay(fault: Fault, { lakefs }: FetchContext["repository"]): Fault {
  if (lakefs === undefined || fault.code !== "lakefs/gone") return fault;
  return new Fault(
    fault.code,
    { ...fault.facts, way: "--depth=1 or --filter=blob:none needs no files of old commits" },
    fault,
  );
}

/** What the answer is made of: of the client's own commits nothing is needed. */
function commitsOf({
  wants,
  unshallowParents,
  common,
  clientShallow,
  shallow,
}: PackRequest): WantedCommits {
  return { wants: [...wants, ...unshallowParents], haves: common, clientShallow, shallow };
}

/** Brings whatever can be; `say` gets lines a person reads. */
export function bringAll(
  promised: PromisedContents,
  say: (line: string, done: boolean) => void,
  signal: AbortSignal,
): Promise<void> {
  return telling(promised, say, () => promised.bringAll(signal));
}

async function telling(
  promised: PromisedContents,
  say: (line: string, done: boolean) => void,
  work: () => Promise<void>,
): Promise<void> {
  const line = () =>
    `Reading from lakeFS: ${promised.progress.blobs.toLocaleString("en")}/${promised.progress.total.toLocaleString("en")} files`;
  const timer = setInterval(() => say(line(), false), LIMITS.progressMs);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  say(`${line()}, done.`, true);
}
