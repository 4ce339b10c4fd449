/**
 * Commits made in lakeFS and read one at a time, so that each comes in a pack of its own; what they
 * take in the store, beside what stock git makes of the same.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { lakepack } from "./lakepack-command.js";
import type { RunningLakefs } from "./lakefs-servers.js";
import { folderOf, git, type Lakepack } from "./harness.js";
import { put, signal } from "./lakefs-rig.js";

/** Files of many folders: "d07/f0107.txt"; in one folder where `folders` is 0. */
export function filePath(at: number, folders: number): string {
  const name = `f${String(at).padStart(5, "0")}.txt`;
  return folders === 0 ? name : `d${String(at % folders).padStart(2, "0")}/${name}`;
}

/** Makes one-file commits; after each `read` is called. */
export async function commitOneByOne(
  lakefs: RunningLakefs,
  name: string,
  commits: {
    readonly from: number;
    readonly to: number;
    readonly files: number;
    readonly folders: number;
  },
  read: (commit: number) => Promise<void>,
): Promise<void> {
  for (let commit = commits.from; commit < commits.to; commit++) {
    await put(
      lakefs,
      name,
      filePath((commit * 7_919) % commits.files, commits.folders),
      `version ${commit}\n`,
    );
    await lakefs.client.in(name).commit("main", { message: `change ${commit}` }, signal);
    await read(commit);
  }
}

/** As a clone begins: the server reads what is new in lakeFS. */
export async function readRefs({ url }: Pick<Lakepack, "url">, name: string): Promise<void> {
  const reply = await fetch(`${url}/lakefs/${name}.git/info/refs?service=git-upload-pack`);
  await reply.arrayBuffer();
  if (!reply.ok) throw new Error(`refs were answered with ${reply.status}`);
}

export interface StoredPack {
  readonly checksum: string;
  readonly name: string;
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
    return (
      JSON.parse(readFileSync(join(await this.folder(), "manifest"), "utf8")) as {
        packs: StoredPack[];
      }
    ).packs;
  }

  async manifestBytes(): Promise<number> {
    return statSync(join(await this.folder(), "manifest")).size;
  }

  /** Bytes and names of what lies beside the manifest for packs. */
  async files(): Promise<{ readonly bytes: number; readonly names: readonly string[] }> {
    const folders = [
      join(await this.folder(), "objects/pack"),
      join(await this.folder(), "lake-promised"),
    ];
    const paths = folders.flatMap((folder) =>
      existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [],
    );
    return {
      bytes: paths.reduce((sum, path) => sum + statSync(path).size, 0),
      names: paths.map((path) => path.split("/").at(-1) as string),
    };
  }

  /** Folds what can be, and removes what nothing names. */
  async collect(): Promise<void> {
    const done = await lakepack([
      "gc",
      `lakefs/${this.#name}`,
      "--grace",
      "0",
      "--data",
      this.#data,
    ]);
    if (done.code !== 0) throw new Error(done.err);
  }

  /** Bytes of trees and commits as they lie. */
  async historyBytes(): Promise<number> {
    return historyBytes(await this.folder());
  }
}

/**
 * Bytes of trees and commits as they lie in a repository's packs; git says what it costs to store
 * each.
 */
export function historyBytes(repository: string): number {
  const format = "--batch-check=%(objecttype) %(objectsize:disk)";
  const lines = execFileSync(
    "git",
    ["-C", repository, "cat-file", "--batch-all-objects", "--unordered", format],
    { encoding: "utf8", maxBuffer: 1 << 30 },
  )
    .trim()
    .split("\n");
  return lines
    .map((line) => line.split(" "))
    .reduce(
      (sum, [type, bytes]) => sum + (type === "tree" || type === "commit" ? Number(bytes) : 0),
      0,
    );
}

/** Repacks a clone of `url` with stock git's defaults; returns the folder it is in. */
export async function repackedByGit(url: string, folder: string): Promise<string> {
  await git(["clone", "-q", "--mirror", url, folder]);
  await git(["repack", "-adfq"], { cwd: folder });
  return folder;
}
