/**
 * A push: the command list that comes in before the pack, and the report that goes out.
 *
 *   [shallow <oid> …] <old> <new> <name> NUL <capabilities>, <old> <new> <name> …, flush, [option
 *   …, flush,] pack unpack ok | unpack <reason>, ok <name> | ng <name> <reason> …, flush
 *
 * Source: gitprotocol-pack(5) "Reference Update Request and Packfile Transfer", "Report Status".
 */
import { concat, latin1, utf8 } from "../base/bytes.js";
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import { OID_HEX_LENGTH, type Oid, ZERO_OID } from "../git/oid.js";
import { badLine, LineBudget, readOid } from "./arguments.js";
import { bandMode, type ClientCapabilities, type Offer, readCapabilities } from "./capabilities.js";
import { FLUSH, lineText, LineWriter, oneLine, type Packet } from "./pkt-line.js";
import { type BandMode, banded } from "./sideband.js";

/**
 * One command. The name is the client's bytes as latin1 text and not yet checked: a bad one is `ng`
 * for its own ref.
 */
export interface PushCommand {
  readonly name: string;
  /** ZERO_OID: create. */
  readonly old: Oid;
  /** ZERO_OID: delete. */
  readonly new: Oid;
}

export interface PushRequest {
  /**
   * In order; a name may stand here twice. Empty: nothing to do (the probe before a large push).
   */
  readonly commands: readonly PushCommand[];
  readonly capabilities: ClientCapabilities;
  readonly bandMode: BandMode;
  readonly shallows: readonly Oid[];
  /** Latin1 text, in order. */
  readonly options: readonly string[];
  /** True if a pack follows: it does unless every command deletes. */
  readonly packFollows: boolean;
}

/** Takes the packets of a push up to where the pack begins. */
export class PushRequestReader {
  readonly #offer: Offer;
  readonly #budget = new LineBudget(LIMITS.pushCommandsMax);
  readonly #commands: PushCommand[] = [];
  readonly #shallows: Oid[] = [];
  readonly #options: string[] = [];
  #capabilities: ClientCapabilities = new Map();
  readonly #olds = new SameIds();
  readonly #news = new SameIds();
  #bytes = 0;
  #nameBytes = 0;
  #optionBytes = 0;
  #inOptions = false;

  constructor(offer: Offer) {
    this.#offer = offer;
  }

  /**
   * As far as it is known yet: what goes wrong later must be said in bands to a client that asked
   * for them.
   */
  get bandMode(): BandMode {
    return bandMode(this.#capabilities);
  }

  /** The request at its last flush, undefined before. Every deviation throws a "wire/…" Fault. */
  take(packet: Packet): PushRequest | undefined {
    if (packet.kind === "flush") return this.#flush();
    if (packet.kind !== "data")
      throw new Fault("wire/bad-request", { reason: `unexpected ${packet.kind} packet` });
    if (this.#inOptions) this.#takeOption(packet.payload);
    else this.#takeLine(packet.payload);
    return undefined;
  }

  #flush(): PushRequest | undefined {
    if (!this.#inOptions && this.#capabilities.has("push-options")) {
      this.#inOptions = true;
      return undefined;
    }
    return {
      commands: this.#commands,
      capabilities: this.#capabilities,
      bandMode: bandMode(this.#capabilities),
      shallows: this.#shallows,
      options: this.#options,
      packFollows: this.#commands.some((command) => command.new !== ZERO_OID),
    };
  }

  #takeLine(payload: Uint8Array): void {
    this.#budget.spend();
    this.#bytes += payload.length;
    if (this.#bytes > LIMITS.pushCommandBytesMax)
      throw new Fault("wire/too-much", { commandBytesMax: LIMITS.pushCommandBytesMax });
    const nul = payload.indexOf(0);
    const line = lineText(nul < 0 ? payload : payload.subarray(0, nul));
    if (nul >= 0) this.#takeCapabilities(lineText(payload.subarray(nul + 1)), line);
    if (line.startsWith("shallow "))
      this.#shallows.push(readOid(line.slice("shallow ".length), line));
    else if (line === "push-cert")
      throw new Fault("wire/unknown-capability", { name: "push-cert" });
    else this.#takeCommand(this.#readCommand(line));
  }

  #takeCommand(command: PushCommand): void {
    this.#nameBytes += command.name.length;
    if (this.#nameBytes > LIMITS.pushRefNameBytesMax) {
      throw new Fault("wire/too-much", {
        refNameBytesMax: LIMITS.pushRefNameBytesMax,
        advice: "push fewer refs at a time",
      });
    }
    this.#commands.push(command);
  }

  /** "<old> <new> <name>". */
  #readCommand(line: string): PushCommand {
    if (line.length <= NAME_AT || line[NEW_AT - 1] !== " " || line[NAME_AT - 1] !== " ")
      throw badLine("<old> <new> <ref>", line);
    const name = line.slice(NAME_AT);
    if (name.length > LIMITS.refNameBytesMax)
      throw new Fault("wire/too-much", { refNameBytesMax: LIMITS.refNameBytesMax });
    const old = this.#olds.of(readOid(line.slice(0, OID_HEX_LENGTH), line));
    return { old, new: this.#news.of(readOid(line.slice(NEW_AT, NAME_AT - 1), line)), name };
  }

  /**
   * Capabilities stand behind the first command only: a later NUL would be part of a name, and no
   * name has one. Git reads none behind a second NUL.
   */
  #takeCapabilities(list: string, line: string): void {
    if (list.includes("\0")) throw badLine("one NUL before the capabilities", line);
    if (this.#commands.length > 0)
      throw badLine("capabilities behind the first command only", line);
    this.#capabilities = readCapabilities("receive-pack", list, this.#offer);
  }

  #takeOption(payload: Uint8Array): void {
    this.#optionBytes += payload.length;
    if (
      this.#options.length >= LIMITS.pushOptionsMax ||
      this.#optionBytes > LIMITS.pushOptionBytesMax
    )
      throw new Fault("wire/too-much", {
        pushOptionsMax: LIMITS.pushOptionsMax,
        bytesMax: LIMITS.pushOptionBytesMax,
      });
    this.#options.push(lineText(payload));
  }
}

const NEW_AT = OID_HEX_LENGTH + 1;
const NAME_AT = 2 * (OID_HEX_LENGTH + 1);

/**
 * Keeps one text of an id that many commands name: the null id of what is new, the tip of a hundred
 * tags.
 */
class SameIds {
  #last: Oid = ZERO_OID;

  of(oid: Oid): Oid {
    if (oid === ZERO_OID) return ZERO_OID;
    if (oid !== this.#last) this.#last = oid;
    return this.#last;
  }
}

/** The outcome of one command, as the client learns it. */
export type CommandStatus =
  | {
      readonly name: string;
      readonly ok: true /** Told to those who speak report-status-v2. */;
      readonly rewritten?: RewrittenRef;
    }
  | { readonly name: string; readonly ok: false; readonly reason: string };

/**
 * A ref for which the server did something else than asked for. gitprotocol-pack(5) "option-line".
 */
export interface RewrittenRef {
  readonly name?: string;
  readonly old?: Oid;
  readonly new?: Oid;
  readonly forced?: boolean;
}

export interface PushReport {
  /** "ok", or why the pack was not taken. */
  readonly unpack: string;
  readonly commands: readonly CommandStatus[];
}

/** A report of a hundred thousand refs goes out in pieces of about this size. */
const PIECE_BYTES = 64 * 1024;

/**
 * Yields the report as it goes out: lines and a flush, and around them, where side bands are
 * spoken, band 1 and another flush. Without report-status only that outer flush is left, without
 * side bands nothing.
 */
export function* reportPieces(
  report: PushReport,
  capabilities: ClientCapabilities,
): Generator<Uint8Array> {
  const mode = bandMode(capabilities);
  const version = capabilities.has("report-status-v2")
    ? 2
    : capabilities.has("report-status")
      ? 1
      : 0;
  const writer = new LineWriter();
  if (version > 0) {
    writer.line(`unpack ${reasonText(report.unpack)}`);
    for (const command of report.commands) {
      writeStatus(writer, command, version === 2);
      if (writer.length >= PIECE_BYTES) yield banded(mode, 1, writer.take());
    }
    writer.flush();
  }
  const last = version > 0 ? banded(mode, 1, writer.take()) : new Uint8Array(0);
  yield mode === "none" ? last : concat([last, FLUSH]);
}

function writeStatus(writer: LineWriter, command: CommandStatus, withOptions: boolean): void {
  if (!command.ok) writer.line(`ng ${command.name} ${reasonText(command.reason)}`);
  else {
    writer.line(`ok ${command.name}`);
    if (withOptions && command.rewritten !== undefined) writeOptions(writer, command.rewritten);
  }
}

function writeOptions(writer: LineWriter, rewritten: RewrittenRef): void {
  if (rewritten.name !== undefined) writer.line(`option refname ${rewritten.name}`);
  if (rewritten.old !== undefined) writer.line(`option old-oid ${rewritten.old}`);
  if (rewritten.new !== undefined) writer.line(`option new-oid ${rewritten.new}`);
  if (rewritten.forced === true) writer.line("option forced-update");
}

/**
 * A reason is UTF-8 for a person, the line around it latin1 text: the same bytes in both. Never
 * empty.
 */
function reasonText(reason: string): string {
  return latin1(utf8(oneLine(reason) || "failed"));
}
