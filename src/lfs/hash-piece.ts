/**
 * SHA-256 of a file that is still arriving, piece by piece, each in whichever pool thread is free:
 * between pieces only 116 bytes of state are kept, so an upload that takes a day holds no thread.
 * node:crypto is three times as fast (measured: 690 against 190 MB/s) but cannot hand on its state;
 * it hashes what is one piece.
 */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { createSHA256 } from "hash-wasm";
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import { TaskWatch } from "../pool/control.js";
import type { HashPiece, HashPieceRequest, HashPieceResult } from "./tasks.js";

/**
 * One for the thread: tasks run one after another, and nothing here waits in the middle of a piece.
 */
const moving = await createSHA256();

export function hashPiece({ piece, state, last, control }: HashPieceRequest): HashPieceResult {
  const watch = new TaskWatch(control);
  if (state === undefined && last) {
    const hash = createHash("sha256");
    readPiece(piece, watch, (bytes) => hash.update(bytes));
    return { sha256: hash.digest("hex") };
  }
  if (state === undefined) moving.init();
  else moving.load(state);
  readPiece(piece, watch, (bytes) => moving.update(bytes));
  return last ? { sha256: moving.digest("hex") } : { state: moving.save() };
}

function readPiece(piece: HashPiece, watch: TaskWatch, take: (bytes: Uint8Array) => void): void {
  if ("memory" in piece) {
    take(new Uint8Array(piece.memory, 0, piece.length));
    return;
  }
  const { path, start, end } = piece;
  const buffer = new Uint8Array(LIMITS.streamChunkBytes);
  const file = openSync(path, "r");
  try {
    for (let at = start; at < end; ) {
      watch.check();
      const read = readSync(file, buffer, 0, Math.min(buffer.length, end - at), at);
      if (read === 0)
        throw new Fault("store/failed", {
          reason: "an upload's file is shorter than what was written",
          at,
        });
      take(buffer.subarray(0, read));
      at += read;
    }
  } finally {
    closeSync(file);
  }
}
