/**
 * Bundles of a repository in our own store: files that its manifest lists, each made of a pack as a
 * fetch would get it, behind refs. The first is a clone; each later one builds on the one before.
 */
import { randomBytes } from "node:crypto";
import { mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { Fault } from "../../base/fault.js";
import { checkAborted } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { type Range, readPieces } from "../../store/stream.js";
import type { Store } from "../../store/store.js";
import type { PackStream } from "../pack-objects/pack-stream.js";
import { syncFiles } from "../index-pack/sync-files.js";
import { bundleKey, type BundleLine } from "./bundle-line.js";
import type { ManifestStore } from "./store.js";

const NAME_BYTES = 20;

export interface BundlePlaces {
  readonly store: Store;
  /** Folder for files under way. */
  readonly incoming: string;
}

/** A bundle that is to be: its head, and the pack that follows. */
export interface BundleDraft extends Pick<BundleLine, "token" | "heads" | "tags"> {
  readonly head: Uint8Array;
  /** The caller closes it. */
  readonly pack: PackStream;
  /** Fewer bytes are not worth a file. */
  readonly bytesMin: number;
}

export class ManifestBundles {
  readonly #places: BundlePlaces;
  readonly #manifests: ManifestStore;
  readonly #prefix: string;

  constructor(places: BundlePlaces, manifests: ManifestStore, prefix: string) {
    this.#places = places;
    this.#manifests = manifests;
    this.#prefix = prefix;
  }

  /** The bundles, oldest first, as the manifest was last seen: refs are read from it before. */
  async list(signal: AbortSignal): Promise<readonly BundleLine[]> {
    return (await this.#manifests.seen(signal)).bundles ?? [];
  }

  /** Those of `lines` before the first whose file is missing, or has another size. */
  async sound(lines: readonly BundleLine[], signal: AbortSignal): Promise<readonly BundleLine[]> {
    for (const [at, line] of lines.entries()) {
      const bytes = await this.#places.store.size(bundleKey(this.#prefix, line), signal);
      if (bytes !== line.bytes) return lines.slice(0, at);
    }
    return lines;
  }

  /**
   * Writes a bundle and lists it behind those of `kept`, in the place of all others. Undefined: it
   * is smaller than it must be. Throws "store/conflict" where `before` is not listed any more,
   * "bundle/too-large".
   */
  async add(
    draft: BundleDraft,
    { before, kept }: Record<"before" | "kept", readonly BundleLine[]>,
    signal: AbortSignal,
  ): Promise<BundleLine | undefined> {
    const { incoming, store } = this.#places;
    const name = randomBytes(NAME_BYTES).toString("hex");
    const folder = join(incoming, name);
    const path = join(folder, "bundle");
    await mkdir(folder, { recursive: true, mode: 0o700 });
    try {
      const bytes = await writeBundle(path, draft, signal);
      if (bytes < draft.bytesMin) return undefined;
      this.#manifests.published(name);
      await store.publish(bundleKey(this.#prefix, { name }), path, signal);
      const { token, heads, tags } = draft;
      const line = { name, bytes, token, heads, tags };
      await this.#list(line, before, kept, signal);
      return line;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** Bytes of `range` of a bundle, in pieces. Throws "store/missing". */
  read(line: BundleLine, range: Range, signal: AbortSignal): AsyncIterable<Uint8Array> {
    return readPieces(this.#places.store, bundleKey(this.#prefix, line), range, signal);
  }

  async #list(
    line: BundleLine,
    before: readonly BundleLine[],
    kept: readonly BundleLine[],
    signal: AbortSignal,
  ): Promise<void> {
    await this.#manifests.update((manifest) => {
      if (namesOf(manifest.bundles ?? []) !== namesOf(before))
        throw new Fault("store/conflict", { reason: "another server has made a bundle meanwhile" });
      return { ...manifest, bundles: [...kept, line] };
    }, signal);
  }
}

function namesOf(lines: readonly BundleLine[]): string {
  return lines.map(({ name }) => name).join(" ");
}

/** Writes head and pack to `path`, durably; how many bytes. Throws "bundle/too-large". */
async function writeBundle(
  path: string,
  { head, pack }: BundleDraft,
  signal: AbortSignal,
): Promise<number> {
  const file = await open(path, "wx", 0o600);
  let bytes = head.length;
  try {
    await file.writeFile(head);
    const chunk = new Uint8Array(LIMITS.streamChunkBytes);
    for (let read = 1; read > 0; bytes += read) {
      checkAborted(signal);
      read = await pack.read([chunk], signal);
      if (bytes + read > LIMITS.bundleBytesMax)
        throw new Fault("bundle/too-large", { bytesMax: LIMITS.bundleBytesMax });
      if (read > 0) await file.writeFile(chunk.subarray(0, read));
    }
  } finally {
    await file.close();
  }
  await syncFiles([path]);
  return bytes;
}
