/**
 * Files that a push brings and the commit before it has at other paths: what was renamed, moved or
 * copied, or has got another mode. Looked for in the folders that differ, so that the cost follows
 * the change; a folder that is copied whole is found where the folder above it differs.
 */
import { LIMITS } from "../../base/limits.js";
import { parseCanonicalPointer, POINTER_BYTES_MAX } from "../../git/lfs-pointer.js";
import type { Oid } from "../../git/oid.js";
import { isTreeMode, MODE_GITLINK, MODE_TYPE } from "../../git/tree.js";
import type { TreeEntry } from "../../git/tree-entries.js";
import type { ObjectReader } from "../../odb/packs/reader.js";
import type { ListingSource } from "../trees/listing.js";
import { locateSome } from "../trees/locate.js";
import type { LakeEntry } from "../rules/path-rules.js";
import { differingFolders } from "./tree-difference.js";

/** Entries of such files in lakeFS, by blob. Nothing proves yet that it is the blob. */
export type FilesElsewhere = ReadonlyMap<Oid, LakeEntry>;

export const NOTHING_ELSEWHERE: FilesElsewhere = new Map();

/** `tree`: of `commit`; undefined is the empty tree. At most `landingMovesMax` of them. */
export async function filesElsewhere(
  reader: ObjectReader,
  source: ListingSource,
  { commit, tree }: { readonly commit: string; readonly tree: Oid | undefined },
  next: Oid,
): Promise<FilesElsewhere> {
  if (tree === undefined) return NOTHING_ELSEWHERE;
  const paths = pathsElsewhere(reader, tree, next);
  if (paths.size === 0) return NOTHING_ELSEWHERE;
  const isLarge = (blob: Oid) =>
    reader.size(reader.space.need(blob)) >= LIMITS.contentRecordBytesMin;
  const [small, large]: [string[], string[]] = [[], []];
  for (const [blob, path] of paths) (isLarge(blob) ? large : small).push(path);
  const entries = await locateSome(source, commit, small, large);
  const found = new Map<Oid, LakeEntry>();
  for (const [blob, path] of paths) {
    const entry = entries.get(path);
    if (entry !== undefined) found.set(blob, entry);
  }
  return found;
}

/** A path in the tree before for each blob that comes to a path where it was not. */
function pathsElsewhere(reader: ObjectReader, before: Oid, next: Oid): ReadonlyMap<Oid, string> {
  const { blobs, trees } = broughtBy(reader, before, next);
  const paths = new Map<Oid, string>();
  if (blobs.size === 0) return paths;
  const meet = (path: string, { oid, mode }: TreeEntry) => {
    if (isFile(mode) && blobs.has(oid) && !paths.has(oid)) paths.set(oid, path);
  };
  for (const { path, before: old, after } of differingFolders(reader, before, next)) {
    for (const [name, entry] of old) {
      meet(path + name, entry);
      // One that differs comes by itself.
      const isWhole = isTreeMode(entry.mode) && after.get(name)?.oid === entry.oid;
      if (!isWhole || !trees.delete(entry.oid)) continue;
      for (const below of differingFolders(reader, entry.oid, undefined)) {
        for (const [file, one] of below.before) meet(`${path}${name}/${below.path}${file}`, one);
      }
    }
    if (paths.size === blobs.size) break;
  }
  return paths;
}

/**
 * Blobs of files, and trees, that stand where they did not stand before. Pointers are staged by
 * address anyway.
 */
function broughtBy(
  reader: ObjectReader,
  before: Oid,
  next: Oid,
): { readonly blobs: Set<Oid>; readonly trees: Set<Oid> } {
  const blobs = new Set<Oid>();
  const trees = new Set<Oid>();
  for (const { before: old, after } of differingFolders(reader, before, next)) {
    for (const [name, { oid, mode }] of after) {
      const was = old.get(name);
      if (was?.oid === oid && was.mode === mode) continue;
      if (isTreeMode(mode)) trees.add(oid);
      else if (isFile(mode) && !isPointer(reader, oid)) blobs.add(oid);
      if (blobs.size === LIMITS.landingMovesMax) return { blobs, trees };
    }
  }
  return { blobs, trees };
}

function isFile(mode: number): boolean {
  return !isTreeMode(mode) && (mode & MODE_TYPE) !== MODE_GITLINK;
}

function isPointer(reader: ObjectReader, blob: Oid): boolean {
  const number = reader.space.need(blob);
  return (
    reader.size(number) <= POINTER_BYTES_MAX &&
    parseCanonicalPointer(reader.readAs("blob", number)) !== undefined
  );
}
