/**
 * A fetch, whatever carries it: the conversation of versions 0 and 1, and the commands of version
 * 2.
 *
 * Source: gitprotocol-pack(5), gitprotocol-v2(5).
 */
import { Fault } from "../../base/fault.js";
import { failureToTell } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { capabilityAdvertisement, refAdvertisement } from "../../wire/advertise.js";
import { type CommandRequest, CommandRequestReader } from "../../wire/command-request.js";
import { errorPacket } from "../../wire/pkt-line.js";
import type { Exchange } from "../conversation/conversation.js";
import { answerBundleUri, hasBundles } from "./bundles.js";
import { openContext, type UploadPackDeps } from "./context.js";
import { fetchVersion0 } from "./v0.js";
import { fetchVersion2 } from "./v2.js";
import { listRefs } from "./ls-refs.js";
import { answerObjectInfo } from "./object-info.js";
import { PacketInput } from "../conversation/packet-input.js";
import { tell } from "../conversation/request-record.js";
import { TrackedSink } from "../conversation/tracked-sink.js";

export type { UploadPackDeps } from "./context.js";

/** Refs in versions 0 and 1, capabilities in version 2. */
export async function advertiseUploadPack(exchange: Exchange, deps: UploadPackDeps): Promise<void> {
  const { output, repository, version, signal } = exchange;
  if (version === 2) {
    const offer = { ...deps.offer, bundleUri: await hasBundles(exchange, deps) };
    return output.write(capabilityAdvertisement(offer));
  }
  const listing = await repository.refs.read(signal);
  await deps.answers.write(output, listing, `upload-pack ${version}`, () =>
    refAdvertisement({ ...listing, service: "upload-pack", version, offer: deps.offer }),
  );
}

/**
 * Reads a request and answers it; on a connection that stays open, one request of version 2 after
 * another. A fault of a request is told as `ERR`. Throws what must become a status (the server is
 * busy) or cut the connection (the client is gone).
 */
export async function uploadPack(exchange: Exchange, deps: UploadPackDeps): Promise<void> {
  const output = new TrackedSink(exchange.output);
  const tracked = { ...exchange, output };
  try {
    if (exchange.version === 2) await serveCommands(tracked, deps);
    else await fetchVersion0(tracked, deps);
  } catch (error) {
    const fault = failureToTell(exchange.signal, error);
    if (exchange.signal.aborted) throw fault;
    if (fault.code === "pool/saturated" && output.bytes === 0) throw fault; // 503: come again
    await output.write(errorPacket(tell(exchange.request, fault)));
  }
}

async function serveCommands(exchange: Exchange, deps: UploadPackDeps): Promise<void> {
  let input = exchange.input;
  do {
    // One limit a command; what came in behind it belongs to the next.
    const packets = new PacketInput(input, LIMITS.fetchRequestBytesMax);
    const request = await readCommand(packets, exchange.stateless);
    if (request === undefined) return;
    if (request.command === "none") return exchange.stateless ? packets.expectEnd() : undefined;
    input = packets.rest();
    await answerCommand(exchange, deps, request);
  } while (!exchange.stateless);
}

/**
 * The next command; undefined where a connection ends before one. A request that stands alone holds
 * something.
 */
async function readCommand(
  packets: PacketInput,
  stateless: boolean,
): Promise<CommandRequest | undefined> {
  const reader = new CommandRequestReader();
  for (let packet = await packets.next(); packet !== undefined; packet = await packets.next()) {
    const request = reader.take(packet);
    if (request !== undefined) return request;
  }
  if (reader.started || stateless)
    throw new Fault("wire/truncated", { reason: "the request has no flush at its end" });
  return undefined;
}

async function answerCommand(
  exchange: Exchange,
  deps: UploadPackDeps,
  request: CommandRequest,
): Promise<void> {
  switch (request.command) {
    case "ls-refs":
      return listRefs(exchange, deps, request.arguments);
    case "fetch":
      return fetchVersion2(
        await openContext(exchange, deps, request.arguments.wants, request.arguments.filter),
        exchange.output,
        request.arguments,
      );
    case "object-info":
      return answerObjectInfo(
        await openContext(exchange, deps, request.arguments.oids),
        exchange.output,
        request.arguments,
      );
    case "bundle-uri":
      return answerBundleUri(exchange, deps);
    case "none":
      return;
  }
}
