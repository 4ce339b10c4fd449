/**
 * Pass 2 in one of several pool threads: wasm/resolve.ts does the work, here are the files it reads
 * and writes.
 */
import { randomBytes } from "node:crypto";
import { closeSync, openSync, readSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { OBJECT_TYPE } from "../../git/oid.js";
import { CODE } from "../../kernels/codes.js";
import type { Kernels } from "../../kernels/kernels.js";
import { TaskWatch } from "../../pool/control.js";
import type { ResolveRequest, ResolveResult } from "./tasks.js";
import type { TaskParts } from "./scan.js";
import { Session } from "./session.js";
import { ObjectReader, threadReaderCaches } from "../packs/reader.js";

/**
 * Bytes made in one call: few enough to look at the control word and to let V8 swap in better code.
 */
const SLICE_BYTES = 1024 * 1024;
/** A base, its delta and its result, each as large as an object held in memory may be. */
const ARENA_BYTES = 3 * LIMITS.objectInMemoryBytesMax + 1024 * 1024;

export async function resolve(
  request: ResolveRequest,
  { module, kernels: calls }: TaskParts,
): Promise<ResolveResult> {
  const host = new ResolveHost(request, calls);
  const session = new Session(module, request.memory, { host, rules: request.rules });
  host.session = session;
  const { kernels } = session;
  kernels.enterResolve();
  try {
    if (!kernels.openResolve(ARENA_BYTES) || !kernels.openLinkSet())
      throw new Fault("pack/too-large");
    const watch = new TaskWatch(request.control);
    for (;;) {
      watch.check();
      if (watch.shouldYield()) await watch.turn();
      const code = kernels.resolve(SLICE_BYTES);
      if (code !== CODE.yield) host.check();
      session.check(code);
      session.checkLinks();
      await session.judgeDeferred(watch);
      if (code === CODE.ok || session.failed) break;
    }
  } catch (error) {
    session.fail();
    throw error;
  } finally {
    host.close();
    if (kernels.leaveResolve() === 0) host.last = true;
  }
  return { over: host.last, large: kernels.largeCount(), marks: session.marks };
}

class ResolveHost {
  session!: Session;
  last = false;
  readonly #request: ResolveRequest;
  readonly #calls: Kernels;
  readonly #pack: number;
  #reader: ObjectReader | undefined;
  #spillPath: string | undefined;
  #spill = -1;
  #spilled = 0;
  #failure: unknown;

  constructor(request: ResolveRequest, calls: Kernels) {
    this.#request = request;
    this.#calls = calls;
    this.#pack = openSync(request.path, "r");
  }

  /** A kernel cannot carry an exception: it is kept and thrown when the kernel has come back. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  readonly readPack = (offset: number, to: number, length: number): number => {
    const target = this.session.view(to, length);
    return this.#try(() => {
      let filled = 0;
      while (filled < length) {
        const count = readSync(this.#pack, target, filled, length - filled, offset + filled);
        if (count === 0) break;
        filled += count;
      }
      return filled;
    });
  };

  readonly loadExternal = (external: number, to: number, size: number): number =>
    this.#try(() => {
      this.#reader ??= new ObjectReader(this.#request.packs, this.#calls, threadReaderCaches());
      const { id } = this.session.record(this.session.kernels.recordCount() + external);
      const { type, data } = this.#reader.readOid(id);
      if (data.length !== size) throw new Fault("odb/damaged", { object: id });
      this.session.view(to, size).set(data);
      return OBJECT_TYPE[type];
    });

  /** Last in, first out: one file, one end. */
  readonly spill = (at: number, size: number): number => {
    const done = this.#try(() => {
      if (this.#spilled + size > LIMITS.spillBytesMax)
        throw new Fault("pack/too-large", { temporaryBytes: this.#spilled + size });
      if (this.#spill < 0) {
        this.#spillPath = join(this.#request.folder, `spill-${randomBytes(6).toString("hex")}`);
        this.#spill = openSync(this.#spillPath, "wx+", 0o600);
      }
      for (let written = 0; written < size; ) {
        written += writeSync(
          this.#spill,
          this.session.view(at, size),
          written,
          size - written,
          this.#spilled + written,
        );
      }
      this.#spilled += size;
      return 1;
    });
    return done === 1 ? 0 : 1;
  };

  readonly unspill = (at: number, size: number): number => {
    const done = this.#try(() => {
      this.#spilled -= size;
      const target = this.session.view(at, size);
      for (let filled = 0; filled < size; ) {
        const count = readSync(this.#spill, target, filled, size - filled, this.#spilled + filled);
        if (count === 0) throw new Fault("store/failed", { reason: "a temporary file was cut" });
        filled += count;
      }
      return 1;
    });
    return done === 1 ? 0 : 1;
  };

  #try(work: () => number): number {
    try {
      return work();
    } catch (error) {
      this.#failure ??= error;
      return 0;
    }
  }

  close(): void {
    closeSync(this.#pack);
    if (this.#spill >= 0) closeSync(this.#spill);
    if (this.#spillPath !== undefined) unlinkSync(this.#spillPath);
  }
}
