/**
 * Rules of paths: decides what of a lakeFS listing can be in a Git tree, and as what. Pure: the
 * same listing gives the same answer on every node, read by pages or by raw ranges.
 *
 * Cannot cross (they stay in lakeFS and are reported): empty, "." and ".." components; what some
 * file system takes for ".git"; NUL; paths and symlink targets that are not UTF-8 or hold U+FFFD
 * (as which JSON shows bytes that are not UTF-8); ".gitmodules" as a symlink; it and
 * ".gitattributes" as a folder or a submodule. Since mapping 3: components of more than 255 bytes,
 * which no usual file system takes. A file beside a folder of its name cannot either, which only
 * the whole tree shows (tree-builder.ts). Passed over in silence: the landing's guard, and "dir/"
 * markers, zero bytes at a path that ends in "/".
 */
import { latin1, strictText, utf8, fromLatin1 } from "../../base/bytes.js";
import { hasBackslashDotGit, isDotGit, isSpecialName } from "../../git/fsck/protected-names.js";
import { isSha256, parsePointer, parseSecondPointer } from "../../git/lfs-pointer.js";
import { isOid, type Oid } from "../../git/oid.js";
import { MODE_GITLINK, MODE_TREE, MODE_TYPE } from "../../git/tree.js";
import { Fault } from "../../base/fault.js";
import type { Mapping, PathMapping, SizeMapping } from "./contract.js";
import { type Claim, readClaim } from "./claim.js";
import type { Filter } from "../../git/gitattributes.js";
import { GITLINK_KEY, GUARD_PATH, MODE_KEY, POSIX_KEY, SYMLINK_KEY } from "./metadata-keys.js";

/** One object of a lakeFS commit, as pages, ranges and diffs all give it. */
export interface LakeEntry {
  /** Latin1 text of the path's bytes. */
  readonly path: string;
  readonly size: number;
  readonly checksum: string;
  /** Address of its bytes; undefined: not told (diffs). Never opened by us. */
  readonly address: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
}

export const FILE_MODE = {
  plain: 0o100644,
  executable: 0o100755,
  symlink: 0o120000,
  gitlink: 0o160000,
} as const;

/** The form of an entry in Git. */
export type Crossing =
  | {
      readonly as: "file";
      readonly mode: number;
      /** True if the mapping's rules make it a pointer, where no claim decides. */
      readonly pointer: boolean;
      /**
       * SHA-256 that a hub's link tells of a pointer. It decides the id; whether the bytes are
       * there nobody has seen.
       */
      readonly linked: string | undefined;
      readonly claim: Claim | undefined;
    }
  /** A blob that the metadata holds whole. */
  | { readonly as: "symlink"; readonly target: Uint8Array }
  | { readonly as: "gitlink"; readonly oid: Oid }
  /** Not part of the tree, and no loss. */
  | { readonly as: "nothing" }
  | { readonly as: "refused"; readonly reason: string };

const REPLACEMENT = latin1(utf8("\ufffd"));
const OWNER_EXECUTES = 0o100;

/** Bytes of one component, as Linux and most others have it. */
const COMPONENT_BYTES_MAX = 255;
const LONG_COMPONENT = "a part of it has more than 255 bytes, which file systems do not take";
export const ATTRIBUTES_NAME = ".gitattributes";

/**
 * The address of an entry whose checksum is a SHA-256 must be told, which a diff does not.
 * `filter`: what the commit's own .gitattributes say of it; mapping 2 does not ask.
 */
export function crossing(entry: LakeEntry, mapping: PathMapping, filter: Filter): Crossing {
  const { path, size, metadata } = entry;
  if (path === GUARD_PATH || (path.endsWith("/") && size === 0)) return { as: "nothing" };
  const reason = pathRefusal(path, mapping);
  if (reason !== undefined) return { as: "refused", reason };
  const mode = modeOf(entry, mapping);
  if (mode === FILE_MODE.gitlink && isSpecial(fromLatin1(baseName(path))))
    return { as: "refused", reason: "Git refuses a submodule of this name" };
  if (mode === FILE_MODE.gitlink) return { as: "gitlink", oid: metadata[GITLINK_KEY] as string };
  if (mode === FILE_MODE.symlink && isSpecialName(fromLatin1(baseName(path)), "gitmodules")) {
    return { as: "refused", reason: "Git refuses .gitmodules as a symbolic link" };
  }
  if (mode === FILE_MODE.symlink && metadata[MODE_KEY] === undefined)
    return symlink(metadata[SYMLINK_KEY] as string);
  return file(entry, mode, mapping, filter);
}

/** Returns the reason why Git cannot have this path; undefined: it can. */
export function pathRefusal(
  path: string,
  { version }: Pick<Mapping, "version">,
): string | undefined {
  if (path.includes("\0")) return "it holds a NUL byte";
  if (path.includes(REPLACEMENT) || strictText(fromLatin1(path)) === undefined)
    return "it is not UTF-8";
  const components = path.split("/");
  for (const [at, component] of components.entries()) {
    if (component === "") return "a part of it is empty";
    if (version >= 3 && component.length > COMPONENT_BYTES_MAX) return LONG_COMPONENT;
    if (component === "." || component === "..") return `a part of it is '${component}'`;
    const bytes = fromLatin1(component);
    if (isDotGit(bytes) || hasBackslashDotGit(bytes))
      return "a part of it is '.git' to some file system";
    if (at < components.length - 1 && isSpecial(bytes))
      return `Git refuses a folder '${component}'`;
  }
  return undefined;
}

/** Files that Git reads, and so takes as files only. */
function isSpecial(name: Uint8Array): boolean {
  return isSpecialName(name, "gitmodules") || isSpecialName(name, "gitattributes");
}

export function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** Ours first, then lakectl's; what is neither, or contradicts itself, is a plain file. */
function modeOf({ size, metadata }: LakeEntry, mapping: Mapping): number {
  const own = metadata[MODE_KEY];
  switch (own) {
    case "100644":
      return FILE_MODE.plain;
    case "100755":
      return FILE_MODE.executable;
    case "120000":
      return FILE_MODE.symlink;
    case "160000":
      return size === 0 && isOid(metadata[GITLINK_KEY] ?? "") ? FILE_MODE.gitlink : FILE_MODE.plain;
  }
  const odd =
    mapping.version < 3 || own === undefined || !MODE.test(own) ? 0 : Number.parseInt(own, 8);
  if (isFileMode(odd)) return odd;
  if (own === undefined && metadata[SYMLINK_KEY] !== undefined && size === 0)
    return FILE_MODE.symlink;
  return isExecutable(metadata[POSIX_KEY]) ? FILE_MODE.executable : FILE_MODE.plain;
}

const MODE = /^[1-7][0-7]{0,5}$/;

/**
 * Returns whether Git takes an entry of this mode for a file: 100664 and the like, of Git's first
 * weeks and of other tools.
 */
export function isFileMode(mode: number): boolean {
  const type = mode & MODE_TYPE;
  return mode !== 0 && type !== MODE_TREE && type !== MODE_GITLINK && type !== FILE_MODE.symlink;
}

/**
 * lakectl writes {"UID":…,"GID":…,"Mode":…}, Mode being Go's os.FileMode, whose low nine bits are
 * those of chmod.
 */
function isExecutable(permissions: string | undefined): boolean {
  if (permissions === undefined) return false;
  try {
    const mode = (JSON.parse(permissions) as { Mode?: unknown } | null)?.Mode;
    return (
      typeof mode === "number" &&
      Number.isSafeInteger(mode) &&
      ((mode % 0o1000) & OWNER_EXECUTES) !== 0
    );
  } catch {
    return false; // somebody else's text under this key
  }
}

function symlink(target: string): Crossing {
  if (target.includes("\ufffd"))
    return { as: "refused", reason: "its symlink target is not UTF-8" };
  if (target === "" || target.includes("\0"))
    return { as: "refused", reason: "its symlink target is empty or holds a NUL byte" };
  return { as: "symlink", target: utf8(target) };
}

/** A symlink of ours is a file whose content is the target: never a pointer. */
function file(entry: LakeEntry, mode: number, mapping: PathMapping, filter: Filter): Crossing {
  const isLink = mode === FILE_MODE.symlink;
  const pointer = !isLink && isPointer(entry, mapping, filter);
  const linked = pointer ? linkedSha256(entry, mapping) : undefined;
  const claim = readClaim(entry, mapping.version < 3 ? parseSecondPointer : parsePointer);
  return {
    as: "file",
    mode,
    pointer,
    linked,
    claim: isLink && claim?.pointer !== undefined ? undefined : claim,
  };
}

function isPointer(entry: LakeEntry, mapping: PathMapping, filter: Filter): boolean {
  if (mapping.version === 3) return isFiltered(entry, mapping, filter);
  if (checksumSha256(entry.checksum) === undefined) return false;
  if (entry.address === undefined)
    throw new Fault("base/internal", { reason: "where a linked file lies must be known" });
  return isLinked(entry.address, mapping.namespace);
}

/**
 * .gitattributes decide, in either way, where they say anything of the filter: else git-lfs would
 * show the file as changed in every clone, or never bring its bytes. git-lfs leaves an empty file
 * empty, and attributes must be read.
 */
function isFiltered(
  { path, size }: LakeEntry,
  { threshold, suffixes }: SizeMapping,
  filter: Filter,
): boolean {
  if (size === 0 || baseName(path) === ATTRIBUTES_NAME) return false;
  return filter === undefined ? size >= threshold || hasSuffix(path, suffixes) : filter === "lfs";
}

/**
 * Returns the SHA-256 of a hub's link: the checksum of bytes at an address outside of the
 * repository's own data. Bytes within are hashed.
 */
function linkedSha256(
  { address, checksum }: LakeEntry,
  { namespace }: PathMapping,
): string | undefined {
  const isLink = address !== undefined && namespace !== undefined && isLinked(address, namespace);
  return isLink ? checksumSha256(checksum) : undefined;
}

/**
 * Returns whether an address is outside of the repository's own data, which lies below
 * "<namespace>/data/". Pages show whole addresses, raw ranges those of own data without the
 * namespace; on local blocks pages show the file's path on lakeFS's disk, in which the namespace is
 * a part.
 */
function isLinked(address: string, namespace: string): boolean {
  if (!address.includes("://")) return false;
  const own = `${namespace.replace(/\/+$/, "")}/data/`;
  if (address.startsWith(own)) return false;
  return (
    !own.startsWith(LOCAL) || !address.includes(`/${own.slice(LOCAL.length).replace(/^\/+/, "")}`)
  );
}

const LOCAL = "local://";

/** A hub's link says it in the checksum, as our landing does. */
export function checksumSha256(checksum: string): string | undefined {
  return checksum.startsWith("sha256:") && isSha256(checksum.slice(7))
    ? checksum.slice(7)
    : undefined;
}

function hasSuffix(path: string, suffixes: readonly string[]): boolean {
  const name = baseName(path).toLowerCase();
  return suffixes.some((suffix) => name.endsWith(`.${suffix}`));
}
