/**
 * `lakepack/wire`: the messages of Git's protocols 0, 1 and 2 as functions on bytes, for both sides
 * of a conversation as far as a server needs them. Nothing here does I/O or waits. A message that
 * breaks the protocol throws a `Fault` ("wire/…"). docs/library.md has examples.
 */
export {
  type AdvertisedRef,
  capabilityAdvertisement,
  type RefAdvertisement,
  refAdvertisement,
  serviceAnnouncement,
} from "../wire/advertise.js";
export type { ClientCapabilities, Offer } from "../wire/capabilities.js";
export { readCapabilities } from "../wire/capabilities.js";
export { type Filter, formatFilter, parseFilter } from "../wire/filter.js";
export {
  DELIM,
  errorPacket,
  FLUSH,
  lineText,
  LineWriter,
  type Packet,
  packet,
  type PacketRead,
  PacketReader,
  readPacket,
  RESPONSE_END,
  type SpecialKind,
} from "../wire/pkt-line.js";
export {
  type CommandStatus,
  type PushCommand,
  type PushReport,
  type PushRequest,
  PushRequestReader,
  reportPieces,
  type RewrittenRef,
} from "../wire/push.js";
export {
  type Band,
  bandDataBytesMax,
  banded,
  bandedText,
  type BandMode,
  KEEP_ALIVE,
  PackFrame,
} from "../wire/sideband.js";
