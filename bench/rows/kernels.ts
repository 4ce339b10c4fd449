/**
 * Each kernel, WebAssembly beside plain (node:crypto, node:zlib), by size. For information: which
 * one runs is chosen at pool start.
 */
import { deflateSync } from "node:zlib";
import { loadKernels } from "../../src/cli/server/kernels.js";
import type { Kernels } from "../../src/kernels/kernels.js";
import { plainKernels } from "../../src/kernels/plain.js";
import { WasmKernels } from "../../src/kernels/wasm.js";
import { Random } from "../random.js";
import type { BenchContext } from "./context.js";

const SIZES = [100, 1_000, 10_000, 100_000];
/** Bytes worked on in one measurement. */
const WORK_BYTES = { tiny: 1_000_000, full: 40_000_000 } as const;

type Job = (kernels: Kernels) => void;

export async function kernelRows({ report, scale }: BenchContext): Promise<void> {
  const sets: readonly Kernels[] = [new WasmKernels(await loadKernels()), plainKernels];
  for (const size of SIZES) {
    const count = Math.max(1, Math.floor(WORK_BYTES[scale] / size));
    for (const [name, job] of Object.entries(jobs(size, Math.min(count, 4_000)))) {
      const rounds = Math.max(1, Math.floor(count / 4_000));
      const [wasm, plain] = sets.map((kernels) =>
        nanosecondsPerByte(() => job(kernels), rounds, size * Math.min(count, 4_000)),
      );
      report.add({
        row: `kernel ${name}, ${size} bytes`,
        ours: wasm as number,
        peer: plain as number,
        peerName: "plain",
        unit: "ns/byte",
      });
    }
  }
}

function jobs(size: number, count: number): Readonly<Record<string, Job>> {
  const random = new Random(size);
  const text = Buffer.from(
    Array.from({ length: size }, () => 97 + (random.below(16) & random.below(16))),
  );
  const data = text.subarray(0, size);
  const batch = Array.from({ length: count }, () => ({ type: "blob" as const, data }));
  const compressed = deflateSync(data);
  const delta = halfCopyDelta(data);
  const times = (work: () => unknown) => () => {
    for (let n = 0; n < count; n++) work();
  };
  return {
    "SHA-1 in batches": (kernels) => void kernels.hashObjects(batch),
    "CRC-32": (kernels) => times(() => kernels.crc32(data, 0))(),
    "Adler-32": (kernels) => times(() => kernels.adler32(data, 1))(),
    inflate: (kernels) => times(() => kernels.inflate(compressed, 0, size))(),
    "delta apply": (kernels) => times(() => kernels.applyDelta(data, delta, size))(),
  };
}

/**
 * A delta that makes its base again: two copies of at most 64 KiB each a piece. gitformat-pack(5)
 * "Deltified representation".
 */
function halfCopyDelta(base: Uint8Array): Uint8Array {
  const out: number[] = [...varint(base.length), ...varint(base.length)];
  for (let at = 0; at < base.length; ) {
    const size = Math.min(0xffff, base.length - at, Math.max(1, base.length >> 1));
    out.push(
      0x80 | 0x07 | 0x30,
      at & 0xff,
      (at >> 8) & 0xff,
      (at >> 16) & 0xff,
      size & 0xff,
      size >> 8,
    );
    at += size;
  }
  return Uint8Array.from(out);
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 0x80) return [...bytes, rest];
    bytes.push((rest & 0x7f) | 0x80);
  }
}

function nanosecondsPerByte(work: () => void, rounds: number, bytes: number): number {
  work(); // warm
  const start = process.cpuUsage();
  for (let round = 0; round < rounds; round++) work();
  const { user, system } = process.cpuUsage(start);
  return ((user + system) * 1000) / (rounds * bytes);
}
