/** SHA-256 of large files, computed once: asked for and told over a port, kept durably by the main side (records.ts). */
import { createHash } from "node:crypto";
import type { MessagePort } from "node:worker_threads";
import type { SynthesisAnswer, SynthesisNews } from "../pool/synthesize-tasks.js";
import type { LakeEntry } from "./path-rules.js";

/** Under what a file's hash is kept; undefined: its address is not told, so nothing identifies the bytes. */
export function hashKey({ address, checksum, size }: LakeEntry): string | undefined {
  if (address === undefined) return undefined;
  return createHash("sha256").update(`${address}\n${checksum}\n${size}`).digest("hex");
}

export class HashMemory {
  readonly #port: MessagePort;

  constructor(port: MessagePort) {
    this.#port = port;
  }

  tell(news: SynthesisNews): void {
    this.#port.postMessage(news);
  }

  /** What is remembered under each key. */
  recall(keys: readonly string[]): Promise<SynthesisAnswer> {
    if (keys.length === 0) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      this.#port.once("message", resolve);
      // The main side closes the port when it has gone: without this the task would wait for ever.
      this.#port.once("close", () => reject(new Error("the port was closed")));
      this.tell({ kind: "recall", keys });
    });
  }
}
