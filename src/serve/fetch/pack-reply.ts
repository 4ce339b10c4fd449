/**
 * Sends a pack to one client while it may still be made: framed in side bands, with progress, and
 * with a sign of life on a quiet stream.
 */
import { concat } from "../../base/bytes.js";
import type { ByteSink } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { PackStream } from "../../odb/pack-objects/pack-stream.js";
import { FLUSH, oneLine } from "../../wire/pkt-line.js";
import { type BandMode, bandedText, KEEP_ALIVE, PackFrame } from "../../wire/sideband.js";
import { FetchProgress } from "./progress.js";

export interface PackReplyOptions {
  readonly mode: BandMode;
  /** The client wants no progress. */
  readonly quiet: boolean;
  /** Lines for a person before anything else, said even to who wants no progress. */
  readonly notices?: readonly string[];
  readonly output: ByteSink;
  readonly signal: AbortSignal;
  /** Hears of the pack's bytes as they leave, those of one that breaks off too. */
  readonly onSent?: (bytes: number) => void;
}

/** Figures of the sent pack. */
export interface PackSent {
  readonly bytes: number;
  readonly objects: number;
}

const NOTHING = new Uint8Array(0);

const TICK: unique symbol = Symbol("tick");

/**
 * Sends the whole pack and, in bands, the flush after it. Throws where the pack cannot be made;
 * nothing of that has been told yet.
 */
export async function sendPack(stream: PackStream, options: PackReplyOptions): Promise<PackSent> {
  return new PackReply(stream, options).run();
}

/**
 * Band 3, the last words of a stream that breaks off. Without bands there is no way to say
 * anything.
 */
export function fatalPacket(mode: BandMode, words: string): Uint8Array {
  return bandedText(mode, 3, `lakepack: ${oneLine(words)}\n`);
}

class PackReply {
  readonly #stream: PackStream;
  readonly #options: PackReplyOptions;
  readonly #frame: PackFrame;
  readonly #progress = new FetchProgress();
  #bytes = 0;
  #objects = 0;
  /** Once it is known early. */
  #ending: Uint8Array | undefined;
  #quietMs = 0;

  constructor(stream: PackStream, options: PackReplyOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#frame = new PackFrame(options.mode);
  }

  async run(): Promise<PackSent> {
    const { output, mode, notices = [] } = this.#options;
    if (mode !== "none" && notices.length > 0)
      await output.write(bandedText(mode, 2, `${notices.join("\n")}\n`));
    for (let bytes = await this.#read(); bytes > 0; bytes = await this.#read()) {
      const isFirst = this.#bytes === 0;
      if (isFirst) this.#objects = countIn(this.#frame.views[0]);
      await this.#say(this.#progress.next(this.#stream.news));
      if (isFirst) this.#expectWhole();
      // More than HTTP would hold back to send its length: then the first byte need not wait for
      // the eighth megabyte.
      if (this.#isLarge()) output.expect?.("large");
      await output.write(this.#frame.frame(bytes));
      this.#bytes += bytes;
      this.#options.onSent?.(bytes);
    }
    await output.write(this.#ending ?? this.#end());
    return { bytes: this.#bytes, objects: this.#objects };
  }

  /**
   * Says the reply's length where all of a larger pack is there before any of it leaves: HTTP need
   * not copy what it would hold back.
   */
  #expectWhole(): void {
    const { news } = this.#stream;
    if (!news.whole || news.bytes <= this.#frame.capacity) return;
    this.#ending = this.#end();
    this.#options.output.expect?.(this.#frame.framedBytes(news.bytes) + this.#ending.length);
  }

  /** Returns the bytes behind the pack. */
  #end(): Uint8Array {
    const report = this.#text(this.#progress.last(this.#stream.news, this.#objects));
    return this.#options.mode === "none" ? report : concat([report, FLUSH]);
  }

  /**
   * Too large to carry Content-Length, as is known once it is planned: it leaves while it is made,
   * and is not held back.
   */
  #isLarge(): boolean {
    const { bytes, plan } = this.#stream.news;
    return Math.max(bytes, plan?.storedBytes ?? 0) > LIMITS.replyHoldBytesMax;
  }

  /** The next bytes of the pack into the frame, progress and keep-alives while they are awaited. */
  async #read(): Promise<number> {
    const { signal } = this.#options;
    const reading = this.#stream.read(this.#frame.views, signal);
    if (this.#stream.news.whole) return reading;
    this.#quietMs = 0;
    for (;;) {
      const step = await orTick(reading);
      if (step !== TICK) return step;
      await this.#tick();
    }
  }

  async #tick(): Promise<void> {
    this.#quietMs += LIMITS.progressMs;
    await this.#say(this.#progress.next(this.#stream.news));
    if (this.#quietMs < LIMITS.keepAliveMs || this.#options.mode === "none") return;
    this.#quietMs = 0;
    await this.#options.output.write(KEEP_ALIVE);
  }

  async #say(text: string): Promise<void> {
    const packet = this.#text(text);
    if (packet.length === 0) return;
    this.#quietMs = 0;
    await this.#options.output.write(packet);
  }

  /** As it goes to the client; nothing to one that wants none. */
  #text(text: string): Uint8Array {
    const { mode, quiet } = this.#options;
    return text === "" || quiet || mode === "none" ? NOTHING : bandedText(mode, 2, text);
  }
}

/** Returns the result of `reading`, or TICK when it is time to say something. */
async function orTick(reading: Promise<number>): Promise<number | typeof TICK> {
  let timer: NodeJS.Timeout | undefined;
  const tick = new Promise<typeof TICK>((resolve) => {
    timer = setTimeout(() => resolve(TICK), LIMITS.progressMs);
  });
  try {
    return await Promise.race([reading, tick]);
  } finally {
    clearTimeout(timer);
  }
}

/** Objects of the pack whose first bytes these are. gitformat-pack(5): the third u32. */
function countIn(head: Uint8Array | undefined): number {
  if (head === undefined || head.length < 12) return 0;
  return new DataView(head.buffer, head.byteOffset).getUint32(8);
}
