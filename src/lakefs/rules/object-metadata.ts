/** The user metadata of every object a landing writes: what path-rules.ts reads back. */
import type { Oid } from "../../git/oid.js";
import {
  BLOB_KEY,
  bind,
  GITLINK_KEY,
  MODE_KEY,
  POINTER_KEY,
  SEAL_KEY,
  SHA256_KEY,
} from "./metadata-keys.js";
import { FILE_MODE } from "./path-rules.js";

/** The content as lakeFS will show it. */
export interface WrittenContent {
  readonly size: number;
  readonly checksum: string;
  readonly sha256: string;
}

/**
 * Makes the metadata of a file or a symlink. `blob`: its id in Git, of an LFS object its pointer's.
 * The same bytes have the same metadata: lakeFS counts them into what an entry is, and a seal,
 * which is about an address, would else make two branches conflict that have brought one file. So
 * only what is staged at an address that others reuse is sealed.
 */
export function fileMetadata(
  mode: number,
  blob: Oid,
  { size, checksum, sha256 }: WrittenContent,
  {
    seal,
    pointer,
  }: {
    readonly seal?: string | undefined /** Its exact text. */;
    readonly pointer?: Uint8Array | undefined;
  } = {},
): Record<string, string> {
  return {
    [BLOB_KEY]: bind(blob, size, checksum),
    [SHA256_KEY]: bind(sha256, size, checksum),
    ...(pointer === undefined ? {} : { [POINTER_KEY]: Buffer.from(pointer).toString("base64") }),
    ...(seal === undefined ? {} : { [SEAL_KEY]: seal }),
    ...(mode === FILE_MODE.plain ? {} : { [MODE_KEY]: mode.toString(8) }),
  };
}

/** Makes the metadata of a submodule, which is zero bytes. */
export function gitlinkMetadata(commit: Oid): Record<string, string> {
  return { [MODE_KEY]: FILE_MODE.gitlink.toString(8), [GITLINK_KEY]: commit };
}
