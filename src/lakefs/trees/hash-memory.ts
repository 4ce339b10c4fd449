/**
 * What contents hash to, found out once: asked for and told over a port, kept durably by the main
 * side (records.ts).
 */
import { createHash } from "node:crypto";
import type { MessagePort } from "node:worker_threads";
import { Fault } from "../../base/fault.js";
import type { RecallAnswer, SynthesisAnswer, SynthesisNews } from "./tasks.js";
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

interface Question {
  readonly resolve: (values: RecallAnswer["values"]) => void;
  readonly reject: (fault: Fault) => void;
}

export class HashMemory {
  readonly #port: MessagePort;
  readonly #open = new Map<number, Question>();
  readonly #proven = new ProvenNotes((ids) => this.tell({ kind: "proven", ids }));
  readonly #leftOff = new AbortController();
  #asked = 0;

  constructor(port: MessagePort) {
    this.#port = port;
    port.on("message", (answer: SynthesisAnswer) => {
      if ("leaveOff" in answer) return this.#leftOff.abort(new Fault("base/aborted"));
      this.#open.get(answer.question)?.resolve(answer.values);
      this.#open.delete(answer.question);
    });
    // The main side has gone: without this the task would wait for ever.
    port.on("close", () => {
      for (const { reject } of this.#open.values()) reject(new Fault("base/aborted"));
    });
  }

  /** Aborted when the task is to end with what it has. */
  get leftOff(): AbortSignal {
    return this.#leftOff.signal;
  }

  tell(news: SynthesisNews): void {
    this.#port.postMessage(news);
  }

  /** A small content has these bytes. */
  prove(key: string, sha256: string): void {
    this.#proven.add(key, sha256);
  }

  /** What is remembered under each key. */
  recall(keys: readonly string[]): Promise<RecallAnswer["values"]> {
    return keys.length === 0 ? Promise.resolve([]) : this.#ask(keys);
  }

  /**
   * Resolves when all that was told has been heard: a task's result overtakes its messages, and the
   * port is closed behind it.
   */
  async heard(): Promise<void> {
    this.#proven.flush();
    await this.#ask([]);
  }

  #ask(keys: readonly string[]): Promise<RecallAnswer["values"]> {
    const question = this.#asked++;
    return new Promise((resolve, reject) => {
      this.#open.set(question, { resolve, reject });
      this.tell({ kind: "recall", question, keys });
    });
  }
}
