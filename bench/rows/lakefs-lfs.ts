/**
 * Part of the row `lakefs`: one large file by Git LFS through lakepack into lakeFS and back, beside
 * lakectl's own upload and download of it.
 */
import { spawn, spawnSync } from "node:child_process";
import { randomFillSync } from "node:crypto";
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { RunningLakefs } from "../../test/support/lakefs-servers.js";
import { git } from "../git.js";
import { cpuSeconds, RssWatch } from "../process.js";
import { median, type Report } from "../report.js";
import type { BenchServer } from "../server.js";

const MIB = 1024 * 1024;
/** Both are measured in turn so often: others may use the machine. */
const ROUNDS = 3;
const { signal } = new AbortController();

export interface LfsRig {
  readonly lakefs: RunningLakefs;
  readonly report: Report;
  readonly folder: string;
  readonly tiny: boolean;
  /** Starts a lakepack that asks lakeFS itself, with nothing in between. */
  readonly start: (data: string) => Promise<BenchServer>;
}

/** Seconds of one round. */
interface Round {
  readonly up: number;
  readonly down: number;
}

interface OurRound extends Round {
  /** Seconds of CPU that lakepack took. */
  readonly upCpu: number;
  readonly downCpu: number;
}

export async function lfsRows(rig: LfsRig): Promise<void> {
  const { lakefs, report, folder, tiny } = rig;
  if (spawnSync("git", ["lfs", "version"]).status !== 0)
    return report.note("  LFS: git-lfs is not installed");
  const name = "bench-lfs";
  const mib = tiny ? 3 : 300;
  await lakefs.client.createRepository(
    { name, storage_namespace: lakefs.namespace(name), default_branch: "main" },
    signal,
  );
  const server = await rig.start(join(folder, "data-lfs"));
  const place = join(folder, "lfs");
  mkdirSync(place, { recursive: true });
  const watch = new RssWatch([server.pid]);
  try {
    const work = clone(`${server.url}/lakefs/${name}.git`, place);
    const [ours, peers]: [OurRound[], Round[]] = [[], []];
    for (let round = 0; round < (tiny ? 1 : ROUNDS); round++) {
      writeRandom(join(work, `weights-${round}.bin`), mib * MIB);
      peers.push(await byLakectl(lakefs, name, place, join(work, `weights-${round}.bin`)));
      ours.push(await byLfs(work, round, server.pid));
    }
    const bar = (most: number) => (tiny ? {} : { bar: most });
    const row = (what: "up" | "down", most: number) => ({
      ours: median(ours.map((one) => one[what])),
      peer: median(peers.map((one) => one[what])),
      peerName: "lakectl",
      unit: "s",
      ...bar(most),
    });
    // 0.9 and 0.8 of lakectl's speed.
    report.add({ row: `LFS upload of ${mib} MiB`, ...row("up", 1 / 0.9) });
    report.add({ row: `LFS download of ${mib} MiB`, ...row("down", 1 / 0.8) });
    const cpu = (what: "upCpu" | "downCpu") => median(ours.map((one) => one[what]));
    report.add({ row: "  CPU of lakepack, upload", ours: cpu("upCpu"), unit: "s" });
    report.add({ row: "  CPU of lakepack, download", ours: cpu("downCpu"), unit: "s" });
    report.add({ row: "  RSS, peak", ours: watch.peak / MIB, unit: "MiB", ...bar(200) });
  } finally {
    watch.stop();
    await server.stop();
    rmSync(place, { recursive: true, force: true });
  }
}

function clone(url: string, place: string): string {
  const work = join(place, "work");
  git(["clone", "--quiet", url, work], place);
  git(["lfs", "install", "--local"], work);
  git(["config", "lfs.locksverify", "false"], work);
  git(["lfs", "track", "*.bin"], work);
  return work;
}

/** The object alone, in both directions: what git does beside it is the same for any server. */
async function byLfs(work: string, round: number, pid: number): Promise<OurRound> {
  git(["add", "."], work);
  git(["commit", "--quiet", "-m", `round ${round}`], work);
  const [oid = ""] = /[0-9a-f]{64}/.exec(git(["show", `HEAD:weights-${round}.bin`], work)) ?? [];
  const before = cpuSeconds([pid]);
  const up = await timed("git", ["lfs", "push", "--object-id", "origin", oid], work);
  const between = cpuSeconds([pid]);
  rmSync(join(work, ".git/lfs/objects"), { recursive: true, force: true });
  const down = await timed(
    "git",
    ["lfs", "fetch", "origin", "HEAD", "--include", `weights-${round}.bin`],
    work,
  );
  return { up, down, upCpu: between - before, downCpu: cpuSeconds([pid]) - between };
}

async function byLakectl(
  { lakectl: { program, env } }: RunningLakefs,
  name: string,
  place: string,
  file: string,
): Promise<Round> {
  const to = join(place, "down.bin");
  const up = await timed(
    program,
    ["fs", "upload", "--no-progress", "-s", file, `lakefs://${name}/main/by-lakectl`],
    place,
    env,
  );
  const down = await timed(
    program,
    ["fs", "download", "--no-progress", `lakefs://${name}/main/by-lakectl`, to],
    place,
    env,
  );
  rmSync(to, { force: true });
  return { up, down };
}

async function timed(
  program: string,
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Promise<number> {
  const started = performance.now();
  const child = spawn(program, args, {
    cwd,
    env: { PATH: process.env["PATH"], HOME: cwd, ...env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let errors = "";
  child.stderr.on("data", (text: Buffer) => {
    errors = (errors + text.toString()).slice(-1_000);
  });
  const code = await new Promise((resolve) => child.once("close", resolve));
  if (code !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${code}: ${errors}`);
  return (performance.now() - started) / 1_000;
}

function writeRandom(path: string, bytes: number): void {
  const file = openSync(path, "w");
  const piece = Buffer.alloc(MIB);
  for (let written = 0; written < bytes; written += MIB) writeSync(file, randomFillSync(piece));
  closeSync(file);
}
