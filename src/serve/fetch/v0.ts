/**
 * The fetch conversation of versions 0 and 1: wants, boundaries, rounds of haves, a pack.
 * gitprotocol-pack(5) "Packfile Negotiation"; the order of acknowledgments is that of Git's
 * upload-pack, which clients have been written against.
 */
import { Fault } from "../../base/fault.js";
import { Turns } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { distinct } from "../../base/long-lists.js";
import type { Oid } from "../../git/oid.js";
import { bandMode } from "../../wire/capabilities.js";
import {
  AckWriter,
  HaveLines,
  shallowUpdate,
  type UploadRequest,
  UploadRequestReader,
} from "../../wire/upload-request.js";
import type { Exchange } from "../conversation/conversation.js";
import { type FetchContext, openContext, type UploadPackDeps } from "./context.js";
import { fetchNotices } from "./notices.js";
import { replyWithPack } from "./reply.js";
import { isReady, resolveBoundary, resolveFilter, packRequest } from "./resolve.js";
import { PacketInput } from "../conversation/packet-input.js";
import { checkWants, Sight, visibleOf } from "./wants.js";

export async function fetchVersion0(exchange: Exchange, deps: UploadPackDeps): Promise<void> {
  const packets = new PacketInput(exchange.input, LIMITS.fetchRequestBytesMax);
  const request = await readRequest(packets, deps, exchange.stateless);
  if (request === undefined) return;
  if (request.wants.length === 0) return exchange.stateless ? packets.expectEnd() : undefined;
  const context = await openContext(exchange, deps, request.wants, request.filter);
  const wants = [...(await distinct(request.wants, new Turns(exchange.signal)))];
  await checkWants(context, wants, !exchange.stateless && !deps.offer.allowReachableInWant);
  const clientShallow = [...(await visibleOf(context, request.shallows))];
  const boundary = await resolveBoundary(context, wants, clientShallow, request.depth);
  const filter = await resolveFilter(context, request.filter);
  if (request.depth !== undefined)
    await exchange.output.write(shallowUpdate(boundary.shallow, boundary.unshallow));
  const sight = await Sight.open(context);
  const common = await new Negotiation(
    exchange,
    context,
    { ...request, shallows: clientShallow },
    wants,
    sight,
  ).run(packets);
  if (common === undefined) return;
  const { capabilities } = request;
  const [thin, ofsDelta] = [capabilities.has("thin-pack"), capabilities.has("ofs-delta")];
  const asked = { wants, common, clientShallow, filter, thin, ofsDelta };
  const notices = await fetchNotices(context, wants, common);
  const pack = await packRequest(context, asked, boundary, capabilities.has("include-tag"));
  await replyWithPack(context, pack, {
    head: undefined, // acknowledgments have been sent
    mode: bandMode(capabilities),
    quiet: capabilities.has("no-progress"),
    notices,
    output: exchange.output,
    signal: exchange.signal,
  });
}

/**
 * The request up to its first flush; undefined where a connection ends before one. A request that
 * stands alone holds something.
 */
async function readRequest(
  packets: PacketInput,
  deps: UploadPackDeps,
  stateless: boolean,
): Promise<UploadRequest | undefined> {
  const reader = new UploadRequestReader(deps.offer);
  let started = false;
  for (let packet = await packets.next(); packet !== undefined; packet = await packets.next()) {
    started = true;
    const request = reader.take(packet);
    if (request !== undefined) return request;
  }
  if (started || stateless)
    throw new Fault("wire/truncated", { reason: "the request has no flush at its end" });
  return undefined;
}

/** A request with those shallows that the client may name. */
type CheckedRequest = UploadRequest & { readonly shallows: readonly Oid[] };

type AckMode = "single" | "multi" | "detailed";

class Negotiation {
  readonly #exchange: Exchange;
  readonly #context: FetchContext;
  readonly #request: CheckedRequest;
  readonly #wants: readonly Oid[];
  readonly #mode: AckMode;
  readonly #common = new Set<Oid>();
  /** Acknowledged though they are not here. */
  readonly #others = new Set<Oid>();
  readonly #acks = new AckWriter();
  readonly #sight: Sight;
  #last: Oid | undefined;
  /** Once true it stays true; `#askedAt` is the number of common ids it was last asked for. */
  #ready = false;
  #askedAt = 0;

  constructor(
    exchange: Exchange,
    context: FetchContext,
    request: CheckedRequest,
    wants: readonly Oid[],
    sight: Sight,
  ) {
    this.#exchange = exchange;
    this.#context = context;
    this.#request = request;
    this.#wants = wants;
    this.#sight = sight;
    const { capabilities } = request;
    this.#mode = capabilities.has("multi_ack_detailed")
      ? "detailed"
      : capabilities.has("multi_ack")
        ? "multi"
        : "single";
  }

  /**
   * Returns the ids that both sides have, once a pack is to follow; undefined where this request
   * ends without one.
   */
  async run(packets: PacketInput): Promise<readonly Oid[] | undefined> {
    const lines = new HaveLines();
    let round: Round = { common: false, other: false, sentReady: false };
    let started = false;
    for (let packet = await packets.next(); packet !== undefined; packet = await packets.next()) {
      started = true;
      const line = lines.take(packet);
      if (line.kind === "done") return this.#done();
      if (line.kind === "have") await this.#have(line.oid, round);
      else {
        if (await this.#flush(round)) return [...this.#common];
        if (this.#exchange.stateless) return undefined;
        round = { common: false, other: false, sentReady: round.sentReady };
      }
    }
    // Over HTTP a client reads the boundaries first and comes back with its haves: the stream may
    // end there, and nowhere else.
    if (started || this.#request.depth === undefined)
      throw new Fault("wire/truncated", {
        reason: "the haves have neither a flush nor done at their end",
      });
    return undefined;
  }

  async #have(oid: Oid, round: Round): Promise<void> {
    if (await this.#sight.sees(oid)) {
      round.common = true;
      this.#last = oid;
      if (this.#common.has(oid)) return;
      this.#common.add(oid);
      if (this.#mode === "detailed") this.#acks.ack(oid, "common");
      else if (this.#mode === "multi") this.#acks.ack(oid, "continue");
      else if (this.#common.size === 1) this.#acks.ack(oid, "");
      return;
    }
    round.other = true;
    if (this.#mode === "single" || this.#others.has(oid) || !(await this.#isReady(2))) return;
    this.#others.add(oid);
    if (this.#mode === "detailed") round.sentReady = true;
    this.#acks.ack(oid, this.#mode === "detailed" ? "ready" : "continue");
  }

  /** End of a round; true when the pack follows at once (no-done). */
  async #flush(round: Round): Promise<boolean> {
    if (
      this.#mode === "detailed" &&
      round.common &&
      !round.other &&
      this.#last !== undefined &&
      (await this.#isReady())
    ) {
      round.sentReady = true;
      this.#acks.ack(this.#last, "ready");
    }
    if (this.#common.size === 0 || this.#mode !== "single") this.#acks.nak();
    const isLast =
      this.#request.capabilities.has("no-done") && round.sentReady && this.#last !== undefined;
    if (isLast && this.#last !== undefined) this.#acks.ack(this.#last, "");
    await this.#send();
    return isLast;
  }

  async #done(): Promise<readonly Oid[]> {
    if (this.#last === undefined) this.#acks.nak();
    else if (this.#mode !== "single") this.#acks.ack(this.#last, "");
    await this.#send();
    return [...this.#common];
  }

  /**
   * Asked again only when `times` as much is known as the last time, and more: haves that come one
   * by one would have it asked for each.
   */
  async #isReady(times = 1): Promise<boolean> {
    if (
      this.#ready ||
      this.#askedAt === this.#common.size ||
      this.#common.size < times * this.#askedAt
    )
      return this.#ready;
    this.#askedAt = this.#common.size;
    this.#ready = await isReady(
      this.#context,
      this.#wants,
      [...this.#common],
      this.#request.shallows,
    );
    return this.#ready;
  }

  async #send(): Promise<void> {
    const bytes = this.#acks.take();
    if (bytes.length > 0) await this.#exchange.output.write(bytes);
  }
}

interface Round {
  common: boolean;
  other: boolean;
  sentReady: boolean;
}
