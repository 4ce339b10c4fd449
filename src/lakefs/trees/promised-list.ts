/**
 * Blobs that a synthesized pack names and does not hold: their ids are known from lakeFS' metadata,
 * so nobody has read them yet. A list beside the pack says where each can be read. Lines of JSON,
 * because lists of a million are written and read in pieces, and a person may have to:
 *
 *   ["<lakeFS commit id>"]                     those that follow are at this commit
 *   ["<blob id>",<size in bytes>,"<path>"]     one character per byte of the path
 *
 * Its checksum stands with its ids (read/lake-notes.ts): a list that lost a line would lose a file.
 */
import { createHash } from "node:crypto";
import { closeSync, fdatasyncSync, ftruncateSync, openSync, readSync, rmSync } from "node:fs";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import type { Oid } from "../../git/oid.js";
import { OidSet } from "../../git/oid-set.js";
import { writeExactly } from "../../odb/index-pack/write-exactly.js";
import type { PromisedIds, PromisedListFile } from "./tasks.js";

export interface PromisedBlob {
  readonly oid: Oid;
  readonly size: number;
  /** latin1 text. */
  readonly path: string;
  readonly commit: string;
}

const BUFFER_BYTES = 256 * 1024;

export class PromisedWriter {
  readonly #path: string;
  #ids = new OidSet();
  #commit = "";
  #lines: string[] = [];
  #waiting = 0;
  #file: number | undefined;
  #length = 0;
  #hash = createHash("sha256");
  /** Bytes of the list at `mark`. */
  #marked = 0;

  constructor(path: string) {
    this.#path = path;
  }

  add({ oid, size, path, commit }: PromisedBlob): void {
    if (this.#ids.has(oid)) return;
    this.#ids.add(oid);
    if (commit !== this.#commit) this.#line([commit]);
    this.#commit = commit;
    this.#line([oid, size, path]);
  }

  /** All that was added holds, whatever fails later. */
  mark(): void {
    this.#flush();
    this.#marked = this.#length;
  }

  /** Takes back what was added since `mark`. */
  rollBack(): void {
    this.#flush();
    if (this.#length === this.#marked) return;
    if (this.#file !== undefined) ftruncateSync(this.#file, this.#marked);
    [this.#length, this.#commit, this.#ids, this.#hash] = [
      this.#marked,
      "",
      new OidSet(),
      createHash("sha256"),
    ];
    for (const line of linesOf(this.#path)) {
      this.#hash.update(`${line}\n`);
      const row = parseRow(this.#path, line);
      if (row.length === 3) this.#ids.add(row[0]);
      else this.#commit = row[0];
    }
    if (this.#ids.size === 0) this.discard();
  }

  /** Ends the list; returns undefined, and leaves no file, where there is nothing. */
  finish(): PromisedIds | undefined {
    if (this.#ids.size === 0) return undefined;
    this.#flush();
    if (this.#file !== undefined) fdatasyncSync(this.#file); // it will be published
    this.close();
    return { ids: this.#ids.sorted(), check: this.#hash.digest("hex") };
  }

  /** Removes what was written. */
  discard(): void {
    this.close();
    rmSync(this.#path, { force: true });
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #line(row: readonly (string | number)[]): void {
    const line = `${JSON.stringify(row)}\n`;
    this.#lines.push(line);
    this.#waiting += line.length;
    if (this.#waiting >= BUFFER_BYTES) this.#flush();
  }

  #flush(): void {
    if (this.#waiting === 0) return;
    this.#file ??= openSync(this.#path, "wx");
    const bytes = Buffer.from(this.#lines.join(""));
    writeExactly(this.#file, bytes, this.#length);
    this.#hash.update(bytes);
    this.#length += bytes.length;
    this.#lines = [];
    this.#waiting = 0;
  }
}

/**
 * All of a list, in order. Throws "odb/damaged" with the fact `promisedOf`, where there is a
 * checksum before anything is yielded.
 */
export function* readPromised(list: PromisedListFile): Generator<PromisedBlob, void, undefined> {
  try {
    if (list.check !== undefined && list.check !== hashOf(list.path))
      throw new Fault("odb/damaged", {
        file: list.path,
        reason: "its content does not match its checksum",
      });
    yield* blobsOf(list);
  } catch (error) {
    throw damagedList(list.pack, error);
  }
}

function* blobsOf({ path, count }: PromisedListFile): Generator<PromisedBlob, void, undefined> {
  let commit = "";
  let left = count;
  for (const line of linesOf(path)) {
    const row = parseRow(path, line);
    if (row.length === 1) commit = row[0];
    else {
      left--;
      yield { oid: row[0], size: row[1], path: row[2], commit };
    }
  }
  if (left !== 0)
    throw new Fault("odb/damaged", {
      file: path,
      reason: `it lists ${count - left} blobs in place of ${count}`,
    });
}

function hashOf(path: string): string {
  const file = openSync(path, "r");
  try {
    const hash = createHash("sha256");
    const buffer = Buffer.allocUnsafe(BUFFER_BYTES);
    for (let at = 0, read = 1; read > 0; at += read) {
      read = readSync(file, buffer, 0, buffer.length, at);
      hash.update(buffer.subarray(0, read));
    }
    return hash.digest("hex");
  } finally {
    closeSync(file);
  }
}

type Row = readonly [commit: string] | readonly [oid: Oid, size: number, path: string];

function parseRow(path: string, line: string): Row {
  let row: unknown;
  try {
    row = JSON.parse(line);
  } catch (error) {
    throw new Fault("odb/damaged", { file: path, reason: "a line is not JSON" }, error);
  }
  if (isRow(row)) return row;
  throw new Fault("odb/damaged", { file: path, reason: "a line is no row of a list" });
}

function isRow(row: unknown): row is Row {
  if (!Array.isArray(row) || typeof row[0] !== "string") return false;
  if (row.length === 1) return row[0].length > 0;
  return (
    row.length === 3 &&
    /^[0-9a-f]{40}$/.test(row[0]) &&
    Number.isSafeInteger(row[1]) &&
    typeof row[2] === "string"
  );
}

function* linesOf(path: string): Generator<string, void, undefined> {
  const file = openSync(path, "r");
  try {
    const buffer = Buffer.allocUnsafe(BUFFER_BYTES);
    let rest = Buffer.alloc(0);
    for (let at = 0, read = 1; read > 0; at += read) {
      read = readSync(file, buffer, 0, buffer.length, at);
      const bytes = Buffer.concat([rest, buffer.subarray(0, read)]);
      let start = 0;
      for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, start)) {
        yield bytes.toString("utf8", start, end);
        start = end + 1;
      }
      rest = Buffer.from(bytes.subarray(start));
      if (rest.length > LIMITS.promisedLineBytesMax)
        throw new Fault("odb/damaged", { file: path, reason: "a line is longer than any" });
    }
    if (rest.length > 0)
      throw new Fault("odb/damaged", { file: path, reason: "it ends in the middle of a line" });
  } finally {
    closeSync(file);
  }
}

/** Adds to what is damaged or missing whose list it is. */
export function damagedList(pack: string, error: unknown): unknown {
  if (!(error instanceof Fault) || (error.code !== "odb/damaged" && error.code !== "store/missing"))
    return error;
  const file = String(error.facts.file ?? error.facts.key);
  return new Fault(
    "odb/damaged",
    {
      file,
      reason: error.code === "store/missing" ? "it is missing" : error.facts.reason,
      promisedOf: pack,
    },
    error,
  );
}
