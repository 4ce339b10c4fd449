/** Shows a person the progress of a push on band 2; sends keep-alives on a quiet stream. */
import type { ByteSink } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { IngestProgress } from "../../odb/index-pack/contract.js";
import { type BandMode, bandedText, KEEP_ALIVE } from "../../wire/sideband.js";

const TITLES: Readonly<Record<IngestProgress["stage"], string>> = {
  receiving: "Receiving objects",
  resolving: "Resolving deltas",
  connectivity: "Checking connectivity",
};

/** Same figures are not said twice, and not more often than this. */
const PROGRESS_EVERY_MS = 200;

export class PushProgress {
  readonly #output: ByteSink;
  readonly #mode: BandMode;
  readonly #quiet: boolean;
  readonly #keepAlive: NodeJS.Timeout | undefined;
  /** Writes take their turn; the first failure is kept for `settle`. */
  #last: Promise<void> = Promise.resolve();
  #saidAt = 0;
  #wroteAt = Date.now();
  #open: string | undefined;

  constructor(output: ByteSink, mode: BandMode, quiet: boolean) {
    this.#output = output;
    this.#mode = mode;
    this.#quiet = quiet;
    if (mode !== "none")
      this.#keepAlive = setInterval(() => this.#beat(), LIMITS.keepAliveMs / 4).unref();
  }

  /**
   * A line for the pusher, "remote: " added by git. Said even with `quiet`: it is about the result.
   */
  say(text: string): void {
    this.#write(`${this.#closeLine()}${text}\n`);
  }

  update(progress: IngestProgress): void {
    if (this.#quiet || progress.stage === "receiving" || progress.total === 0) return;
    const done = progress.done >= progress.total;
    const now = Date.now();
    if (!done && now - this.#saidAt < PROGRESS_EVERY_MS) return;
    const percent = Math.floor((100 * progress.done) / progress.total);
    const figures = `${TITLES[progress.stage]}: ${String(percent).padStart(3)}% (${progress.done}/${progress.total})`;
    this.#saidAt = now;
    this.#open = done ? undefined : figures;
    this.#write(done ? `${figures}, done.\n` : `${figures}\r`);
  }

  /** Passes on a line from those who move refs; `done`: it is the last one about its subject. */
  report(line: string, done: boolean): void {
    const now = Date.now();
    if (this.#quiet || (!done && now - this.#saidAt < PROGRESS_EVERY_MS)) return;
    this.#saidAt = now;
    this.#open = done ? undefined : line;
    this.#write(done ? `${line}\n` : `${line}\r`);
  }

  /** No more progress; resolves when all of it is written. */
  async settle(): Promise<void> {
    clearInterval(this.#keepAlive);
    await this.#last;
  }

  /** Stops the keep-alive whatever became of the writes. */
  stop(): void {
    clearInterval(this.#keepAlive);
  }

  #closeLine(): string {
    const open = this.#open;
    this.#open = undefined;
    return open === undefined ? "" : "\n";
  }

  #beat(): void {
    if (Date.now() - this.#wroteAt >= LIMITS.keepAliveMs) this.#send(KEEP_ALIVE);
  }

  #write(text: string): void {
    if (this.#mode !== "none") this.#send(bandedText(this.#mode, 2, text));
  }

  #send(bytes: Uint8Array): void {
    this.#wroteAt = Date.now();
    this.#last = this.#last.then(() => this.#output.write(bytes));
    this.#last.catch(() => undefined); // `settle` reports it
  }
}
