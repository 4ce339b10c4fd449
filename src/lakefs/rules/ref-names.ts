/**
 * Names of refs on both sides. A lakeFS branch id matches ^\w[-\w]*$ (no "/", no "."), so bytes it
 * cannot hold are written as
 *
 *   _-hh      the byte's two lower-case hex digits: feature/x.1 → feature_-2fx_-2e1
 *
 * and so is what would otherwise read as such an escape or as an option: an `_` that stands before
 * `-hh`, and a leading `-`. Tag ids may hold more, and the same escape covers the rest. Only
 * canonical ids decode: each Git name has one id and each id at most one name.
 *
 * Names are latin1 text (one UTF-16 unit a byte, base/bytes), ids are what lakeFS says: Unicode
 * text.
 */
import { fromLatin1, latin1, strictText, utf8 } from "../../base/bytes.js";
import { isRefName } from "../../git/ref-name.js";

export type LakefsRefKind = "branch" | "tag";

const BRANCH_BYTE = /[0-9A-Za-z_-]/;
/**
 * ASCII bytes that a tag id may hold, beside those that Git forbids anyway; "~" is legal there but
 * in no Git name.
 */
const TAG_BYTE = /[!-.0-9;-@A-Z\]_`a-}]/;
const ESCAPE_TAIL = /^-[0-9a-f]{2}/;
const ESCAPE = /_-([0-9a-f]{2})/g;
const DASH = "-";

/** The id of a ref's short name (behind refs/heads/ or refs/tags/). */
export function toLakefsId(kind: LakefsRefKind, name: string): string {
  // Bytes above ASCII stay as they are in a tag whose whole name is UTF-8; JSON could not carry
  // others.
  const keepsUnicode = kind === "tag" && strictText(fromLatin1(name)) !== undefined;
  let id = "";
  for (let at = 0; at < name.length; at++) {
    const byte = name[at] as string;
    id += mustEscape(kind, name, at, keepsUnicode) ? escaped(byte) : byte;
  }
  const text = keepsUnicode ? (strictText(fromLatin1(id)) as string) : id;
  return text === "@" ? escaped("@") : text;
}

function mustEscape(kind: LakefsRefKind, name: string, at: number, keepsUnicode: boolean): boolean {
  const byte = name[at] as string;
  if (at === 0 && byte === DASH) return true;
  if (byte === "_") return ESCAPE_TAIL.test(name.slice(at + 1, at + 4));
  if (byte.charCodeAt(0) >= 0x80) return !keepsUnicode;
  return !(kind === "branch" ? BRANCH_BYTE : TAG_BYTE).test(byte);
}

function escaped(byte: string): string {
  return `_-${byte.charCodeAt(0).toString(16).padStart(2, "0")}`;
}

/** The short name of an id; undefined where it is not canonical, or Git forbids the name. */
export function fromLakefsId(kind: LakefsRefKind, id: string): string | undefined {
  const bytes = latin1(utf8(id));
  const name = bytes.replace(ESCAPE, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  if (!isRefName(`refs/${kind === "branch" ? "heads" : "tags"}/${name}`)) return undefined;
  return toLakefsId(kind, name) === id ? name : undefined;
}

/**
 * A lakeFS ref of a full Git name: undefined where it is neither a branch nor a tag (such refs live
 * in the manifest only).
 */
export function splitRefName(
  name: string,
): { readonly kind: LakefsRefKind; readonly short: string } | undefined {
  if (name.startsWith("refs/heads/"))
    return { kind: "branch", short: name.slice("refs/heads/".length) };
  if (name.startsWith("refs/tags/")) return { kind: "tag", short: name.slice("refs/tags/".length) };
  return undefined;
}
