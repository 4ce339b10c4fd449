/**
 * `Kernels` on WebAssembly, over a memory of its own. One instance a thread: calls share its
 * buffers.
 */
import { Fault } from "../base/fault.js";
import { FRAME } from "./abi.js";
import { CODE, faultOfCode } from "./codes.js";
import type { HashJob, Inflated, Kernels } from "./kernels.js";
import { attach, newMemory, type Module } from "./module.js";

const TYPE_NUMBER = { commit: 1, tree: 2, blob: 3, tag: 4 } as const;
/** Free bytes before and behind data that is framed or written with overshoot. */
const BEFORE = FRAME.FRAME_BEFORE;
const AFTER = FRAME.FRAME_AFTER + 32;
const JOB_BYTES = 16;
const DIGEST_BYTES = 20;
/**
 * Bytes of objects hashed in one call: V8 replaces baseline code between calls only, and memory
 * stays small.
 */
const BATCH_BYTES = 4 * 1024 * 1024;
const BATCH_JOBS = 4096;
/** Above this the working memory is given up after a call instead of kept. */
const KEEP_BYTES = 32 * 1024 * 1024;

export class WasmKernels implements Kernels {
  readonly name = "wasm";
  readonly #module: WebAssembly.Module;
  #kernels!: Module;
  #memory!: WebAssembly.Memory;
  #room = 0;
  #roomAt = 0;
  #jobs = 0;
  #digests = 0;

  constructor(module: WebAssembly.Module) {
    this.#module = module;
    this.#renew();
  }

  hashObjects(objects: readonly HashJob[]): Uint8Array {
    const digests = new Uint8Array(objects.length * DIGEST_BYTES);
    let first = 0;
    while (first < objects.length) {
      const end = batchEnd(objects, first);
      this.#hashBatch(objects, first, end, digests);
      first = end;
    }
    this.#trim();
    return digests;
  }

  #hashBatch(objects: readonly HashJob[], first: number, end: number, digests: Uint8Array): void {
    let bytes = 0;
    for (let at = first; at < end; at++) bytes += BEFORE + AFTER + (objects[at]?.data.length ?? 0);
    const view = this.#reserve(bytes);
    let to = this.#roomAt;
    for (let at = first; at < end; at++) {
      const object = objects[at]!;
      to += BEFORE;
      view.set(object.data, to);
      const slot = at - first;
      this.#kernels.frame(
        this.#jobs + slot * JOB_BYTES,
        TYPE_NUMBER[object.type],
        to,
        object.data.length,
        this.#digests + slot * DIGEST_BYTES,
        0,
      );
      to += object.data.length + AFTER;
    }
    this.#kernels.hashJobs(this.#jobs, end - first);
    digests.set(
      view.subarray(this.#digests, this.#digests + (end - first) * DIGEST_BYTES),
      first * DIGEST_BYTES,
    );
  }

  crc32(bytes: Uint8Array, seed: number): number {
    return this.#sum(bytes, seed, this.#kernels.crc32);
  }

  adler32(bytes: Uint8Array, seed: number): number {
    return this.#sum(bytes, seed, this.#kernels.adler32);
  }

  #sum(
    bytes: Uint8Array,
    seed: number,
    kernel: (start: number, length: number, seed: number) => number,
  ): number {
    let sum = seed;
    const step = Math.min(bytes.length, 1024 * 1024);
    const view = this.#reserve(step);
    for (let at = 0; at < bytes.length; at += step) {
      const part = bytes.subarray(at, at + step);
      view.set(part, this.#roomAt);
      sum = kernel(this.#roomAt, part.length, sum) >>> 0;
    }
    return sum;
  }

  inflate(input: Uint8Array, start: number, size: number): Inflated | undefined {
    // A stream is rarely longer than its content; the rest is copied in only where it was not
    // enough.
    const guess = Math.min(input.length - start, size + (size >> 3) + 1024);
    const inflated = this.#inflate(input.subarray(start, start + guess), size);
    if (inflated !== undefined || guess === input.length - start) return inflated;
    return this.#inflate(input.subarray(start), size);
  }

  #inflate(input: Uint8Array, size: number): Inflated | undefined {
    const view = this.#reserve(input.length + size + 2 * AFTER);
    const from = this.#roomAt;
    const to = from + input.length + AFTER;
    view.set(input, from);
    const code = this.#kernels.inflateWhole(from, from + input.length, to, size);
    if (code === CODE.needMore) return undefined;
    if (code !== CODE.ok) throw new Fault(faultOfCode(code) ?? "base/internal");
    const inflated = { data: view.slice(to, to + size), consumed: this.#kernels.inputEnd() - from };
    this.#trim();
    return inflated;
  }

  applyDelta(base: Uint8Array, delta: Uint8Array, resultBytesMax: number): Uint8Array {
    let view = this.#reserve(base.length + delta.length + 2 * AFTER);
    const deltaAt = this.#roomAt;
    view.set(delta, deltaAt);
    this.#check(this.#kernels.readDeltaHeader(deltaAt, deltaAt + delta.length), "pack/bad-delta");
    const size = this.#kernels.resultSize();
    if (this.#kernels.baseSize() !== base.length)
      throw new Fault("pack/bad-delta", { base: base.length });
    if (size > resultBytesMax) throw new Fault("pack/too-large", { size });
    const baseAt = deltaAt + delta.length + AFTER;
    view = this.#reserve(baseAt - deltaAt + base.length + size + 2 * AFTER);
    if (this.#roomAt !== deltaAt) return this.applyDelta(base, delta, resultBytesMax); // the buffer moved: once more
    view.set(base, baseAt);
    const to = baseAt + base.length + AFTER;
    this.#check(
      this.#kernels.applyDelta(baseAt, base.length, deltaAt + delta.length, to),
      "pack/bad-delta",
    );
    const result = view.slice(to, to + size);
    this.#trim();
    return result;
  }

  #check(code: number, short: "pack/bad-delta"): void {
    if (code === CODE.ok) return;
    throw new Fault(code === CODE.needMore ? short : (faultOfCode(code) ?? "base/internal"));
  }

  /** A view of the whole memory with `bytes` free at `#roomAt`. */
  #reserve(bytes: number): Uint8Array {
    if (bytes > this.#room) {
      const room = Math.max(bytes, 1024 * 1024);
      const at = this.#kernels.reserve(room);
      if (at === 0) {
        this.#renew();
        return this.#reserve(bytes);
      }
      this.#roomAt = at;
      this.#room = room;
    }
    return new Uint8Array(this.#memory.buffer);
  }

  /** Starts over with a small memory after a large call. */
  #trim(): void {
    if (this.#room > KEEP_BYTES) this.#renew();
  }

  #renew(): void {
    this.#memory = newMemory(this.#module);
    this.#kernels = attach(this.#module, this.#memory);
    this.#jobs = this.#kernels.reserve(BATCH_JOBS * JOB_BYTES);
    this.#digests = this.#kernels.reserve(BATCH_JOBS * DIGEST_BYTES);
    this.#room = 0;
  }
}

/**
 * Returns where the batch that starts at `first` ends: bounded in jobs and bytes, at least one
 * object.
 */
function batchEnd(objects: readonly HashJob[], first: number): number {
  let bytes = 0;
  let end = first;
  while (end < objects.length && end - first < BATCH_JOBS) {
    bytes += objects[end]?.data.length ?? 0;
    end++;
    if (bytes >= BATCH_BYTES) break;
  }
  return end;
}
