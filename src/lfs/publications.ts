/**
 * Names of LFS objects' bytes in our own store:
 *
 *   lfs/ab/cd/<oid>-<publication>   each publication of its own, never one that was dropped
 *   lfs/ab/cd/<oid>                 publication "": before publications had names
 *
 * The second is why the first is no folder: on a disk both cannot have one name.
 */
import { randomBytes } from "node:crypto";
import type { Publication } from "../database/lfs.js";
import type { StoreKey } from "../store/store.js";

const PUBLICATION_BYTES = 16;
const NAME = /^([0-9a-f]{64})(?:-([0-9a-f]{32}))?$/;

export const LFS_FOLDER = "lfs/";

export function newPublication(): string {
  return randomBytes(PUBLICATION_BYTES).toString("hex");
}

export function objectKey({ oid, publication }: Publication): StoreKey {
  return folderOf(oid) + oid + (publication === "" ? "" : `-${publication}`);
}

/** Returns the publication of a file in `lfs/ab/cd/`; undefined: it is none of ours. */
export function readName(folder: StoreKey, name: string): Publication | undefined {
  const [, oid, publication = ""] = NAME.exec(name) ?? [];
  return oid === undefined || folderOf(oid) !== folder ? undefined : { oid, publication };
}

export function folderOf(oid: string): StoreKey {
  return `${LFS_FOLDER}${oid.slice(0, 2)}/${oid.slice(2, 4)}/`;
}
