/** Packets of a byte stream, as conversations read them, and the bytes that follow. */
import { Fault } from "../../base/fault.js";
import { type ByteSource, Turns } from "../../base/flow.js";
import { type Packet, PacketReader } from "../../wire/pkt-line.js";

export class PacketInput {
  readonly #source: ByteSource;
  readonly #reader = new PacketReader();
  readonly #bytesMax: number;
  #bytes = 0;
  #ended = false;
  /**
   * Packets that are here already come one after the other: a request of megabytes would keep the
   * event loop to itself.
   */
  readonly #turns = new Turns();

  /**
   * `bytesMax`: of all packets together; more is "wire/too-much". Bytes that `rest` hands on do not
   * count.
   */
  constructor(source: ByteSource, bytesMax: number) {
    this.#source = source;
    this.#bytesMax = bytesMax;
  }

  /**
   * The next packet; its payload is a view, valid until the next call. Undefined: the stream ended
   * between packets. Throws "wire/bad-length", "wire/truncated", "wire/too-much" and whatever the
   * source throws.
   */
  async next(): Promise<Packet | undefined> {
    if (this.#turns.isDue) await this.#turns.next();
    for (;;) {
      const packet = this.#reader.next();
      if (packet !== undefined) {
        this.#bytes += packet.kind === "data" ? packet.payload.length + 4 : 4;
        if (this.#bytes > this.#bytesMax)
          throw new Fault("wire/too-much", { bytesMax: this.#bytesMax });
        return packet;
      }
      const chunk = this.#ended ? undefined : await this.#source.read();
      if (chunk === undefined) {
        this.#ended = true;
        this.#reader.finish();
        return undefined;
      }
      this.#reader.push(chunk);
    }
  }

  /** Throws "wire/bad-request" unless the stream ends here. */
  async expectEnd(): Promise<void> {
    const rest = this.rest();
    for (let chunk = await rest.read(); chunk !== undefined; chunk = await rest.read())
      if (chunk.length > 0)
        throw new Fault("wire/bad-request", { reason: "more follows where the request has ended" });
  }

  /** Everything after the last packet read: the pack. No more packets can be read then. */
  rest(): ByteSource {
    let first: Uint8Array | undefined = this.#reader.rest();
    return {
      read: async () => {
        const begun = first;
        first = undefined;
        if (begun !== undefined && begun.length > 0) return begun;
        return this.#ended ? undefined : this.#source.read();
      },
    };
  }
}
