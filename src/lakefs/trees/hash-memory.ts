/**
 * Hashes of contents, found once: asked for and told over a port, kept durably by the main side
 * (read/lake-notes.ts).
 */
import { createHash } from "node:crypto";
import type { MessagePort } from "node:worker_threads";
import { Fault } from "../../base/fault.js";
import { TaskPort } from "../../pool/port.js";
import type { HashedContent, SynthesisNews, SynthesisQuestions, SynthesisWord } from "./tasks.js";
import { fullAddress } from "../api/address.js";
import type { LakeEntry } from "../rules/path-rules.js";
import { ProvenNotes } from "./proven-contents.js";

/**
 * Under what a content's facts are kept; undefined: its address is not told, so nothing identifies
 * the bytes.
 */
export function contentKey(
  { address, checksum, size }: Pick<LakeEntry, "address" | "checksum" | "size">,
  namespace: string,
): string | undefined {
  if (address === undefined) return undefined;
  return createHash("sha256")
    .update(JSON.stringify([fullAddress(address, namespace), checksum, size]))
    .digest("hex");
}

export class HashMemory {
  readonly #port: TaskPort<SynthesisNews, SynthesisQuestions, SynthesisWord>;
  readonly #proven = new ProvenNotes((ids) => this.tell({ kind: "proven", ids }));
  readonly #leftOff = new AbortController();

  constructor(port: MessagePort) {
    this.#port = new TaskPort(port, () => this.#leftOff.abort(new Fault("base/aborted")));
  }

  /** Aborted when the task is to end with what it has. */
  get leftOff(): AbortSignal {
    return this.#leftOff.signal;
  }

  tell(news: SynthesisNews): void {
    this.#port.tell(news);
  }

  /** A small content has these bytes. */
  prove(key: string, sha256: string): void {
    this.#proven.add(key, sha256);
  }

  /** Returns the values remembered under each key. */
  async recall(keys: readonly string[]): Promise<readonly (HashedContent | undefined)[]> {
    return keys.length === 0 ? [] : this.#port.ask("recall", keys);
  }

  /**
   * Resolves when all that was told has been heard: a task's result overtakes its messages, and the
   * port is closed behind it.
   */
  async heard(): Promise<void> {
    this.#proven.flush();
    await this.#port.heard();
  }
}
