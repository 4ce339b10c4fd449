/** The fetch command of version 2. gitprotocol-v2(5) "fetch". */
import { Fault } from "../../base/fault.js";
import { type ByteSink, Turns } from "../../base/flow.js";
import { distinct } from "../../base/long-lists.js";
import type { Oid } from "../../git/oid.js";
import { FetchAnswer, type FetchRequest } from "../../wire/fetch.js";
import { findLakefsRefs } from "./commit-ids.js";
import type { FetchContext } from "./context.js";
import { fetchNotices } from "./notices.js";
import { replyWithPack } from "./reply.js";
import { findRef, isReady, resolveBoundary, resolveFilter, packRequest } from "./resolve.js";
import { checkWants, visibleOf } from "./wants.js";

/** A request with those shallows that the client may name. */
type CheckedRequest = FetchRequest & { readonly shallows: readonly Oid[] };

interface WantedRef {
  readonly name: string;
  readonly oid: Oid;
}

/** Faults before the pack section are the caller's to tell. */
export async function fetchVersion2(
  context: FetchContext,
  output: ByteSink,
  request: FetchRequest,
): Promise<void> {
  const answer = new FetchAnswer(request.sidebandAll);
  const wantedRefs = await resolveWantRefs(context, request.wantRefs);
  const named = await distinct(request.wants, new Turns(context.signal));
  await checkWants(context, [...named], false);
  for (const { oid } of wantedRefs) named.add(oid);
  const wants = [...named];
  const common = [...(await visibleOf(context, request.haves))];
  const clientShallow = [...(await visibleOf(context, request.shallows))];
  if (!(await negotiate(context, { ...request, shallows: clientShallow }, wants, common, answer)))
    return output.write(answer.finish().take());
  const boundary = await resolveBoundary(context, wants, clientShallow, request.depth);
  const filter = await resolveFilter(context, request.filter);
  const { thinPack: thin, ofsDelta, includeTag } = request;
  const asked = { wants, common, clientShallow, filter, thin, ofsDelta };
  const notices = await fetchNotices(context, wants, common);
  const pack = await packRequest(context, asked, boundary, includeTag);
  await replyWithPack(context, pack, {
    head: answer
      .shallowInfo(boundary.shallow, boundary.unshallow)
      .wantedRefs(wantedRefs)
      .packfile()
      .take(),
    mode: "side-band-64k",
    quiet: request.noProgress,
    notices,
    output,
    signal: context.signal,
  });
}

/** Writes the acknowledgments where they are due; true when a pack follows. */
async function negotiate(
  context: FetchContext,
  request: CheckedRequest,
  wants: readonly Oid[],
  common: readonly Oid[],
  answer: FetchAnswer,
): Promise<boolean> {
  const { haves, done, waitForDone, shallows } = request;
  if (wants.length === 0 && !(waitForDone && haves.length > 0))
    throw new Fault("wire/bad-request", { reason: "nothing is wanted" });
  if (done || (haves.length === 0 && wants.length > 0)) return wants.length > 0;
  const ready = !waitForDone && (await isReady(context, wants, common, shallows));
  answer.acknowledgments(common, ready);
  return ready;
}

async function resolveWantRefs(
  context: FetchContext,
  names: readonly string[],
): Promise<WantedRef[]> {
  if (names.length === 0) return [];
  const byLakefsId = await findLakefsRefs(context, names);
  return names.map((name) => {
    const ref = findRef(context.refs, name) ?? byLakefsId.get(name);
    if (ref === undefined) throw new Fault("wire/bad-request", { reason: `unknown ref ${name}` });
    return { name, oid: ref.oid };
  });
}
