/**
 * The journal of a recorded process (recorder.ts): what it changed on disk and answered, in order.
 *
 *   record = u32 bytes of head | u32 bytes of data | head, JSON | data
 */

export type Head =
  | { readonly op: "mkdir" | "remove"; readonly path: string }
  | { readonly op: "rename" | "link" | "copy"; readonly path: string; readonly to: string }
  | { readonly op: "open"; readonly id: string; readonly path: string; readonly flags: string }
  /** `at` -1: behind what this opened file has written so far. */
  | { readonly op: "write"; readonly id: string; readonly at: number }
  /** Begun at this place, done at that of "synced". */
  | { readonly op: "sync"; readonly id: string; readonly number: string; readonly site: string }
  | { readonly op: "synced"; readonly number: string }
  /** A sync that failed: Linux takes what it could not write for clean from here on. */
  | { readonly op: "unsynced"; readonly id: string }
  | {
      readonly op: "answer";
      readonly method: string;
      readonly url: string;
      readonly status: number;
      readonly last: boolean;
    };

export type JournalRecord = Head & { readonly bytes: Buffer };

/** An order to a recorded process: what to do at a place instead of a change. */
export interface Order {
  /** An error code as the system's, or the end of the process. */
  readonly act: "ENOSPC" | "EIO" | "EXDEV" | "die";
  /** Part of the name of the function that makes the change; undefined: any. */
  readonly site?: string;
  /**
   * "open", "write", "sync", "mkdir", "link", "rename", "copy", "remove", "read", "look" (stat,
   * readdir); undefined: all.
   */
  readonly kinds?: readonly string[];
  /** Part of the path that is changed; undefined: any. */
  readonly place?: string;
  /** So many that fit are let through first, counted by the bytes of a file beside the orders. */
  readonly skip?: number;
  /** The first time only; the order is removed then. */
  readonly once: boolean;
}

const PREFIX_BYTES = 8;

export function encodeRecord(head: Head, bytes: Uint8Array): Uint8Array {
  const json = Buffer.from(JSON.stringify(head));
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32LE(json.length);
  prefix.writeUInt32LE(bytes.length, 4);
  return Buffer.concat([prefix, json, bytes]);
}

/** Whole records; what a killed process left of a last one is passed over. */
export function readJournal(file: Buffer): JournalRecord[] {
  const records: JournalRecord[] = [];
  for (let at = 0; at + PREFIX_BYTES <= file.length; ) {
    const head = at + PREFIX_BYTES;
    const data = head + file.readUInt32LE(at);
    const end = data + file.readUInt32LE(at + 4);
    if (end > file.length) break;
    records.push({
      ...(JSON.parse(file.toString("utf8", head, data)) as Head),
      bytes: file.subarray(data, end),
    });
    at = end;
  }
  return records;
}
