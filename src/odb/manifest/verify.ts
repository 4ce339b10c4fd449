/**
 * Holds all that a repository keeps in the store against its checksums and against each other:
 * manifest, ref snapshot, packs, indexes, sizes of bundles, and whether all that refs lead to is
 * here. Reads only; what it writes are indexes made anew, in a folder of the caller's.
 */
import { open, stat } from "node:fs/promises";
import { join } from "node:path";
import { asFault, Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import type { Oid } from "../../git/oid.js";
import type { Pool } from "../../pool/task.js";
import type { PackHandle } from "../packs/handle.js";
import type { Store } from "../../store/store.js";
import { indexPackFile } from "../index-pack/file.js";
import type { IngestedPack } from "../index-pack/contract.js";
import { bundleKey, type BundleLine } from "./bundle-line.js";
import type { Manifest } from "./manifest.js";
import type { PackLine } from "../pack-line.js";
import { ManifestRefs } from "./refs.js";
import { ManifestStore } from "./store.js";
import { loadTable } from "../packs/tables.js";
import type { Ref } from "../ref-store.js";
import { connectedTask } from "../walk/tasks.js";

export interface VerifyOptions {
  readonly store: Store;
  readonly pool: Pool;
  /** The repository's prefix in the store ("repos/<id>"). */
  readonly prefix: string;
  /**
   * It has had a manifest: without one it is damaged. Default: it may be about to get its first.
   */
  readonly isMade?: boolean;
  /** For indexes made anew: empty, private, removed by the caller. */
  readonly folder: string;
  readonly signal: AbortSignal;
  /**
   * Returns the files that somebody else keeps of this repository; called once the manifest is
   * known. Default: nothing.
   */
  readonly beside?: (manifest: Manifest) => Promise<Beside>;
}

export interface Beside {
  /** Commits that must be whole, as those of refs must. */
  readonly tips: readonly Oid[];
  /** Ids that may be missing (sorted-ids.ts): somebody brings them before they are needed. */
  readonly promised: readonly SharedArrayBuffer[];
  readonly findings: readonly Finding[];
}

/** One thing that is wrong. */
export interface Finding {
  /** Key of the file in the store; of a missing object, of the repository's packs. */
  readonly file: string;
  readonly problem: string;
  readonly advice: string;
}

export interface Verified {
  readonly manifest: Manifest | undefined;
  readonly refs: number;
  readonly packs: number;
  readonly objects: number;
  readonly findings: readonly Finding[];
}

const ADVICE = {
  manifest:
    "restore this file from a backup; packs are not touched by it, and packed-refs beside it shows the refs as they were soon after the last push",
  snapshot:
    "restore this file from a backup; packed-refs beside git/manifest shows the refs as they were soon after the last push",
  pack: "restore this file from a backup or another copy: any copy will do whose last 20 bytes are the checksum that the manifest says",
  index:
    "the pack is good: stop the server, write the index anew with lakepack index-pack on the .pack beside it, start it again",
  bundle: "clones do without it; lakepack repo bundle makes another",
  objects:
    "restore the packs of this repository from a backup, or push everything from a whole clone into a new repository",
} as const;

export async function verifyRepository(options: VerifyOptions): Promise<Verified> {
  return new Verification(options).run();
}

class Verification {
  readonly #options: VerifyOptions;
  readonly #findings: Finding[] = [];

  constructor(options: VerifyOptions) {
    this.#options = options;
  }

  async run(): Promise<Verified> {
    const { store, prefix, signal } = this.#options;
    const manifests = new ManifestStore(store, prefix, "refs/heads/main", {
      isMade: this.#options.isMade ?? false,
    });
    const manifest = await this.#attempt(`${prefix}/git/manifest`, ADVICE.manifest, () =>
      manifests.read(signal),
    );
    if (manifest === undefined)
      return { manifest, refs: 0, packs: 0, objects: 0, findings: this.#findings };
    const refs = new ManifestRefs(manifests, store, prefix);
    const snapshot = await this.#attempt(
      manifest.snapshot?.key ?? `${prefix}/git/manifest`,
      ADVICE.snapshot,
      () => refs.read(signal),
    );
    const beside = (await this.#options.beside?.(manifest)) ?? {
      tips: [],
      promised: [],
      findings: [],
    };
    for (const finding of beside.findings) this.#findings.push(finding);
    const handles: PackHandle[] = [];
    for (const record of manifest.packs) {
      const handle = await this.#pack(record);
      if (handle !== undefined) handles.push(handle);
    }
    for (const bundle of manifest.bundles ?? []) await this.#bundle(bundle);
    // A walk over damaged packs would only say again what is said.
    if (this.#findings.length === 0 && snapshot !== undefined)
      await this.#connected(handles, snapshot.refs, beside);
    const objects = manifest.packs.reduce((sum, pack) => sum + pack.objects, 0);
    return {
      manifest,
      refs: snapshot?.refs.length ?? 0,
      packs: manifest.packs.length,
      objects,
      findings: this.#findings,
    };
  }

  /**
   * Returns the result of `work`, or undefined with a finding. Only what says something about the
   * repository is one.
   */
  async #attempt<T>(file: string, advice: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      const fault = asFault(error);
      if (!isDamage(fault)) throw error;
      this.#findings.push({ file, problem: String(fault.facts.reason ?? fault.message), advice });
      return undefined;
    }
  }

  /** A client finds out by itself whether what a bundle holds is damaged. */
  async #bundle(line: BundleLine): Promise<void> {
    const { store, prefix, signal } = this.#options;
    const file = bundleKey(prefix, line);
    await this.#attempt(file, ADVICE.bundle, async () => {
      const size = await store.size(file, signal);
      if (size === undefined) throw new Fault("store/missing", { file });
      if (size !== line.bytes)
        throw new Fault("odb/damaged", {
          file,
          reason: `it has ${size} bytes, and the manifest says ${line.bytes}`,
        });
    });
  }

  async #pack(record: PackLine): Promise<PackHandle | undefined> {
    const { store, signal } = this.#options;
    const { checksum, name, bytes, objects: objectCount } = record;
    const key = (extension: string) =>
      `${this.#options.prefix}/git/objects/pack/pack-${name}.${extension}`;
    const path = await this.#attempt(key("pack"), ADVICE.pack, () =>
      store.localFile(key("pack"), signal),
    );
    if (path === undefined) return undefined;
    const made = await this.#attempt(key("pack"), ADVICE.pack, () => this.#indexAnew(path, record));
    if (made === undefined) return undefined;
    const idxPath = await this.#sameFile(key("idx"), made.idxPath);
    const revPath = await this.#sameFile(key("rev"), made.revPath);
    if (idxPath === undefined || revPath === undefined) return undefined;
    const table = await this.#attempt(key("idx"), ADVICE.index, () =>
      loadTable({ checksum, objectCount, idxPath, revPath }),
    );
    return table && { checksum, path, bytes, objectCount, ...table };
  }

  /**
   * Every object inflated and hashed, every delta applied: what ingest does with a pack that comes.
   */
  async #indexAnew(path: string, { checksum, bytes, objects }: PackLine): Promise<IngestedPack> {
    const { pool, folder, signal } = this.#options;
    const { size } = await stat(path);
    if (size !== bytes)
      throw new Fault("odb/damaged", {
        file: path,
        reason: `it has ${size} bytes, and the manifest says ${bytes}`,
      });
    const target = {
      idxPath: join(folder, `${checksum}.idx`),
      revPath: join(folder, `${checksum}.rev`),
    };
    const made = await indexPackFile(path, { pool, folder, ...target, fsck: false, signal });
    if (made.checksum !== checksum)
      throw new Fault("odb/damaged", { file: path, reason: `its checksum is ${made.checksum}` });
    if (made.objectCount !== objects)
      throw new Fault("odb/damaged", {
        file: path,
        reason: `it has ${made.objectCount} objects, and the manifest says ${objects}`,
      });
    return made;
  }

  /** The stored file's path where it is what was made anew, to the byte. */
  #sameFile(key: string, made: string): Promise<string | undefined> {
    const { store, signal } = this.#options;
    return this.#attempt(key, ADVICE.index, async () => {
      const path = await store.localFile(key, signal);
      const at = await firstDifference(path, made);
      if (at !== undefined)
        throw new Fault("odb/damaged", {
          file: path,
          reason: `it differs from what the pack says, first at byte ${at}`,
        });
      return path;
    });
  }

  async #connected(
    packs: readonly PackHandle[],
    refs: readonly Ref[],
    { tips: more, promised }: Beside,
  ): Promise<void> {
    const { pool, prefix, signal } = this.#options;
    const tips = [...new Set([...refs.map(({ oid }) => oid), ...more])];
    const missing = await pool.run(
      connectedTask,
      { packs, closed: [], tips, promised },
      { signal },
    );
    tips.forEach((tip, at) => {
      const one = missing[at];
      if (one === undefined) return;
      const is =
        one.found === undefined ? "is missing" : `is a ${one.found} and not a ${one.expected}`;
      const of = refs.find(({ oid }) => oid === tip)?.name ?? tip;
      this.#findings.push({
        file: `${prefix}/git/objects/pack`,
        problem: `object ${one.oid}, which ${of} needs, ${is}`,
        advice: ADVICE.objects,
      });
    });
  }
}

/**
 * Returns whether a failure says something about what is stored; others (a full disk, an abort)
 * are no finding.
 */
export function isDamage({ code }: Fault): boolean {
  return /^(pack|odb|manifest)\/|^store\/missing$|^wire\/too-much$/.test(code);
}

/** Returns the first byte in which two files differ, or undefined if they are equal. */
async function firstDifference(left: string, right: string): Promise<number | undefined> {
  const [one, other] = [await open(left, "r"), await open(right, "r")];
  try {
    const buffers = [
      Buffer.alloc(LIMITS.streamChunkBytes),
      Buffer.alloc(LIMITS.streamChunkBytes),
    ] as const;
    for (let at = 0; ; ) {
      const first = (await one.read(buffers[0], 0, buffers[0].length, at)).bytesRead;
      const second = (await other.read(buffers[1], 0, buffers[1].length, at)).bytesRead;
      const both = Math.min(first, second);
      if (!buffers[0].subarray(0, both).equals(buffers[1].subarray(0, both))) {
        for (let byte = 0; byte < both; byte++)
          if (buffers[0][byte] !== buffers[1][byte]) return at + byte;
      }
      at += both;
      if (first !== second && both === 0) return at;
      if (first === 0) return undefined;
    }
  } finally {
    await Promise.all([one.close(), other.close()]);
  }
}
