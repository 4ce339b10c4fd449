/**
 * `lakepack/git`: Git's formats as functions on bytes. Nothing here does I/O, waits, or keeps state
 * between calls. Object ids are SHA-1 as 40 lower-case hex digits. Bytes of no valid format throw a
 * `Fault` whose `code` says which rule was broken. docs/library.md has examples.
 */
export { type CommitLinks, parseCommit } from "../git/commit.js";
export { type LfsPointer, formatPointer, parsePointer } from "../git/lfs-pointer.js";
export { objectId } from "../git/object-id.js";
export {
  isOid,
  OBJECT_TYPE,
  type ObjectType,
  type Oid,
  OID_BYTES,
  oidAt,
  oidBytes,
  typeName,
  ZERO_OID,
} from "../git/oid.js";
export { EntryHead, readEntryHead } from "../git/pack-entry.js";
export { type PackSink, PackWriter } from "../git/pack-writer.js";
export { isPushableRefName, isRefName } from "../git/ref-name.js";
export { parseTag, type TagLink } from "../git/tag.js";
export { isTreeMode, MODE_GITLINK, MODE_TREE, MODE_TYPE, TreeCursor } from "../git/tree.js";
export { treeDelta } from "../git/tree-delta.js";
export { formatTree, parseTree, type TreeEntry } from "../git/tree-entries.js";
export { checkGitattributes, checkGitmodules, checkObject } from "../git/fsck/fsck.js";
export type { Report } from "../git/fsck/levels.js";
export type { CheckMarks, Refusal } from "../git/fsck/refusal.js";
