/**
 * Contents that lakeFS still has alone, brought before a pack with blobs is made or a push is taken
 * in, while a person reads how far it is.
 */
import { asFault, Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import type { WantedCommits } from "../../lakefs/read/promised-blobs.js";
import type { PackRequest } from "../../odb/pack-objects/response-key.js";
import type { PromisedContents } from "../conversation/conversation.js";
import { contextOf, type FetchContext, isPromising } from "./context.js";
import type { PackReplyOptions } from "./pack-reply.js";
import { PushProgress } from "../conversation/progress.js";

/**
 * Returns whether contents must be brought before this can be answered: a clone without blobs does
 * without.
 */
export function needsContents(context: FetchContext, { filter }: PackRequest): boolean {
  return filter?.kind !== "blob:none" && isPromising(context);
}

/**
 * Brings what the pack needs, while the client reads how far it is, and opens the context anew.
 * Throws "lakefs/…".
 */
export async function bringContents(
  context: FetchContext,
  request: PackRequest,
  { output, mode, quiet, signal }: PackReplyOptions,
): Promise<FetchContext> {
  const { promised } = context.repository;
  if (promised === undefined) return context;
  const progress = new PushProgress(output, mode, quiet);
  try {
    await telling(
      promised,
      (line, done) => progress.report(line, done),
      () => promised.bringFor(commitsOf(request), signal),
    );
    await progress.settle();
    return await contextOf(context);
  } catch (error) {
    if (!signal.aborted) await progress.settle(); // what is said next is said behind it
    throw withWay(asFault(error), context.repository);
  } finally {
    progress.stop();
  }
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

/** Returns the commits that the answer is made of: of the client's own nothing is needed. */
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
