/**
 * Trees: entries one after another, no header, no end mark.
 *
 *   <mode in octal ASCII> SP <name bytes> NUL <20 bytes of object id>
 *
 * Source: gitglossary(7) "tree object"; git-fsck(1) lists what makes one malformed. This reader
 * takes what can be walked safely; whether a pushed tree is well formed is fsck's to say.
 */
import { Fault } from "../base/fault.js";
import { OID_BYTES, type Oid, oidAt } from "./oid.js";

/** File type bits of a mode. */
export const MODE_TYPE = 0o170000;
export const MODE_TREE = 0o040000;
export const MODE_GITLINK = 0o160000;

/** Returns whether an entry of this mode is a folder, whatever its other bits. */
export function isTreeMode(mode: number): boolean {
  return (mode & MODE_TYPE) === MODE_TREE;
}

const SPACE = 0x20;

/**
 * Steps through one tree's entries without making an object for each:
 * `while (cursor.next()) use(cursor.mode, cursor.oidAt)`.
 */
export class TreeCursor {
  /** Mode of the current entry. */
  mode = 0;
  /** Its name: bytes [nameStart, nameEnd) of `data`. */
  nameStart = 0;
  nameEnd = 0;
  /** Offset in `data` of its 20 bytes of object id. */
  oidAt = 0;
  readonly data: Uint8Array;
  #at = 0;

  /** `data` is read in place and must not change meanwhile. */
  constructor(data: Uint8Array) {
    this.data = data;
  }

  /**
   * Moves to the next entry; false at the end. Throws "odb/bad-object" on a cut or unreadable
   * entry.
   */
  next(): boolean {
    const { data } = this;
    let at = this.#at;
    if (at >= data.length) return false;
    let mode = 0;
    let byte = data[at++] as number;
    while (byte !== SPACE) {
      const digit = byte - 0x30;
      if (digit < 0 || digit > 7 || mode > 0o7777777) throw badTree(at);
      mode = mode * 8 + digit;
      if (at >= data.length) throw badTree(at);
      byte = data[at++] as number;
    }
    const nameEnd = data.indexOf(0, at);
    if (nameEnd < 0 || data.length - nameEnd - 1 < OID_BYTES) throw badTree(at);
    this.mode = mode;
    this.nameStart = at;
    this.nameEnd = nameEnd;
    this.oidAt = nameEnd + 1;
    this.#at = nameEnd + 1 + OID_BYTES;
    return true;
  }

  get isTree(): boolean {
    return (this.mode & MODE_TYPE) === MODE_TREE;
  }

  /** A submodule's commit: lives in another repository and is never followed. */
  get isGitlink(): boolean {
    return (this.mode & MODE_TYPE) === MODE_GITLINK;
  }

  /** The name, one UTF-16 unit a byte. */
  get name(): string {
    const { data } = this;
    return Buffer.from(
      data.buffer,
      data.byteOffset + this.nameStart,
      this.nameEnd - this.nameStart,
    ).toString("latin1");
  }

  get oid(): Oid {
    return oidAt(this.data, this.oidAt);
  }
}

function badTree(at: number): Fault {
  return new Fault("odb/bad-object", { type: "tree", at });
}
