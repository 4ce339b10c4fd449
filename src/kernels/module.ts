/**
 * The WebAssembly module: its exports, its memories, its instances. Built from wasm/ by
 * scripts/build.mjs.
 */
import { LAYOUT } from "./abi.js";

/**
 * Functions that an ingest's kernels call in their host (wasm/host.ts). Offsets are numbers:
 * packs outgrow 32 bits.
 */
export interface Host {
  /** Reads `length` bytes of the pack at `offset` to `to`; how many came. */
  readPack(offset: number, to: number, length: number): number;
  /** Puts base number `external` of a thin pack at `to`; its type, 0 where it cannot be had. */
  loadExternal(external: number, to: number, size: number): number;
  /** An object's text looks wrong: decide (fsck.ts). 0: it passes. */
  judge(record: number, type: number, at: number, size: number): number;
  /** Moves bytes out to a file and back, last out first back. Non-zero: it failed. */
  spill(at: number, size: number): number;
  unspill(at: number, size: number): number;
}

/** Exports of wasm/kernels.ts; pointers and sizes are bytes in the memory. */
export interface Module {
  prepare(): void;
  start(): number;
  reserve(bytes: number): number;
  crc32(start: number, length: number, seed: number): number;
  adler32(start: number, length: number, seed: number): number;
  hashJobs(jobs: number, count: number): void;
  frame(job: number, type: number, data: number, size: number, digest: number, mark: number): void;
  inflateWhole(start: number, end: number, target: number, size: number): number;
  inputEnd(): number;
  readDeltaHeader(delta: number, end: number): number;
  baseSize(): number;
  resultSize(): number;
  applyDelta(base: number, size: number, end: number, target: number): number;
}

/**
 * The exports an ingest uses (wasm/scan.ts, link.ts, resolve.ts, conclude.ts). Answers are codes
 * (codes.ts) unless said.
 */
export interface IngestModule extends Module {
  openSession(
    checks: number,
    keepMax: number,
    objectsMax: number,
    chainMax: number,
    parsedMax: number,
    deltaMax: number,
    resultMax: number,
    heldMax: number,
    seed1: bigint,
    seed2: bigint,
    seed3: bigint,
  ): number;
  setRoom(keepMax: number, linkSlotsMax: number): void;
  setStored(): void;
  isStored(): number;
  addWork(units: number): number;
  openLinkSet(): number;
  useFirstLinkSet(): void;
  scan(start: number, end: number, final: number): number;
  scanPosition(): number;
  scanDone(): number;
  scanInLarge(): number;
  scanLargeNext(): void;
  flushScan(): void;
  findGuess(start: number, end: number): number;
  openSegment(offset: number, stops: number): number;
  adoptSegment(segment: number): number;
  endSegments(offset: number): void;
  currentLinkSet(): number;
  dropLinkSet(number: number): void;
  linkBases(): number;
  linkChildren(): number;
  setExternal(record: number, external: number): void;
  addExternal(external: number, type: number, size: number, data: number, id: number): number;
  takeWaiting(id: number): number;
  openResolve(arenaBytes: number): number;
  resolve(bytes: number): number;
  enterResolve(): number;
  leaveResolve(): number;
  sortRecords(): number;
  findRecord(id: number): number;
  writeIdx(): number;
  writeRev(): number;
  tableBytesEnd(): number;
  sweepLinks(): number;
  openLinks(): number;
  openLinkCount(): number;
  specialLinks(): number;
  specialLinkCount(): number;
  writeTips(to: number, max: number): number;
  writeTypes(to: number): void;
  checkObject(record: number, type: number, data: number, size: number): number;
  walkObject(type: number, data: number, size: number): void;
  recordAt(index: number): number;
  makeRecord(index: number): number;
  recordCount(): number;
  setRecordCount(count: number): void;
  recordClaim(): number;
  deltaCount(): number;
  hashedCount(): number;
  resolvedCount(): number;
  addResolved(): void;
  reinflatedCount(): number;
  shaCalls(): number;
  keptBytes(): number;
  packEnd(): number;
  faultCode(): number;
  setFault(code: number): void;
  faultRecord(): number;
  loose(): number;
  looseCount(): number;
  siblingAt(record: number): number;
  familyCount(): number;
  largeList(): number;
  largeCount(): number;
  childStarts(): number;
  children(): number;
  linkConflict(): number;
  linkExpected(): number;
  unwalkedCount(): number;
  uncheckedCount(): number;
  linksAreLost(): number;
  /** Calls into node:crypto and node:zlib: there must be few, so they are counted. */
  addCalls(crypto: number, zlib: number): void;
  cryptoCalls(): number;
  zlibCalls(): number;
}

const NO_HOST: Host = {
  readPack: () => 0,
  loadExternal: () => 0,
  judge: () => 0,
  spill: () => 1,
  unspill: () => 1,
};
const INITIAL_PAGES = 4;
const PAGES_MAX = 65_536;

/**
 * A new memory with its constant tables filled. Shared: instances of several threads may use it.
 */
export function newMemory(module: WebAssembly.Module): WebAssembly.Memory {
  const memory = emptyMemory();
  prepareMemory(module, memory);
  return memory;
}

/** A memory that nothing was written to. Costs address space only. */
export function emptyMemory(): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum: PAGES_MAX, shared: true });
}

/**
 * Deltas of an ingest that are resolved by now, whatever thread does it. Read from the one word of
 * an ingest's header that needs no instance.
 */
export function resolvedDeltas(memory: WebAssembly.Memory): number {
  return Atomics.load(new Int32Array(memory.buffer, LAYOUT.RESOLVED, 1), 0) >>> 0;
}

/** Fills the constant tables of `memory` and clears its header. */
export function prepareMemory(module: WebAssembly.Module, memory: WebAssembly.Memory): void {
  instantiate<Module>(module, memory, NO_HOST).prepare();
}

/** An instance over a prepared memory, with scratch of its own. */
export function attach<T extends Module = Module>(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  host: Host = NO_HOST,
): T {
  const kernels = instantiate<T>(module, memory, host);
  if (!kernels.start()) throw new RangeError("no memory for a kernel's scratch");
  return kernels;
}

function instantiate<T>(module: WebAssembly.Module, memory: WebAssembly.Memory, host: Host): T {
  return new WebAssembly.Instance(module, { env: { memory, abort: refuse }, host: { ...host } })
    .exports as T;
}

function refuse(): never {
  throw new Error("a kernel aborted");
}
