/**
 * The manifest: one small JSON file per repository, the commit point. Nothing is visible before it,
 * and it is only ever replaced by compare-and-swap. JSON, so that a person can read it in an
 * emergency.
 *
 *   {"format":2,"revision":7,"name":"ns/name","head":"refs/heads/main",
 *    "refs":{"refs/heads/main":"<oid>","refs/tags/v1":["<oid>","<peeled>"]},        while they are few
 *    "snapshot":{"key":"git/snapshots/<sha256>","changes":{"refs/heads/x":"<oid>","refs/heads/y":null}},   once they are many
 *    "packs":[{"checksum":…,"bytes":…,"objects":…,"origin":"push","closed":true,"selfContained":true,"tips":[…]}],
 *    "check":"<SHA-256 of this text without this line>"}                           a person who had to edit it takes the line out
 *
 * "name" is a hint for people whose database is lost: what it was called when this was written.
 * Nothing is looked up by it. Ref names hold one UTF-16 unit per byte (base/bytes `latin1`).
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { strictText, utf8 } from "../../base/bytes.js";
import { Fault } from "../../base/fault.js";
import type { PackLine } from "../pack-line.js";

/** 1 lay under its name, and could stand for a lakeFS repository. */
const FORMAT = 2;

const OID = z.string().regex(/^[0-9a-f]{40}$/);
/**
 * Below "git/": lists of what packs promise, "<checksum>" and "<checksum>.ids" (read/lake-notes.ts).
 */
export const PROMISED_FOLDER = "lake-promised";

/** An id, or [id, peeled id] for an annotated tag. */
const REF_VALUE = z.union([OID, z.tuple([OID, OID])]);

const PACK = z.object({
  checksum: OID,
  bytes: z.number().int().nonnegative(),
  objects: z.number().int().nonnegative(),
  origin: z.enum(["push", "synthesized", "repack"]),
  closed: z.boolean(),
  selfContained: z.boolean(),
  /** Objects nothing in the pack links to; absent: too many to keep. */
  tips: z.array(OID).optional(),
  /**
   * Blobs its trees name that are still only in lakeFS, each with a known id
   * (trees/promised-list.ts says where). Absent: none.
   */
  promised: z.number().int().positive().optional(),
});

const MANIFEST = z.object({
  format: z.literal(FORMAT),
  revision: z.number().int().nonnegative(),
  name: z.string().optional(),
  head: z.string(),
  refs: z.record(z.string(), REF_VALUE),
  snapshot: z
    .object({ key: z.string(), changes: z.record(z.string(), REF_VALUE.nullable()) })
    .optional(),
  packs: z.array(PACK),
});

export type RefValue = z.infer<typeof REF_VALUE>;
export type Manifest = Readonly<Omit<z.infer<typeof MANIFEST>, "packs">> & {
  readonly packs: readonly PackLine[];
};

/** Makes the manifest of a repository before its first push. */
export function emptyManifest(head: string): Manifest {
  return { format: FORMAT, revision: 0, head, refs: {}, packs: [] };
}

export function encodeManifest(manifest: Manifest): Uint8Array {
  const body = JSON.stringify(manifest, undefined, 1).slice(0, -END.length);
  return utf8(`${body},\n "check": "${checkOf(body)}"${END}\n`);
}

/** End of the body, indented by one. */
const END = "\n}";
const CHECK = /,\n "check": "([0-9a-f]{64})"\n\}\n$/;

function checkOf(body: string): string {
  return createHash("sha256").update(body).digest("hex");
}

/** Throws "manifest/damaged": a manifest that cannot be read is never an empty repository. */
export function decodeManifest(bytes: Uint8Array, where: string): Manifest {
  const text = strictText(bytes);
  if (text === undefined)
    throw new Fault("manifest/damaged", { manifest: where, reason: "not UTF-8" });
  const check = CHECK.exec(text);
  if (check !== null && check[1] !== checkOf(text.slice(0, check.index))) {
    throw new Fault("manifest/damaged", {
      manifest: where,
      reason: "its content does not match its check",
    });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Fault(
      "manifest/damaged",
      { manifest: where, reason: (error as Error).message },
      error,
    );
  }
  const format = (value as { readonly format?: unknown } | null)?.format;
  if (typeof format === "number" && format !== FORMAT) {
    throw new Fault("manifest/damaged", {
      manifest: where,
      reason: `its format is ${format}, and this version reads ${FORMAT} only`,
    });
  }
  const parsed = MANIFEST.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new Fault("manifest/damaged", {
    manifest: where,
    at: issue?.path.join("."),
    reason: issue?.message,
  });
}
