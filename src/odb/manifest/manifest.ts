/**
 * The manifest: one small JSON file per repository, the commit point. Nothing is visible before it,
 * and it is only ever replaced by compare-and-swap. JSON, so that a person can read it in an
 * emergency.
 *
 *   {"format":3,"revision":7,"nonce":"<16 hex>","recent":["<16 hex>",…],
 *    "name":"ns/name","head":"refs/heads/main",
 *    "refs":{"refs/heads/main":"<oid>","refs/tags/v1":["<oid>","<peeled>"]},  while they are few
 *    "snapshot":{"key":"git/snapshots/<sha256>.<16 hex>",                     once they are many
 *      "changes":{"refs/heads/x":"<oid>","refs/heads/y":null}},
 *    "packs":[{"checksum":…,"name":…,"bytes":…,"objects":…,"origin":"push","closed":true,
 *      "selfContained":true,"tips":[…]}],
 *    "bundles":[{"name":…,"bytes":…,"token":…,"heads":[…],"tags":[…]}],   absent: none
 *    "unnamed":{"pack-<name>":"<time>"},                    files on their way out (collect.ts)
 *    "dropped":{"snapshots/<sha256>.<16 hex>":"<time>"},
 *    "check":"<SHA-256 of this text without this line>"}    a person who had to edit it removes it
 *
 * "name" is a hint for people whose database is lost: what it was called when this was written.
 * Nothing is looked up by it. "nonce" is new with each write: no two writes have equal bytes, so
 * that a store's tag of one is never another's, and "recent" has those of the writes before: who
 * does not know whether his has landed finds it there. Ref names hold one UTF-16 unit per byte (base/bytes `latin1`).
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { strictText, utf8 } from "../../base/bytes.js";
import { Fault } from "../../base/fault.js";
import { BUNDLES_FOLDER, type BundleLine } from "./bundle-line.js";
import type { PackLine } from "../pack-line.js";

/** 2 called a pack's files by its checksum, and knew nothing of files on their way out. */
const FORMAT = 3;
/** 1 lay under its name, and could stand for a lakeFS repository. */
const FORMAT_READ_MIN = 2;

const OID = z.string().regex(/^[0-9a-f]{40}$/);
/**
 * Below "git/": lists of what packs promise, "<checksum>" and "<checksum>.ids" (read/lake-notes.ts).
 */
export const PROMISED_FOLDER = "lake-promised";

/** An id, or [id, peeled id] for an annotated tag. */
const REF_VALUE = z.union([OID, z.tuple([OID, OID])]);

const PACK = z.object({
  checksum: OID,
  name: OID,
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

const BUNDLE = z.object({
  name: OID,
  bytes: z.number().int().nonnegative(),
  token: z.number().int().positive(),
  heads: z.array(OID),
  tags: z.array(OID),
});

/** Times by stem (`packStem`, `bundleStem`, `snapshotStem`), ISO 8601. */
const TIMES = z.record(z.string(), z.iso.datetime());

const MANIFEST = z.object({
  format: z.literal(FORMAT),
  revision: z.number().int().nonnegative(),
  nonce: z.string(),
  /** Nonces of the writes before, the last first. */
  recent: z.array(z.string()).default([]),
  name: z.string().optional(),
  head: z.string(),
  refs: z.record(z.string(), REF_VALUE),
  snapshot: z
    .object({ key: z.string(), changes: z.record(z.string(), REF_VALUE.nullable()) })
    .optional(),
  packs: z.array(PACK),
  bundles: z.array(BUNDLE).optional(),
  /** Files that no manifest was seen to name, and since when. */
  unnamed: TIMES,
  /** Files that no manifest will name any more, and since when. */
  dropped: TIMES,
});

export type RefValue = z.infer<typeof REF_VALUE>;
export type Manifest = Readonly<Omit<z.infer<typeof MANIFEST>, "packs" | "bundles">> & {
  readonly packs: readonly PackLine[];
  readonly bundles?: readonly BundleLine[] | undefined;
};

/** Returns the name that the files of a pack share in `unnamed` and `dropped`. */
export function packStem({ name }: Pick<PackLine, "name">): string {
  return `pack-${name}`;
}

/** Returns the stem of a bundle's file. */
export function bundleStem({ name }: Pick<BundleLine, "name">): string {
  return `${BUNDLES_FOLDER}/${name}`;
}

/** Returns the stem of a snapshot's file, of its key. */
export function snapshotStem(key: string): string {
  return key.slice(key.lastIndexOf("/snapshots/") + 1);
}

/** Returns the stems of all files that a manifest names. */
export function stemsOf({
  packs,
  bundles = [],
  snapshot,
}: Pick<Manifest, "packs" | "bundles" | "snapshot">): Set<string> {
  const stems = new Set([...packs.map(packStem), ...bundles.map(bundleStem)]);
  if (snapshot !== undefined) stems.add(snapshotStem(snapshot.key));
  return stems;
}

/** Makes the manifest of a repository before its first push. */
export function emptyManifest(head: string): Manifest {
  return {
    format: FORMAT,
    revision: 0,
    nonce: "",
    recent: [],
    head,
    refs: {},
    packs: [],
    unnamed: {},
    dropped: {},
  };
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
  if (typeof format === "number" && (format > FORMAT || format < FORMAT_READ_MIN)) {
    throw new Fault("manifest/damaged", {
      manifest: where,
      reason: `its format is ${format}, and this version reads ${FORMAT_READ_MIN} and ${FORMAT}`,
    });
  }
  const parsed = MANIFEST.safeParse(format === FORMAT ? value : fromOlder(value));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new Fault("manifest/damaged", {
    manifest: where,
    at: issue?.path.join("."),
    reason: issue?.message,
  });
}

/** What format 2 says, as format 3 says it; it is written so by the next change. */
function fromOlder(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  const { packs } = value as { readonly packs?: unknown };
  const named = (pack: unknown) =>
    typeof pack === "object" && pack !== null && "checksum" in pack
      ? { ...pack, name: pack.checksum }
      : pack;
  return {
    ...value,
    format: FORMAT,
    nonce: "",
    recent: [],
    packs: Array.isArray(packs) ? packs.map(named) : packs,
    unnamed: {},
    dropped: {},
  };
}
