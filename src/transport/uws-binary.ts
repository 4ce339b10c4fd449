/**
 * Holds the compiled part of uWebSockets.js against a pinned SHA-256 before it is loaded. The npm
 * packages @uwsjs/* are one person's republish of upstream's v20.51: a changed binary under the
 * same version, or one that was replaced on disk, is not loaded.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

/**
 * SHA-256 of uws.node in @uwsjs/<platform>@20.51.4, by platform, processor and Node.js's version.
 */
export const UWS_BINARIES: Readonly<Record<string, string>> = {
  "linux-x64-20": "4d482084b665c225892917ee0e9b9572d89eaa6f3dc200ff5e536293d3456c89",
  "linux-x64-22": "f687e7c3666b5cca9d355184bbf07bb0550f5ba0d3ffd453248ccfec552dde6c",
  "linux-x64-23": "ed86f2297e70febcc89138818c2ca503dad29783bc4bba2aa7cc6d9beba70739",
};

/** "linux-x64-20": as the packages are named. */
export const UWS_PLATFORM: string = `${process.platform}-${process.arch}-${process.versions.node.split(".")[0]}`;

export interface BinaryRefusal {
  /**
   * "changed": there is a binary, and it is not the pinned one. "absent": there is none to load.
   */
  readonly kind: "absent" | "changed";
  /** A sentence without its full stop: what is wrong and what to do. */
  readonly reason: string;
}

/**
 * Returns undefined if the binary at `file` is the pinned one, else why it must not be loaded.
 * Without `file` it is looked up where uWebSockets.js will find it. Throws nothing.
 */
export async function refuseBinary(file?: string): Promise<BinaryRefusal | undefined> {
  const expected = UWS_BINARIES[UWS_PLATFORM];
  if (expected === undefined)
    return {
      kind: "absent",
      reason: `lakepack knows no binary of uWebSockets.js for ${UWS_PLATFORM}`,
    };
  try {
    const path = file ?? findBinary();
    const found = createHash("sha256")
      .update(await readFile(path))
      .digest("hex");
    if (found === expected) return undefined;
    return {
      kind: "changed",
      reason: `${path} has SHA-256 ${found} and not ${expected}, with which lakepack was tested: install the packages again (npm ci)`,
    };
  } catch (error) {
    return {
      kind: "absent",
      reason: `uWebSockets.js or its binary for ${UWS_PLATFORM} is not installed (${String(error).split("\n")[0]?.slice(0, 200)})`,
    };
  }
}

/** Returns the file where uWebSockets.js's own `require` finds the binary of this platform. */
function findBinary(): string {
  const library = createRequire(import.meta.url).resolve("uWebSockets.js");
  return createRequire(library).resolve(`@uwsjs/${UWS_PLATFORM}/uws.node`);
}
