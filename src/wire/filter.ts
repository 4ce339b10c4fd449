/**
 * Filters: which objects a partial clone leaves out.
 *
 *   blob:none   blob:limit=<n>[kmg]   tree:<depth>   object:type=<type>   sparse:oid=<oid or ref:path>
 *   combine:<filter>+<filter>…   each percent-encoded
 *
 * Source: git-rev-list(1) "--filter"; gitprotocol-v2(5) "filter".
 */
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import type { ObjectType } from "../git/oid.js";
import { shown } from "./arguments.js";

export type Filter =
  | { readonly kind: "blob:none" }
  /** Blobs of `bytes` bytes or more are left out. */
  | { readonly kind: "blob:limit"; readonly bytes: number }
  /** Trees and blobs at this depth from the root tree (depth 0) or deeper are left out. */
  | { readonly kind: "tree"; readonly depth: number }
  | { readonly kind: "object:type"; readonly type: ObjectType }
  /**
   * `spec`: an object id or an expression "<ref>:<path>" naming a blob of sparse-checkout patterns;
   * latin1 text.
   */
  | { readonly kind: "sparse:oid"; readonly spec: string }
  /** Only what every filter lets through. Never nested, never fewer than two. */
  | { readonly kind: "combine"; readonly filters: readonly Exclude<Filter, { kind: "combine" }>[] };

type SimpleFilter = Exclude<Filter, { kind: "combine" }>;

/** Throws "wire/bad-filter", "wire/too-much". */
export function parseFilter(text: string): Filter {
  if (text.length > LIMITS.filterBytesMax)
    throw new Fault("wire/too-much", { filterBytesMax: LIMITS.filterBytesMax });
  return combined(parseParts(text, 0));
}

/**
 * The filters of an expression, those of nested `combine:` among them: all must let an object
 * through, so nesting means nothing.
 */
function parseParts(text: string, depth: number): readonly SimpleFilter[] {
  if (!text.startsWith("combine:")) return [parseSimple(text)];
  if (depth >= LIMITS.filterDepthMax) throw bad(text, "nested too deep");
  const parts = text.slice("combine:".length).split("+");
  return parts.flatMap((part) => parseParts(percentDecoded(part), depth + 1));
}

function parseSimple(text: string): SimpleFilter {
  if (text === "blob:none") return { kind: "blob:none" };
  const limit = after(text, "blob:limit=");
  if (limit !== undefined) return { kind: "blob:limit", bytes: scaled(limit, text) };
  const depth = after(text, "tree:");
  // Deeper than any tree can be is as deep as any can be.
  if (depth !== undefined)
    return { kind: "tree", depth: Math.min(scaled(depth, text), LIMITS.treeDepthMax + 1) };
  const spec = after(text, "sparse:oid=");
  if (spec !== undefined && spec !== "") return { kind: "sparse:oid", spec };
  const type = after(text, "object:type=");
  if (type === "blob" || type === "tree" || type === "commit" || type === "tag")
    return { kind: "object:type", type };
  if (text.startsWith("sparse:path="))
    throw bad(text, "sparse:path was dropped from Git; use sparse:oid");
  throw bad(text, "unknown");
}

function after(text: string, prefix: string): string | undefined {
  return text.startsWith(prefix) ? text.slice(prefix.length) : undefined;
}

const SCALE: Readonly<Record<string, number>> = { "": 1, k: 1_024, m: 1_048_576, g: 1_073_741_824 };

/** A number with Git's suffixes: "receivers SHOULD accept 'k', 'm', and 'g'". */
function scaled(text: string, whole: string): number {
  const match = /^([0-9]{1,15})([kmg]?)$/i.exec(text);
  const number =
    match === null ? Number.NaN : Number(match[1]) * (SCALE[(match[2] ?? "").toLowerCase()] ?? 1);
  if (!Number.isSafeInteger(number)) throw bad(whole, "not a number");
  return number;
}

/** Must be escaped inside `combine:`, by git-rev-list(1), besides everything up to 0x20. */
const RESERVED = /[\x00-\x20~`!@#$^&*()[\]{}\\;'",<>?]/;

function percentDecoded(text: string): string {
  if (RESERVED.test(text)) throw bad(text, "a reserved character must be percent-encoded");
  if (/%(?![0-9A-Fa-f]{2})/.test(text)) throw bad(text, "broken percent-encoding");
  return text.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function bad(text: string, reason: string): Fault {
  return new Fault("wire/bad-filter", { filter: shown(text), reason });
}

/** Keeps the smallest limit of each kind: the others mean nothing. */
function tightest(parts: readonly SimpleFilter[]): readonly SimpleFilter[] {
  const bytes = Math.min(
    ...parts.map((part) =>
      part.kind === "blob:none"
        ? 0
        : part.kind === "blob:limit"
          ? part.bytes
          : Number.POSITIVE_INFINITY,
    ),
  );
  const depth = Math.min(
    ...parts.map((part) => (part.kind === "tree" ? part.depth : Number.POSITIVE_INFINITY)),
  );
  return parts.filter((part) =>
    part.kind === "blob:limit"
      ? part.bytes === bytes && !parts.some(({ kind }) => kind === "blob:none")
      : part.kind !== "tree" || part.depth === depth,
  );
}

/**
 * One filter that stands for all: sorted by its text, without doubles, since the order means
 * nothing.
 */
function combined(parts: readonly SimpleFilter[]): Filter {
  const byText = new Map(tightest(parts).map((part) => [formatFilter(part), part]));
  const filters = [...byText.entries()]
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([, part]) => part);
  const [only] = filters;
  return only !== undefined && filters.length === 1 ? only : { kind: "combine", filters };
}

/**
 * Canonical text: equal filters have equal texts, and Git reads it. Part of the response cache's
 * key.
 */
export function formatFilter(filter: Filter): string {
  switch (filter.kind) {
    case "blob:none":
      return "blob:none";
    case "blob:limit":
      return `blob:limit=${filter.bytes}`;
    case "tree":
      return `tree:${filter.depth}`;
    case "object:type":
      return `object:type=${filter.type}`;
    case "sparse:oid":
      return `sparse:oid=${filter.spec}`;
    case "combine":
      return `combine:${filter.filters.map((part) => percentEncoded(formatFilter(part))).join("+")}`;
  }
}

function percentEncoded(text: string): string {
  return text.replace(
    /[^0-9A-Za-z:=./_-]/g,
    (char) => `%${char.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}
