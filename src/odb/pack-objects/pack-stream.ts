/**
 * A pack on its way to one client: bytes from a file that may still grow, and what is known about
 * them.
 */
import { type FileHandle, open } from "node:fs/promises";
import { Fault } from "../../base/fault.js";
import { checkAborted } from "../../base/flow.js";
import type { LocalCopy } from "../../store/blocks.js";
import type { PlanFigures } from "./tasks.js";

/** Progress of a pack. */
export interface PackNews {
  /** Objects found so far. */
  readonly found: number;
  /** Known once all are found. Undefined for good where the pack was stored, not made. */
  readonly plan: PlanFigures | undefined;
  /** Objects written so far, roughly: the last report's. */
  readonly objects: number;
  /** Bytes that can be read. */
  readonly bytes: number;
  /** No more will come. */
  readonly whole: boolean;
}

export interface PackStream {
  readonly news: PackNews;
  /**
   * Fills `views` in order with the next bytes, as many as there are and fit, waiting for the
   * first; how many, 0 at the pack's end. Throws what stopped the generation.
   */
  read(views: readonly Uint8Array[], signal: AbortSignal): Promise<number>;
  /** Returns the fault that stopped the generation, if one has. */
  failure(): Fault | undefined;
  close(): Promise<void>;
}

/** Throws "store/missing" where the file has gone. */
export async function openForReading(path: string): Promise<FileHandle> {
  try {
    return await open(path, "r");
  } catch (error) {
    const code =
      (error as NodeJS.ErrnoException).code === "ENOENT" ? "store/missing" : "store/failed";
    throw new Fault(code, { file: path, reason: (error as Error).message }, error);
  }
}

/**
 * Fills `views` with bytes [position, end) of the file, as many as fit, however few a read brings.
 * Throws "odb/damaged" where it ends before.
 */
export async function readViews(
  file: FileHandle,
  views: readonly Uint8Array[],
  position: number,
  end: number,
): Promise<number> {
  let read = 0;
  for (
    let parts = within(views, 0, end - position);
    parts.length > 0;
    parts = within(views, read, end - position)
  ) {
    const { bytesRead } = await file.readv(parts, position + read);
    if (bytesRead === 0)
      throw new Fault("odb/damaged", {
        reason: "a pack's file ends early",
        at: position + read,
        expected: end,
      });
    read += bytesRead;
  }
  return read;
}

/** Bytes [start, end) of the views laid end to end, as far as they go. */
function within(views: readonly Uint8Array[], start: number, end: number): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const view of views) {
    const part = view.subarray(Math.max(0, start - at), Math.max(0, end - at));
    if (part.length > 0) parts.push(part);
    at += view.length;
  }
  return parts;
}

/** A stored pack as it lies. */
export class StoredPackStream implements PackStream {
  readonly news: PackNews;
  readonly #file: FileHandle;
  /** Of a local copy that comes as it is read. */
  readonly #bring: LocalCopy["bring"];
  #position = 0;

  private constructor(file: FileHandle, news: PackNews, bring: LocalCopy["bring"]) {
    this.#file = file;
    this.news = news;
    this.#bring = bring;
  }

  /** Throws "odb/damaged" where the file has not the length it should have. */
  static async open(pack: {
    readonly path: string;
    readonly bytes: number;
    readonly objectCount: number;
    readonly checksum: string;
    readonly name?: string;
    readonly bring?: LocalCopy["bring"];
  }): Promise<StoredPackStream> {
    const file = await openForReading(pack.path);
    const { size } = await file.stat();
    if (size !== pack.bytes) {
      await file.close();
      throw new Fault("odb/damaged", {
        pack: pack.name ?? pack.checksum,
        bytes: size,
        expected: pack.bytes,
      });
    }
    const { objectCount: objects, bytes } = pack;
    const news = { found: objects, plan: undefined, objects, bytes, whole: true };
    return new StoredPackStream(file, news, pack.bring);
  }

  async read(views: readonly Uint8Array[], signal: AbortSignal): Promise<number> {
    checkAborted(signal);
    if (this.#position >= this.news.bytes) return 0;
    const wanted = views.reduce((sum, view) => sum + view.length, this.#position);
    await this.#bring?.(this.#position, Math.min(wanted, this.news.bytes), signal);
    const bytes = await readViews(this.#file, views, this.#position, this.news.bytes);
    this.#position += bytes;
    return bytes;
  }

  failure(): Fault | undefined {
    return undefined;
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
