/**
 * Contents whose bytes one of us has hashed or sent, at the address where they lie: so that a push
 * which brings such a file to another path need not send it again. Of large contents the hashes
 * themselves are kept (read/lake-notes.ts); this is the little that small ones need, one id a content:
 *
 *   the first 20 bytes of SHA-256("<content key> <SHA-256 of the bytes>"); hash-memory.ts has the
 *   key
 *
 * Two halves: what is new goes into the younger one, and when that is full the older one is
 * forgotten. An id that is forgotten, or was never told, is sent again: nothing is wrong then.
 */
import { createHash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import { toHex } from "../../base/bytes.js";
import { checkAborted, SingleFlight } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { OID_BYTES } from "../../git/oid.js";
import { OidSet } from "../../git/oid-set.js";

/** A table of so many is written whenever something is new: 100 KB. */
const SMALL_TABLE = 5_000;
/** A larger one when so many are new. */
const WRITTEN_MIN = 500;
/** Ids added in one turn of the event loop: some milliseconds. */
const TURN_IDS = 2_000;

/** Ids that are kept durably, 20 bytes each. */
export interface ProvenRecords {
  proven(signal: AbortSignal): Promise<Uint8Array>;
  putProven(ids: Uint8Array, signal: AbortSignal): Promise<void>;
}

/** Makes the id that says: the content with this key has these bytes. */
function provenId(key: string, sha256: string): Buffer {
  return createHash("sha256").update(`${key} ${sha256}`).digest().subarray(0, OID_BYTES);
}

/** Ids on their way out of a thread, many in one message. */
export class ProvenNotes {
  readonly #tell: (ids: Uint8Array) => void;
  #held: Buffer[] = [];

  constructor(tell: (ids: Uint8Array) => void) {
    this.#tell = tell;
  }

  add(key: string, sha256: string): void {
    this.#held.push(provenId(key, sha256));
    if (this.#held.length === LIMITS.provenNotesMax) this.flush();
  }

  flush(): void {
    if (this.#held.length === 0) return;
    this.#tell(Uint8Array.from(Buffer.concat(this.#held)));
    this.#held = [];
  }
}

/** Ids, to be looked up and to be written, in the order they came. */
class Half {
  readonly ids = new OidSet();
  readonly parts: Uint8Array[] = [];
}

/** Two halves: where the younger one is full the older one goes. */
class Table {
  #young = new Half();
  #old = new Half();

  get size(): number {
    return this.#young.ids.size + this.#old.ids.size;
  }

  get parts(): readonly Uint8Array[] {
    return [...this.#old.parts, ...this.#young.parts];
  }

  has(hex: string): boolean {
    return this.#young.ids.has(hex) || this.#old.ids.has(hex);
  }

  add(id: Uint8Array, hex = toHex(id)): void {
    if (this.has(hex)) return;
    if (this.#young.ids.size >= LIMITS.provenContentsMax)
      [this.#old, this.#young] = [this.#young, new Half()];
    this.#young.ids.add(hex);
    this.#young.parts.push(id);
  }

  /** In turns: they may be many. */
  async addAll(ids: readonly Uint8Array[]): Promise<void> {
    for (const [at, id] of ids.entries()) {
      if (at % TURN_IDS === TURN_IDS - 1) await nextTurn();
      this.add(id);
    }
  }
}

export class ProvenContents {
  readonly #records: ProvenRecords;
  readonly #onUnsaved: (error: unknown) => void;
  readonly #flights = new SingleFlight<"load" | "save", void>();
  /** Told since the table was last written. */
  #fresh = new Table();
  /** On its way into the table. */
  #written: Table | undefined;
  /** The table; undefined: nobody has asked for a while. */
  #table: Table | undefined;
  /** Ids in it when it was last looked at. */
  #size = 0;
  #idle: NodeJS.Timeout | undefined;

  constructor(records: ProvenRecords, onUnsaved: (error: unknown) => void) {
    this.#records = records;
    this.#onUnsaved = onUnsaved;
  }

  /** As `ProvenNotes` tells them. */
  add(ids: Uint8Array): void {
    for (let at = 0; at < ids.length; at += OID_BYTES) {
      const id = ids.subarray(at, at + OID_BYTES);
      const hex = toHex(id);
      if (this.#table?.has(hex) !== true) this.#fresh.add(id, hex);
    }
  }

  async has(key: string, sha256: string, signal: AbortSignal): Promise<boolean> {
    const id = toHex(provenId(key, sha256));
    return (
      this.#fresh.has(id) || this.#written?.has(id) === true || (await this.#load(signal)).has(id)
    );
  }

  /** Writes them where that pays: all are written at once, so that a few wait for more. */
  async save(signal: AbortSignal): Promise<void> {
    if (!this.#isWorthWriting()) return;
    try {
      await this.#flights.run("save", (shared) => this.#save(shared), signal);
    } catch (error) {
      checkAborted(signal);
      this.#onUnsaved(error);
    }
  }

  async #save(signal: AbortSignal): Promise<void> {
    const table = await this.#load(signal);
    if (!this.#isWorthWriting()) return; // there are more than was known
    // What is told meanwhile waits for the next time.
    [this.#written, this.#fresh] = [this.#fresh, new Table()];
    await table.addAll(this.#written.parts);
    this.#written = undefined;
    await this.#records.putProven(Buffer.concat(table.parts), signal);
    this.#size = table.size;
  }

  #isWorthWriting(): boolean {
    return this.#fresh.size >= (this.#size <= SMALL_TABLE ? 1 : WRITTEN_MIN);
  }

  /** The table is some MiB, and few ask for it: it is let go when nobody has for a while. */
  async #load(signal: AbortSignal): Promise<Table> {
    this.#idle ??= setTimeout(() => {
      this.#idle = undefined;
      this.#table = undefined;
    }, LIMITS.provenTableKeptMs).unref();
    this.#idle.refresh();
    for (;;) {
      if (this.#table !== undefined) return this.#table;
      await this.#flights.run("load", (shared) => this.#loadOnce(shared), signal);
    }
  }

  async #loadOnce(signal: AbortSignal): Promise<void> {
    const known = await this.#records.proven(signal);
    const ids: Uint8Array[] = [];
    for (let at = 0; at + OID_BYTES <= known.length; at += OID_BYTES)
      ids.push(known.subarray(at, at + OID_BYTES));
    const table = new Table();
    await table.addAll(ids);
    this.#size = table.size;
    this.#table = table;
  }
}
