/**
 * At log level `trace`: every pkt-line of a conversation, both ways, as Git's own GIT_TRACE_PACKET
 * shows them. Packs are counted, not shown. A trace carries no credentials: those are HTTP's, and
 * HTTP's headers are not traced; of links the proof is left out.
 */
import type { ByteSink, ByteSource } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { Log } from "../../observe/log.js";
import { lineText, type Packet, PacketReader } from "../../wire/pkt-line.js";
import type { Exchange } from "./conversation.js";

const PACK = Buffer.from("PACK");
/** Band of side-band-64k. */
const BAND_DATA = 1;

/**
 * The exchange, its bytes told to the log on their way; the exchange itself where nothing is
 * traced.
 */
export function tracedExchange(exchange: Exchange, service: string, log: Log): Exchange {
  if (log.tracing !== true) return exchange;
  const facts = { request: exchange.request.id, repository: exchange.repository.title, service };
  const told = (direction: "<" | ">") =>
    new PacketTrace((text) => log.trace("packet", { ...facts, packet: `${direction} ${text}` }));
  return {
    ...exchange,
    input: tracedSource(exchange.input, told("<")),
    output: tracedSink(exchange.output, told(">")),
  };
}

function tracedSource(source: ByteSource, trace: PacketTrace): ByteSource {
  return {
    read: async () => {
      const chunk = await source.read();
      if (chunk === undefined) trace.end();
      else trace.take(chunk);
      return chunk;
    },
  };
}

function tracedSink(sink: ByteSink, trace: PacketTrace): ByteSink {
  return {
    write: (bytes) => {
      trace.take(bytes);
      return sink.write(bytes);
    },
    expect: (total) => sink.expect?.(total),
  };
}

/**
 * Reads along. Bytes that are no pkt-line any more (a pack, a broken request) are counted from
 * there on.
 */
class PacketTrace {
  readonly #say: (text: string) => void;
  #reader: PacketReader | undefined = new PacketReader();
  #raw = 0;

  constructor(say: (text: string) => void) {
    this.#say = say;
  }

  take(chunk: Uint8Array): void {
    if (this.#reader === undefined) this.#raw += chunk.length;
    else this.#read(this.#reader, chunk);
  }

  end(): void {
    if (this.#raw > 0) this.#say(`${this.#raw} bytes that are no pkt-lines`);
  }

  #read(reader: PacketReader, chunk: Uint8Array): void {
    try {
      reader.push(Buffer.from(chunk)); // the caller reuses its buffer
      for (;;) {
        const packet = reader.next();
        if (packet === undefined) return;
        this.#say(textOf(packet));
      }
    } catch {
      // Not pkt-lines: the pack behind a push's commands begins so. What is wrong with them is said
      // by who must read them.
      this.#reader = undefined;
      this.#raw += reader.rest().length;
      this.#say(chunk.includes(PACK[0] as number) ? "PACK …" : "what follows is no pkt-line");
    }
  }
}

function textOf(packet: Packet): string {
  if (packet.kind !== "data") return packet.kind;
  const { payload } = packet;
  // With sideband-all lines are banded too: only a pack's bytes are no text.
  if (payload[0] === BAND_DATA && !isLine(payload.subarray(1)))
    return `band 1, ${payload.length - 1} bytes`;
  const text = lineText(payload.subarray(0, LIMITS.tracedTextBytesMax))
    .replace(/[^\x20-\x7e]/g, (char) => `\\${char.charCodeAt(0)}`)
    .replace(/\bproof=[0-9a-f-]+/g, "proof=…");
  return payload.length > LIMITS.tracedTextBytesMax ? `${text}…` : text;
}

function isLine(bytes: Uint8Array): boolean {
  return (
    bytes.length <= LIMITS.tracedTextBytesMax &&
    bytes.every(
      (byte, at) => (byte >= 0x20 && byte < 0x7f) || (byte === 0x0a && at === bytes.length - 1),
    )
  );
}
