/**
 * An upload on its way to a local file, hashed by the pool while it arrives. At most two pieces are
 * not hashed yet: then `write` waits. Each piece is also synced, so that the end of a large upload
 * is not one long sync during which the client hears nothing (git-lfs gives up after 30 s).
 */
import { randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import type { Pool } from "../pool/task.js";
import type { LfsObject } from "./store.js";
import { hashTask } from "./tasks.js";

export interface SpoolServices {
  readonly pool: Pool;
  /** Folder of what is not finished, emptied at every start. */
  readonly incoming: string;
}

export class HashedSpool {
  readonly path: string;
  readonly #services: SpoolServices;
  readonly #object: LfsObject;
  readonly #signal: AbortSignal;
  #file: FileHandle | undefined;
  #bytes = 0;
  /** Bytes whose hashing has been asked for. */
  #asked = 0;
  #state: Uint8Array | undefined;
  #sha256: string | undefined;
  #hashing: Promise<void> = Promise.resolve();

  constructor(services: SpoolServices, object: LfsObject, signal: AbortSignal) {
    this.#services = services;
    this.#object = object;
    this.#signal = signal;
    this.path = join(services.incoming, `lfs-${randomBytes(12).toString("hex")}`);
  }

  async open(): Promise<void> {
    await mkdir(this.#services.incoming, { recursive: true });
    this.#file = await open(this.path, "wx");
  }

  async write(bytes: Uint8Array): Promise<void> {
    const { size } = this.#object;
    if (bytes.length > size - this.#bytes)
      throw new Fault("lfs/mismatch", { size, reason: "more bytes than announced" });
    await writeAll(this.#opened(), bytes, this.#bytes);
    this.#bytes += bytes.length;
    if (this.#bytes - this.#asked < LIMITS.lfsHashBytes || this.#bytes === size) return;
    await this.#hashing; // one piece behind at most
    this.#hashNext(false);
  }

  /** Throws "lfs/mismatch" where size or hash are not the announced ones. */
  async finish(): Promise<void> {
    const { oid, size } = this.#object;
    if (this.#bytes !== size) throw new Fault("lfs/mismatch", { size, received: this.#bytes });
    await this.#hashing;
    this.#hashNext(true);
    await this.#hashing;
    if (this.#sha256 !== oid) throw new Fault("lfs/mismatch", { oid, received: this.#sha256 });
  }

  async discard(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await this.#hashing.catch(() => undefined); // a task may still read it
    await file?.close();
    await rm(this.path, { force: true });
  }

  #hashNext(last: boolean): void {
    const request = {
      piece: { path: this.path, start: this.#asked, end: this.#bytes },
      state: this.#state,
      last,
    };
    this.#asked = this.#bytes;
    const hashed = this.#services.pool
      .run(hashTask, request, { signal: this.#signal })
      .then((result) => {
        if ("sha256" in result) this.#sha256 = result.sha256;
        else this.#state = result.state;
      });
    this.#hashing = Promise.all([hashed, this.#opened().datasync()]).then(() => undefined);
    this.#hashing.catch(() => undefined); // the next write or `finish` sees it
  }

  #opened(): FileHandle {
    if (this.#file === undefined) throw new Fault("base/aborted");
    return this.#file;
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}
