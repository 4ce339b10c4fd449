/**
 * One thread's hold on the shared tables of an ingest: kernels attached to its memory, views,
 * records, faults.
 */
import { randomBytes } from "node:crypto";
import { asFault, Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { checkObject } from "../../git/fsck/fsck.js";
import type { Refusal } from "../../git/fsck/refusal.js";
import {
  type FsckRules,
  type FsckWarning,
  idOf,
  judgesModes,
  type Report,
  reportBy,
} from "../../git/fsck/levels.js";
import { TreeCheck } from "../../git/fsck/tree.js";
import { type ObjectType, type Oid, oidAt, typeName } from "../../git/oid.js";
import { RECORD } from "../../kernels/abi.js";
import { CODE, faultOfCode } from "../../kernels/codes.js";
import { attach, type Host, type IngestModule, prepareMemory } from "../../kernels/module.js";
import type { TaskWatch } from "../../pool/control.js";
import type { IngestMarks, SessionSettings } from "./tasks.js";

/** A tree above this is judged in pieces, once the kernel has come back: some milliseconds each. */
const DEFERRED_BYTES_MIN = 1024 * 1024;
const PIECE_BYTES = 1024 * 1024;

/** Functions of a host beyond judging. */
export type HostParts = Partial<Omit<Host, "judge">>;

export interface SessionParts {
  readonly host?: HostParts;
  /** The memory is a new one and becomes an ingest's. */
  readonly settings?: SessionSettings;
  /** Rules for judging objects; absent: as Git does by itself. */
  readonly rules?: FsckRules | undefined;
}

/** IngestMarks while they are made. */
interface Marks {
  readonly gitmodules: Oid[];
  readonly gitattributes: Oid[];
  readonly warnings: FsckWarning[];
  warned: number;
}

export class Session {
  readonly memory: WebAssembly.Memory;
  readonly kernels: IngestModule;
  readonly #marks: Marks = { gitmodules: [], gitattributes: [], warnings: [], warned: 0 };
  readonly #rules: FsckRules | undefined;
  readonly #deferred: DeferredTree[] = [];
  #refusal: Fault | undefined;
  #packBytes = 0;

  /** Throws "pack/too-large" where a new memory is used up. */
  constructor(
    module: WebAssembly.Module,
    memory: WebAssembly.Memory,
    { host = {}, settings, rules }: SessionParts = {},
  ) {
    this.memory = memory;
    this.#rules = rules;
    if (settings !== undefined) prepareMemory(module, memory);
    const judge: Host["judge"] = (record, type, at, size) => this.#judge(record, type, at, size);
    const none = () => 0;
    this.kernels = attach<IngestModule>(module, memory, {
      readPack: none,
      loadExternal: none,
      spill: () => 1,
      unspill: () => 1,
      ...host,
      judge,
    });
    if (settings !== undefined) this.#open(settings);
  }

  #open({ fsck, stored, keepBytes }: SessionSettings): void {
    const seeds = new BigUint64Array(new Uint8Array(randomBytes(24)).buffer);
    const opened = this.kernels.openSession(
      this.#depth(fsck),
      keepBytes,
      LIMITS.packObjectsMax,
      LIMITS.deltaChainLengthMax,
      LIMITS.parsedObjectBytesMax,
      LIMITS.deltaBytesMax,
      LIMITS.deltaResultBytesMax,
      LIMITS.objectInMemoryBytesMax,
      seeds[0] ?? 1n,
      seeds[1] ?? 1n,
      seeds[2] ?? 1n,
    );
    if (!opened) throw new Fault("pack/too-large");
    if (stored) this.kernels.setStored();
  }

  /**
   * Returns the checks that kernels leave to the host (wasm/layout.ts, CHECKS): none, those of what
   * is not plain, or modes and links as well.
   */
  #depth(fsck: boolean): number {
    if (!fsck) return 0;
    return this.#rules !== undefined && judgesModes(this.#rules) ? 2 : 1;
  }

  /** Findings of the judging beside refusals. */
  get marks(): IngestMarks {
    return this.#marks;
  }

  /**
   * Makes the Report that takes the findings about one object. `object` is asked for its id only
   * where rules are set.
   */
  reportOn(object: () => Oid): Report {
    return reportBy(this.#rules, object, (warning) => {
      this.#marks.warned++;
      if (this.#marks.warnings.length < LIMITS.fsckWarningsMax) this.#marks.warnings.push(warning);
    });
  }

  #reportOn(type: ObjectType, data: Uint8Array): Report {
    return this.reportOn(() => {
      this.kernels.addCalls(1, 0);
      return idOf(type, data);
    });
  }

  /** So much of the pack is here: what it may cost, and keep in memory, follows from that. */
  setPackBytes(bytes: number): void {
    this.#packBytes = bytes;
    const keep = Math.min(
      LIMITS.ingestMemoryBytesMin + bytes * LIMITS.ingestMemoryPerPackByte,
      2 ** 31,
    );
    const slots = this.kernels.isStored()
      ? 2 ** 31
      : Math.min(LIMITS.ingestLinkSlotsMin + bytes / LIMITS.ingestLinkSlotPackBytes, 2 ** 31);
    this.kernels.setRoom(keep, slots);
  }

  /**
   * Counts work in bytes made (LIMITS.ingestWorkMin); 0: none is new. Throws "pack/too-much-work".
   */
  spend(units: number): void {
    const work = this.kernels.addWork(units);
    if (this.kernels.isStored()) return;
    const max = Math.max(
      LIMITS.ingestWorkMin,
      Math.max(this.#packBytes, this.kernels.packEnd()) * LIMITS.ingestWorkPerPackByte,
    );
    if (work > max) throw new Fault("pack/too-much-work", { work, max });
  }

  /** Throws "pack/too-much-work" where not all links could be noted. */
  checkLinks(): void {
    if (this.kernels.linksAreLost())
      throw new Fault("pack/too-much-work", { reason: "too many ids that nothing else names" });
  }

  /** Judges large trees that kernels have met since the last call. Throws "pack/fsck". */
  async judgeDeferred(watch: TaskWatch): Promise<void> {
    for (let one = this.#deferred.pop(); one !== undefined; one = this.#deferred.pop()) {
      const check = new TreeCheck(one.data, this.#marks, this.#reportOn("tree", one.data));
      for (
        let found = check.next(PIECE_BYTES);
        found !== undefined;
        found = check.next(PIECE_BYTES)
      ) {
        if (found !== "more") throw this.#fsckFault("tree", one.data, one.record, found);
        watch.check();
        if (watch.shouldYield()) await watch.turn();
      }
    }
  }

  /**
   * Bytes [at, at + size) of the memory. It grows under calls, by this thread's and by others': no
   * view outlives one.
   */
  view(at: number, size: number): Uint8Array {
    if (at + size > this.memory.buffer.byteLength) this.memory.grow(0); // another thread grew it: see its whole length
    return new Uint8Array(this.memory.buffer, at, size);
  }

  /** `bytes` of memory that stay taken until the ingest ends. */
  reserve(bytes: number): number {
    const at = this.kernels.reserve(bytes);
    if (at === 0) throw new Fault("pack/too-large");
    return at;
  }

  /** Throws what `code` stands for, if it stands for a fault. */
  check(code: number): void {
    const fault = faultOfCode(code);
    if (this.#refusal !== undefined) throw this.#refusal;
    if (fault === undefined) return;
    throw new Fault(fault, this.facts(this.kernels.faultRecord()));
  }

  /** Returns the facts that a message tells of a record. */
  facts(record: number): Record<string, string | number> {
    if (record >= this.kernels.recordCount()) return { entry: record };
    const one = this.record(record);
    return one.known
      ? { entry: record, offset: one.offset, object: one.id }
      : { entry: record, offset: one.offset };
  }

  record(index: number): EntryRecord {
    const at = this.kernels.recordAt(index);
    return new EntryRecord(this.view(at, RECORD.RECORD_BYTES), at);
  }

  /** Tells the other threads to stop. */
  fail(): void {
    if (this.kernels.faultCode() === CODE.ok) this.kernels.setFault(-1);
  }

  get failed(): boolean {
    return this.kernels.faultCode() !== CODE.ok;
  }

  #judge(record: number, type: number, at: number, size: number): number {
    const name = typeName(type);
    if (name === undefined) return 1;
    try {
      this.spend(size * LIMITS.ingestJudgedWork);
      const data = this.view(at, size).slice();
      if (name === "tree" && size >= DEFERRED_BYTES_MIN) {
        this.#deferred.push({ record, data });
        return 0;
      }
      const refused = checkObject(name, data, this.#marks, this.#reportOn(name, data));
      this.#checkMarks();
      if (refused === undefined) return 0;
      this.#refusal ??= this.#fsckFault(name, data, record, refused);
    } catch (error) {
      this.#refusal ??= asFault(error);
    }
    return 1;
  }

  #checkMarks(): void {
    const { gitmodules, gitattributes } = this.marks;
    const files = gitmodules.length + gitattributes.length;
    if (files > LIMITS.specialFilesMax)
      throw new Fault("pack/too-much-work", { specialFilesMax: LIMITS.specialFilesMax });
  }

  #fsckFault(type: ObjectType, data: Uint8Array, record: number, { id, text }: Refusal): Fault {
    this.kernels.addCalls(1, 0);
    return new Fault("pack/fsck", {
      entry: record,
      object: idOf(type, data),
      id,
      message: `${id}: ${text}`,
    });
  }
}

/** A tree to be judged in pieces. */
interface DeferredTree {
  readonly record: number;
  readonly data: Uint8Array;
}

/** One record, read and written in place. */
export class EntryRecord {
  readonly at: number;
  readonly #view: DataView;

  /** `bytes` are its own, `at` where they lie in the memory. */
  constructor(bytes: Uint8Array, at: number) {
    this.at = at;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get offset(): number {
    return Number(this.#view.getBigUint64(RECORD.R_OFFSET, true));
  }

  set offset(offset: number) {
    this.#view.setBigUint64(RECORD.R_OFFSET, BigInt(offset), true);
  }

  /** Inflated bytes of the entry. */
  get size(): number {
    return Number(this.#view.getBigUint64(RECORD.R_SIZE, true));
  }

  /** Base record, 0xffffffff where there is none or it is not known. */
  get base(): number {
    return this.#view.getUint32(RECORD.R_BASE, true);
  }

  get isDelta(): boolean {
    return this.#view.getUint8(RECORD.R_ENTRY_TYPE) >= 6;
  }

  get isRefDelta(): boolean {
    return this.#view.getUint8(RECORD.R_ENTRY_TYPE) === 7;
  }

  get type(): number {
    return this.#view.getUint8(RECORD.R_TYPE);
  }

  set type(type: number) {
    this.#view.setUint8(RECORD.R_TYPE, type);
  }

  get headerBytes(): number {
    return this.#view.getUint8(RECORD.R_HEADER);
  }

  set headerBytes(bytes: number) {
    this.#view.setUint8(RECORD.R_HEADER, bytes);
  }

  set crc(crc: number) {
    this.#view.setUint32(16, crc, true);
  }

  get unchecked(): boolean {
    return (this.#view.getUint8(RECORD.R_FLAGS) & RECORD.UNCHECKED) !== 0;
  }

  /** Its id is known. */
  get known(): boolean {
    return (this.#view.getUint8(RECORD.R_STATE) & RECORD.KNOWN) !== 0;
  }

  /** Its id; while it is not known, of a ref-delta the base's. */
  get id(): Oid {
    return oidAt(new Uint8Array(this.#view.buffer, this.at + RECORD.R_ID, 20), 0);
  }

  setId(id: Uint8Array): void {
    new Uint8Array(this.#view.buffer, this.at + RECORD.R_ID, 20).set(id);
    this.#view.setUint8(RECORD.R_STATE, this.#view.getUint8(RECORD.R_STATE) | RECORD.KNOWN);
  }

  /** Address of its id in the memory. */
  get idAt(): number {
    return this.at + RECORD.R_ID;
  }
}
