/** Packs as tasks see them. */
import type { CopyBlocks } from "../../store/blocks.js";
import type { TaskControl } from "../../pool/task.js";

/** One live pack as tasks see it. Cheap to post: the tables are shared, not copied. */
export interface PackHandle {
  /** SHA-1 of the pack's content, hex: its identity in caches. */
  readonly checksum: string;
  /** As in PackLine: its file's name, for messages. Absent: it is not published. */
  readonly name?: string;
  /** Local file of the pack. */
  readonly path: string;
  /** Absent: all of the file is there. Whoever reads it in a thread waits for its blocks. */
  readonly blocks?: CopyBlocks;
  readonly bytes: number;
  readonly objectCount: number;
  /** The whole .idx (version 2) in shared memory. */
  readonly idx: SharedArrayBuffer;
  /** The whole .rev: positions in pack order. */
  readonly rev: SharedArrayBuffer;
  /**
   * OBJECT_TYPE of each object by position, 0 while nobody has looked: threads fill it in. Absent:
   * every look reads the pack.
   */
  readonly types?: SharedArrayBuffer;
}

export interface PacksRequest extends TaskControl {
  readonly packs: readonly PackHandle[];
}

/** Makes handles of packs: a live pack has lists besides, which would be copied to the thread. */
export function toHandles(packs: readonly PackHandle[]): PackHandle[] {
  return packs.map(({ checksum, name, path, blocks, bytes, objectCount, idx, rev, types }) => ({
    checksum,
    ...(name === undefined ? {} : { name }),
    ...(blocks === undefined ? {} : { blocks }),
    path,
    bytes,
    objectCount,
    idx,
    rev,
    ...(types === undefined ? {} : { types }),
  }));
}
