/**
 * Repositories made by stock git for tests of the read side, and its answers to compare ours with.
 */
import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { PackHandle } from "../../src/odb/packs/handle.js";

/** A fixed clock and identity, so that ids are the same in every run. */
const ENVIRONMENT = {
  PATH: process.env["PATH"],
  HOME: "/nonexistent",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_AUTHOR_NAME: "A",
  GIT_AUTHOR_EMAIL: "a@example.com",
  GIT_COMMITTER_NAME: "C",
  GIT_COMMITTER_EMAIL: "c@example.com",
};

export class StockRepository {
  readonly path: string;
  #clock = 1_600_000_000;

  constructor(path: string) {
    this.path = path;
  }

  /** stdout of one git command. */
  git(args: readonly string[], input?: string | Buffer): string {
    return this.gitBytes(args, input).toString("latin1").trimEnd();
  }

  gitBytes(args: readonly string[], input: string | Buffer = ""): Buffer {
    const date = `${this.#clock} +0000`;
    const env = { ...ENVIRONMENT, GIT_AUTHOR_DATE: date, GIT_COMMITTER_DATE: date };
    return execFileSync("git", ["-C", this.path, ...args], {
      input,
      env,
      maxBuffer: 1 << 30,
      stdio: ["pipe", "pipe", "pipe"],
    });
  }

  /** Commits all of the work tree, a minute later than the last commit. */
  commit(message: string): string {
    this.#clock += 60;
    this.git(["add", "-A"]);
    this.git(["commit", "-q", "--allow-empty", "-m", message]);
    return this.git(["rev-parse", "HEAD"]);
  }

  write(name: string, content: string | Buffer): void {
    const path = join(this.path, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }

  tick(seconds: number): void {
    this.#clock += seconds;
  }

  /** Sorted ids that `git rev-list --objects` gives for these arguments. */
  objects(args: readonly string[]): string[] {
    const lines = this.git(["rev-list", "--objects", "--no-object-names", ...args]).split("\n");
    return [...new Set(lines.filter((line) => line !== ""))].sort();
  }

  /**
   * Packs everything into one pack (or, with `incremental`, what is loose into one more) and hands
   * all packs out, newest first.
   */
  packs(options: { readonly incremental?: boolean } = {}): PackHandle[] {
    this.git(
      options.incremental === true
        ? ["repack", "-q"]
        : ["repack", "-adq", "--window=10", "--depth=50"],
    );
    return packHandles(join(this.path, this.git(["rev-parse", "--git-dir"])));
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

export function createRepository(): StockRepository {
  const repository = new StockRepository(mkdtempSync(join(tmpdir(), "lakepack-odb-")));
  repository.git(["init", "-q", "-b", "main"]);
  repository.git(["config", "uploadpack.allowFilter", "true"]);
  return repository;
}

/** Handles of the packs under `gitDir`, newest first. */
export function packHandles(gitDir: string): PackHandle[] {
  const folder = join(gitDir, "objects/pack");
  const names = readdirSync(folder).filter((name) => name.endsWith(".pack"));
  return names
    .map((name) => join(folder, name))
    .sort((left, right) => statSync(right).mtimeMs - statSync(left).mtimeMs)
    .map(packHandle);
}

export function packHandle(path: string): PackHandle {
  const idx = shared(readFileSync(path.replace(/pack$/, "idx")));
  const objectCount = new DataView(idx).getUint32(8 + 255 * 4);
  const bytes = statSync(path).size;
  const checksum = readFileSync(path).subarray(-20).toString("hex");
  return { checksum, path, bytes, objectCount, idx, rev: shared(reverse(idx, objectCount)) };
}

/** A .rev made from an .idx: git of this age writes one only when told to. gitformat-pack(5). */
function reverse(idx: SharedArrayBuffer, count: number): Buffer {
  const view = new DataView(idx);
  const offsetsAt = 1032 + count * 24;
  const offset = (position: number): number => {
    const near = view.getUint32(offsetsAt + position * 4);
    return near < 0x80000000
      ? near
      : Number(view.getBigUint64(offsetsAt + count * 4 + (near - 0x80000000) * 8));
  };
  const order = Array.from({ length: count }, (_, position) => position).sort(
    (left, right) => offset(left) - offset(right),
  );
  const rev = Buffer.alloc(12 + count * 4 + 40);
  rev.write("RIDX", "latin1");
  rev.writeUInt32BE(1, 4);
  rev.writeUInt32BE(1, 8);
  for (const [rank, position] of order.entries()) rev.writeUInt32BE(position, 12 + rank * 4);
  return rev;
}

function shared(bytes: Buffer): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(bytes.length);
  new Uint8Array(buffer).set(bytes);
  return buffer;
}
