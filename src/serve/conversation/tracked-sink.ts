/**
 * A sink that knows whether anything has gone through it: before, a failure can still become a
 * status.
 */
import type { ByteSink } from "../../base/flow.js";

export class TrackedSink implements ByteSink {
  readonly #sink: ByteSink;
  bytes = 0;

  constructor(sink: ByteSink) {
    this.#sink = sink;
  }

  write(bytes: Uint8Array): Promise<void> {
    this.bytes += bytes.length;
    return this.#sink.write(bytes);
  }

  expect(total: number | "large"): void {
    this.#sink.expect?.(total);
  }
}
