/**
 * Files that stock git reads, made from the manifest: with them the prefix, copied to a disk, is a bare repository that `git fsck`,
 * `git clone` and `git gc` take. Nothing here is ever read by lakepack.
 *
 * Source: gitrepository-layout(5); packed-refs as `git pack-refs` writes it.
 */
import { fromLatin1 } from "../base/bytes.js";
import type { Store } from "../store/store.js";
import type { Manifest } from "./manifest.js";
import type { RefSnapshot } from "./ref-store.js";

/** Header of packed-refs: every tag below is followed by what it peels to, and names are sorted. */
const PACKED_REFS_HEADER = "# pack-refs with: peeled fully-peeled sorted \n";

/** Writes them all anew. Refs are written after packs, so that a copy made meanwhile lacks nothing its refs need. */
export async function writeDerivedFiles(store: Store, prefix: string, packs: Manifest["packs"], refs: RefSnapshot, signal?: AbortSignal): Promise<void> {
  const put = (name: string, text: string) => store.put(`${prefix}/git/${name}`, fromLatin1(text), signal);
  await put("objects/info/packs", `${packs.map(({ checksum }) => `P pack-${checksum}.pack\n`).join("")}\n`);
  // Git knows a repository by its refs folder, and passes over names that begin with a dot.
  await put("refs/.keep", "");
  await put("packed-refs", PACKED_REFS_HEADER + refs.refs.map(packedRef).join(""));
  await put("info/refs", refs.refs.map(infoRef).join(""));
  await put("HEAD", `ref: ${refs.head}\n`);
}

function packedRef({ name, oid, peeled }: RefSnapshot["refs"][number]): string {
  return `${oid} ${name}\n${peeled === undefined ? "" : `^${peeled}\n`}`;
}

/** As `git update-server-info` writes it. */
function infoRef({ name, oid, peeled }: RefSnapshot["refs"][number]): string {
  return `${oid}\t${name}\n${peeled === undefined ? "" : `${peeled}\t${name}^{}\n`}`;
}
