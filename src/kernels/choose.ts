/**
 * Choice of kernels: each thread times both sets once, and takes the faster one per call and
 * size. On a CPU with SHA extensions node:crypto wins for one large object, WebAssembly's four
 * lanes for everything small; without them the lanes win throughout (0.5 GB/s against 2 GB/s of one
 * stream here, 1.4 GB/s of four).
 */
import { deflateSync } from "node:zlib";
import type { HashJob, Inflated, Kernels } from "./kernels.js";
import { plainKernels } from "./plain.js";
import { WasmKernels } from "./wasm.js";

/** Sizes in bytes from which the plain set is taken; Infinity: never. */
export interface Picks {
  /** Size of an object hashed alone. */
  readonly hashOne: number;
  /** Size of the objects of a batch, on average. */
  readonly hashMany: number;
  readonly inflate: number;
  readonly crc32: number;
  readonly adler32: number;
}

/** Sizes that are tried, smallest first. */
const SIZES = [1024, 16 * 1024, 64 * 1024] as const;
/** Bytes a kernel works on for one timing: about a tenth of a millisecond. */
const TIMED_BYTES = 128 * 1024;
const TURNS = 3;
const BATCH = 4;

/** The choice of this thread. */
let chosen: ChosenKernels | undefined;

/** This thread's kernels: timed on the first call (some 40 ms). */
export function threadKernels(module: WebAssembly.Module): ChosenKernels {
  chosen ??= new ChosenKernels(new WasmKernels(module));
  return chosen;
}

export class ChosenKernels implements Kernels {
  readonly name = "wasm";
  readonly picks: Picks;
  readonly #wasm: Kernels;

  constructor(wasm: Kernels, picks: Picks = time(wasm)) {
    this.#wasm = wasm;
    this.picks = picks;
  }

  hashObjects(objects: readonly HashJob[]): Uint8Array {
    let bytes = 0;
    for (const { data } of objects) bytes += data.length;
    const limit = objects.length === 1 ? this.picks.hashOne : this.picks.hashMany * objects.length;
    return (bytes >= limit ? plainKernels : this.#wasm).hashObjects(objects);
  }

  crc32(bytes: Uint8Array, seed: number): number {
    return (bytes.length >= this.picks.crc32 ? plainKernels : this.#wasm).crc32(bytes, seed);
  }

  adler32(bytes: Uint8Array, seed: number): number {
    return (bytes.length >= this.picks.adler32 ? plainKernels : this.#wasm).adler32(bytes, seed);
  }

  inflate(input: Uint8Array, start: number, size: number): Inflated | undefined {
    return (size >= this.picks.inflate ? plainKernels : this.#wasm).inflate(input, start, size);
  }

  /** No contest: the plain one exists to be compared with. */
  applyDelta(base: Uint8Array, delta: Uint8Array, resultBytesMax: number): Uint8Array {
    return this.#wasm.applyDelta(base, delta, resultBytesMax);
  }
}

/** For logs and `lakepack doctor`: "hashOne 4096, hashMany never, …". */
export function describePicks(picks: Picks): string {
  return Object.entries(picks)
    .map(
      ([call, size]) =>
        `${call} ${size === Number.POSITIVE_INFINITY ? "wasm" : size === 0 ? "plain" : `plain from ${size} bytes`}`,
    )
    .join(", ");
}

function time(wasm: Kernels): Picks {
  const text = Buffer.from(
    Array.from(
      { length: 4_096 },
      (_, line) => `line ${(line * 2_654_435_761) % 9_973} of a file\n`,
    ).join(""),
  );
  const sample = (size: number) => Buffer.alloc(size, text);
  const job = (size: number): HashJob => ({ type: "blob", data: sample(size) });
  return {
    hashOne: pick(
      wasm,
      (size) => [job(size)],
      (kernels, jobs) => kernels.hashObjects(jobs),
    ),
    hashMany: pick(
      wasm,
      (size) => Array.from({ length: BATCH }, () => job(size)),
      (kernels, jobs) => kernels.hashObjects(jobs),
    ),
    inflate: pick(
      wasm,
      (size) => ({ size, input: deflateSync(sample(size)) }),
      (kernels, { size, input }) => kernels.inflate(input, 0, size),
    ),
    crc32: pick(wasm, sample, (kernels, bytes) => kernels.crc32(bytes, 0)),
    adler32: pick(wasm, sample, (kernels, bytes) => kernels.adler32(bytes, 1)),
  };
}

/**
 * The smallest size from which on the plain kernel wins at every larger one, by a tenth at least.
 */
function pick<T>(
  wasm: Kernels,
  prepare: (size: number) => T,
  call: (kernels: Kernels, input: T) => unknown,
): number {
  let from = Number.POSITIVE_INFINITY;
  for (const size of [...SIZES].reverse()) {
    const input = prepare(size);
    const times = Math.max(1, Math.floor(TIMED_BYTES / size));
    const run = (kernels: Kernels) =>
      fastest(() => {
        for (let turn = 0; turn < times; turn++) call(kernels, input);
      });
    if (run(plainKernels) * 1.1 >= run(wasm)) break;
    from = size === SIZES[0] ? 0 : size;
  }
  return from;
}

function fastest(work: () => void): number {
  let best = Number.POSITIVE_INFINITY;
  for (let turn = 0; turn < TURNS; turn++) {
    const start = performance.now();
    work();
    best = Math.min(best, performance.now() - start);
  }
  return best;
}
