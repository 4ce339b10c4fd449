/** ls-refs: the refs a reader may see. gitprotocol-v2(5). */
import { type LsRefsRequest, lsRefsAnswer, type RefListing } from "../../wire/ls-refs.js";
import { findLakefsRefs, isLakefsRef } from "./commit-ids.js";
import type { Exchange } from "../conversation/conversation.js";
import { openContext, type UploadPackDeps } from "./context.js";

export async function listRefs(
  exchange: Exchange,
  deps: UploadPackDeps,
  request: LsRefsRequest,
): Promise<void> {
  const { repository, output, signal } = exchange;
  const named = repository.lakefs === undefined ? [] : request.prefixes.filter(isLakefsRef);
  const listing =
    named.length > 0
      ? await withLakefsRefs(exchange, deps, named)
      : await repository.refs.read(signal);
  await deps.answers.write(
    output,
    listing,
    questionOf(request),
    () => lsRefsAnswer(request, listing),
    exchange.stateless,
  );
}

function questionOf({ peel, symrefs, unborn, prefixes }: LsRefsRequest): string {
  return `ls-refs ${peel} ${symrefs} ${unborn} ${prefixes.join("\n")}`;
}

/**
 * All refs, and those of the lakeFS commits that were asked for by their full names: nobody else is
 * told of them.
 */
async function withLakefsRefs(
  exchange: Exchange,
  deps: UploadPackDeps,
  names: readonly string[],
): Promise<RefListing> {
  const context = await openContext(exchange, deps);
  const found = await findLakefsRefs(context, names);
  const { head, refs } = context.refs;
  return {
    head,
    refs: [...refs, ...found.values()].sort((left, right) => (left.name < right.name ? -1 : 1)),
  };
}
