/** Commits made in lakeFS and read one at a time, so that each comes in a pack of its own; what they take in the store, beside what stock git makes of the same. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Test } from "tap";
import { cpuSeconds } from "../../bench/process.js";
import { median } from "../../bench/report.js";
import { loadKernels } from "../../src/cli/kernels.js";
import { toHandles } from "../../src/odb/fetch-pack.js";
import { startIngest } from "../../src/odb/ingest.js";
import { indexPackFile } from "../../src/odb/ingest-file.js";
import { ManifestObjects } from "../../src/odb/manifest-objects.js";
import { ManifestStore } from "../../src/odb/manifest-store.js";
import { PackChecks } from "../../src/odb/pack-checks.js";
import { PackTables } from "../../src/odb/pack-tables.js";
import { createPool } from "../../src/pool/pool.js";
import { DiskStore } from "../../src/store/disk.js";
import { lakepack } from "../cli/lakepack.js";
import type { RunningLakefs } from "../lakefs/servers.js";
import { copyData, folderOf, git, type Lakepack, prefixOf, tempFolder } from "./harness.js";
import { put, signal, startBeside } from "./lakefs-rig.js";

/** Files of many folders: "d07/f0107.txt"; in one folder where `folders` is 0. */
export function filePath(at: number, folders: number): string {
  const name = `f${String(at).padStart(5, "0")}.txt`;
  return folders === 0 ? name : `d${String(at % folders).padStart(2, "0")}/${name}`;
}

/** Makes one-file commits; after each `read` is called. */
export async function commitOneByOne(
  lakefs: RunningLakefs,
  name: string,
  commits: { readonly from: number; readonly to: number; readonly files: number; readonly folders: number },
  read: (commit: number) => Promise<void>,
): Promise<void> {
  for (let commit = commits.from; commit < commits.to; commit++) {
    await put(lakefs, name, filePath((commit * 7_919) % commits.files, commits.folders), `version ${commit}\n`);
    await lakefs.client.commit(name, "main", { message: `change ${commit}` }, signal);
    await read(commit);
  }
}

/** As a clone begins: the server reads what is new in lakeFS. */
export async function readRefs({ url }: Lakepack, name: string): Promise<void> {
  const reply = await fetch(`${url}/lakefs/${name}.git/info/refs?service=git-upload-pack`);
  await reply.arrayBuffer();
  if (!reply.ok) throw new Error(`refs were answered with ${reply.status}`);
}

export interface StoredPack {
  readonly checksum: string;
  readonly objects: number;
  readonly origin: string;
  readonly promised?: number;
}

export class StoredSide {
  readonly #data: string;
  readonly #name: string;

  constructor({ data }: Pick<Lakepack, "data">, name: string) {
    this.#data = data;
    this.#name = name;
  }

  async folder(): Promise<string> {
    return join(await folderOf(this.#data, `lakefs/${this.#name}`), "git");
  }

  async packs(): Promise<readonly StoredPack[]> {
    return (JSON.parse(readFileSync(join(await this.folder(), "manifest"), "utf8")) as { packs: StoredPack[] }).packs;
  }

  async manifestBytes(): Promise<number> {
    return statSync(join(await this.folder(), "manifest")).size;
  }

  /** Bytes and names of what lies beside the manifest for packs. */
  async files(): Promise<{ readonly bytes: number; readonly names: readonly string[] }> {
    const folders = [join(await this.folder(), "objects/pack"), join(await this.folder(), "lake-promised")];
    const paths = folders.flatMap((folder) => (existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : []));
    return { bytes: paths.reduce((sum, path) => sum + statSync(path).size, 0), names: paths.map((path) => path.split("/").at(-1) as string) };
  }

  /** Folds what can be, and removes what nothing names. */
  async collect(): Promise<void> {
    const done = await lakepack(["gc", `lakefs/${this.#name}`, "--grace", "0", "--data", this.#data]);
    if (done.code !== 0) throw new Error(done.err);
  }

  /** Bytes of trees and commits as they lie. */
  async historyBytes(): Promise<number> {
    return historyBytes(await this.folder());
  }
}

/** Bytes of trees and commits as they lie in a repository's packs; git says what it costs to store each. */
export function historyBytes(repository: string): number {
  const format = "--batch-check=%(objecttype) %(objectsize:disk)";
  const lines = execFileSync("git", ["-C", repository, "cat-file", "--batch-all-objects", "--unordered", format], { encoding: "utf8", maxBuffer: 1 << 30 }).trim().split("\n");
  return lines.map((line) => line.split(" ")).reduce((sum, [type, bytes]) => sum + (type === "tree" || type === "commit" ? Number(bytes) : 0), 0);
}

/** What stock git makes of a clone of `url` by its defaults; the folder it is in. */
export async function repackedByGit(url: string, folder: string): Promise<string> {
  await git(["clone", "-q", "--mirror", url, folder]);
  await git(["repack", "-adfq"], { cwd: folder });
  return folder;
}

export interface ClonesBesideOptions {
  /** Of a server that has ended. */
  readonly data: string;
  readonly name: string;
  readonly env: Readonly<Record<string, string>>;
  readonly lakefs: RunningLakefs;
  readonly rounds?: number;
}

/** CPU of server and client for a clone as things lie, over that of one whose packs were all made one; both in turn, the median of the ratios. */
export async function clonesBeside(t: Test, { data, name, env, lakefs, rounds = 5 }: ClonesBesideOptions): Promise<{ readonly ratio: number; readonly packs: number }> {
  const one = join(await tempFolder(t), "data");
  await copyData(data, one);
  await makeOne(one, name);
  const lies = await startBeside(t, lakefs, { ...env, LAKEPACK_CACHE_BYTES: "0" }, { data });
  const folded = await startBeside(t, lakefs, { ...env, LAKEPACK_CACHE_BYTES: "0" }, { data: one });
  const cost = async (server: Lakepack): Promise<number> => {
    const before = cpuSeconds([server.pid]);
    const folder = join(await tempFolder(t), "clone");
    const client = await clientSeconds(["clone", "-q", "--bare", `${server.url}/lakefs/${name}.git`, folder]);
    await rm(folder, { recursive: true, force: true });
    return cpuSeconds([server.pid]) - before + client;
  };
  const ratios: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const [left, right] = [await cost(lies), await cost(folded)];
    if (round > 0) ratios.push(left / right); // the first ones check their files
  }
  const packs = (await new StoredSide({ data }, name).packs()).length;
  await lies.stop();
  await folded.stop();
  return { ratio: median(ratios), packs };
}

/** CPU of git and of what it starts: all this process has waited for meanwhile. */
async function clientSeconds(args: readonly string[]): Promise<number> {
  const waited = () => {
    const stat = readFileSync("/proc/self/stat", "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number);
    return ((fields[13] as number) + (fields[14] as number)) / 100; // cutime and cstime of proc(5)
  };
  const before = waited();
  await git(args);
  return waited() - before;
}

/** Makes all packs of a store that no server has one pack. */
async function makeOne(data: string, name: string): Promise<void> {
  const prefix = await prefixOf(data, `lakefs/${name}`);
  const store = new DiskStore(data);
  const pool = createPool({ threads: 1, kernelsModule: await loadKernels() });
  const folder = join(dirname(data), "one");
  await mkdir(folder);
  try {
    const services = { store, pool, tables: new PackTables(), checks: new PackChecks(), incoming: folder, ingest: { packBytesMax: 1e12, memoryBytes: 1e8 }, startIngest };
    const objects = new ManifestObjects(services, new ManifestStore(store, prefix, "refs/heads/main"), prefix);
    const { packs } = await objects.packs();
    const path = join(folder, "all.pack");
    await pool.run("pack-objects/fold", { packs: toHandles(packs), path });
    await objects.adopt(await indexPackFile(path, { pool, fsck: false }), { origin: "repack" });
    for (const { checksum } of packs) await objects.drop(checksum);
  } finally {
    await pool.close();
  }
}
