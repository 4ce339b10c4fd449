/**
 * Files that stock git reads, made from the manifest: with them the prefix, copied to a disk, is a
 * bare repository that `git fsck`, `git clone` and `git gc` take. Nothing here is ever read by
 * lakepack.
 *
 * Source: gitrepository-layout(5); packed-refs as `git pack-refs` writes it.
 */
import { fromLatin1 } from "../../base/bytes.js";
import { Turns } from "../../base/flow.js";
import { joined } from "../../base/long-lists.js";
import type { Store } from "../../store/store.js";
import type { Manifest } from "./manifest.js";
import type { Ref, RefSnapshot } from "../ref-store.js";

/** Header of packed-refs: every tag below is followed by what it peels to, and names are sorted. */
const PACKED_REFS_HEADER = "# pack-refs with: peeled fully-peeled sorted \n";

/**
 * Writes them all anew. Refs are written after packs, so that a copy made meanwhile lacks nothing
 * its refs need.
 */
export async function writeDerivedFiles(
  store: Store,
  prefix: string,
  packs: Manifest["packs"],
  refs: RefSnapshot,
  signal?: AbortSignal,
): Promise<void> {
  const putBytes = (name: string, bytes: Uint8Array) =>
    store.put(`${prefix}/git/${name}`, bytes, signal);
  const put = (name: string, text: string) => putBytes(name, fromLatin1(text));
  await put("objects/info/packs", `${packs.map(({ name }) => `P pack-${name}.pack\n`).join("")}\n`);
  // Git knows a repository by its refs folder, and passes over names that begin with a dot.
  await put("refs/.keep", "");
  await putBytes("packed-refs", await textOf(PACKED_REFS_HEADER, refs.refs, packedRef));
  await putBytes("info/refs", await textOf("", refs.refs, infoRef));
  await put("HEAD", `ref: ${refs.head}\n`);
}

/** Refs whose lines are made in one go. */
const REFS_AT_ONCE = 100;

async function textOf(
  head: string,
  refs: RefSnapshot["refs"],
  line: (ref: Ref) => string,
): Promise<Uint8Array> {
  const turns = new Turns();
  const pieces = [fromLatin1(head)];
  for (let at = 0; at < refs.length; at += REFS_AT_ONCE) {
    if (turns.isDue) await turns.next();
    pieces.push(
      fromLatin1(
        refs
          .slice(at, at + REFS_AT_ONCE)
          .map(line)
          .join(""),
      ),
    );
  }
  return joined(pieces, turns);
}

function packedRef({ name, oid, peeled }: RefSnapshot["refs"][number]): string {
  return `${oid} ${name}\n${peeled === undefined ? "" : `^${peeled}\n`}`;
}

/** As `git update-server-info` writes it. */
function infoRef({ name, oid, peeled }: RefSnapshot["refs"][number]): string {
  return `${oid}\t${name}\n${peeled === undefined ? "" : `${peeled}\t${name}^{}\n`}`;
}
