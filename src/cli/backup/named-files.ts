/** Lists the files of a repository that its manifest names. */
import { asFault } from "../../base/fault.js";
import { bundleKey } from "../../odb/manifest/bundle-line.js";
import { decodeManifest, type Manifest, PROMISED_FOLDER } from "../../odb/manifest/manifest.js";
import type { StoreKey } from "../../store/store.js";

export interface NamedFile {
  readonly key: StoreKey;
  /** Undefined: the manifest does not say. */
  readonly size?: number;
}

/** Undefined: it is damaged. */
export function readable(bytes: Uint8Array, where: string): Manifest | undefined {
  try {
    return decodeManifest(bytes, where);
  } catch (error) {
    if (asFault(error).code !== "manifest/damaged") throw error;
    return undefined;
  }
}

export function* namedFiles(
  prefix: string,
  { packs, snapshot, bundles = [] }: Manifest,
): Generator<NamedFile, void, undefined> {
  if (snapshot !== undefined) yield { key: snapshot.key };
  for (const bundle of bundles) yield { key: bundleKey(prefix, bundle), size: bundle.bytes };
  for (const { name, bytes, promised } of packs) {
    const pack = `${prefix}/git/objects/pack/pack-${name}`;
    yield { key: `${pack}.pack`, size: bytes };
    yield { key: `${pack}.idx` };
    yield { key: `${pack}.rev` };
    if (promised === undefined) continue;
    const list = `${prefix}/git/${PROMISED_FOLDER}/${name}`;
    yield { key: list };
    yield { key: `${list}.ids` };
  }
}
