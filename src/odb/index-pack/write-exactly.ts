/** Writes that may come back short, gone on with until all is written. */
import { writeSync } from "node:fs";

export function writeExactly(file: number, bytes: Uint8Array, position: number): void {
  for (let written = 0; written < bytes.length; ) {
    written += writeSync(file, bytes, written, bytes.length - written, position + written);
  }
}
