/**
 * The first message of a server: refs and capabilities in versions 0 and 1, capabilities alone in
 * version 2.
 *
 *   [version 1 LF] <oid> HEAD NUL <capabilities> LF, <oid> <name> LF, <oid> <name>^{} LF …,
 *   [shallow <oid> LF …], flush
 *
 * Source: gitprotocol-pack(5) "Reference Discovery"; gitprotocol-v2(5) "Capability Advertisement";
 * gitprotocol-http(5) "Smart Server Response".
 */
import { ZERO_OID, type Oid } from "../git/oid.js";
import { lowerBound } from "../git/ref-name.js";
import { advertisedLines, advertisedList, type Offer } from "./capabilities.js";
import { LineWriter } from "./pkt-line.js";

export interface AdvertisedRef {
  /** Full name, latin1 text. */
  readonly name: string;
  readonly oid: Oid;
  /** The object an annotated tag finally points at. */
  readonly peeled?: Oid;
}

export interface RefAdvertisement {
  readonly service: "upload-pack" | "receive-pack";
  /**
   * 1 says so in a first line; a client that asked receive-pack for 2 gets 0: there is no version 2
   * push.
   */
  readonly version: 0 | 1;
  /** Full name HEAD points at; advertised only by upload-pack, and only if that ref exists. */
  readonly head: string;
  /** Sorted bytewise by name. */
  readonly refs: readonly AdvertisedRef[];
  readonly offer: Offer;
  /** Commits whose parents this server does not hold. */
  readonly shallow?: readonly Oid[];
}

/**
 * Text is handed on when this much has gathered: an advertisement of a million refs never lies in
 * memory whole.
 */
const CHUNK_BYTES = 64 * 1024;

/**
 * `# service=git-upload-pack` and a flush: how an answer over HTTP starts unless version 2 was
 * asked for.
 */
export function serviceAnnouncement(service: "upload-pack" | "receive-pack"): Uint8Array {
  return new LineWriter().line(`# service=git-${service}`).flush().take();
}

/** The advertisement of versions 0 and 1 in pieces of about 64 KiB, each a new array. */
export function* refAdvertisement(advertisement: RefAdvertisement): Generator<Uint8Array> {
  const { service, refs, offer } = advertisement;
  const writer = new LineWriter();
  if (advertisement.version === 1) writer.line("version 1");
  const head = service === "upload-pack" ? headOf(advertisement) : undefined;
  // Capabilities stand behind the first ref, or behind a name no ref can have.
  let tail = `\0${advertisedList(service, offer, head && advertisement.head)}`;
  if (head === undefined && refs.length === 0) writer.line(`${ZERO_OID} capabilities^{}${tail}`);
  if (head !== undefined) {
    writer.line(`${head.oid} HEAD${tail}`);
    if (head.peeled !== undefined) writer.line(`${head.peeled} HEAD^{}`);
    tail = "";
  }
  for (const ref of refs) {
    writer.line(`${ref.oid} ${ref.name}${tail}`);
    tail = "";
    // Git's receive-pack peels nothing: a pusher needs only what stands there now.
    if (ref.peeled !== undefined && service === "upload-pack")
      writer.line(`${ref.peeled} ${ref.name}^{}`);
    if (writer.length >= CHUNK_BYTES) yield writer.take();
  }
  for (const oid of advertisement.shallow ?? []) writer.line(`shallow ${oid}`);
  yield writer.flush().take();
}

/** The ref HEAD points at, if it exists. */
function headOf({ head, refs }: RefAdvertisement): AdvertisedRef | undefined {
  const ref = refs[lowerBound(refs, head)];
  return ref?.name === head ? ref : undefined;
}

/** Version 2: what the server can do; refs come with ls-refs. */
export function capabilityAdvertisement(offer: Offer): Uint8Array {
  const writer = new LineWriter().line("version 2");
  for (const line of advertisedLines(offer)) writer.line(line);
  return writer.flush().take();
}
