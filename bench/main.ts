/**
 * `npm run bench [-- row …]`: figures beside stock git in the same run. `--tiny` runs everything
 * small, as the tests do. `--json FOLDER` writes each row's result to FOLDER/<row>.json; a full run
 * writes to bench/results without being told, of which scripts/bench-page.mjs makes the tables of
 * bench/README.md. Exit code 1 if a row missed its bar or could not be measured.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type CorpusName, makeCorpus, type Scale } from "./corpus.js";
import { git } from "./git.js";
import { peerIsInstalled, startPeer } from "./peer.js";
import { type Entry, Report } from "./report.js";
import { commitsRows } from "./rows/commits.js";
import type { BenchContext } from "./rows/context.js";
import { crowdRows } from "./rows/crowd.js";
import { fetchRows } from "./rows/fetch.js";
import { indexRows } from "./rows/index-pack.js";
import { kernelRows } from "./rows/kernels.js";
import { lakefsRows } from "./rows/lakefs.js";
import { poolRows } from "./rows/pool.js";
import { refsRows } from "./rows/refs.js";
import { memoryRow, pushRow, serveRows } from "./rows/serve.js";
import { storeRows } from "./rows/store.js";

const ROWS: Readonly<Record<string, (context: BenchContext) => Promise<void>>> = {
  kernels: kernelRows,
  index: indexRows,
  serve: serveRows,
  crowd: crowdRows,
  refs: refsRows,
  fetch: fetchRows,
  commits: commitsRows,
  memory: memoryRow,
  push: pushRow,
  pool: poolRows,
  lakefs: lakefsRows,
  store: storeRows,
};
export const ROW_NAMES: readonly string[] = Object.keys(ROWS);

const PEER_PORT = 8_990;
const SOURCES = fileURLToPath(new URL("../../", import.meta.url));

/** A row's result, as it lies in bench/results: two of different commits can be compared. */
export interface RowResult {
  readonly row: string;
  readonly command: string;
  /** ISO 8601, the day. */
  readonly date: string;
  /** Commit of the sources; "" where they are in no Git repository. */
  readonly commit: string;
  readonly machine: string;
  readonly entries: readonly Entry[];
}

/**
 * Runs rows; the report. A row that throws is FAILED and the others go on. `results` is the folder
 * for <row>.json, made if it is not there.
 */
export async function bench(
  names: readonly string[],
  scale: Scale,
  results?: string,
): Promise<Report> {
  const report = new Report();
  const folder = await mkdtemp(join(process.env["BENCH_FOLDER"] ?? tmpdir(), "lakepack-bench-"));
  const peer = (await peerIsInstalled())
    ? await startPeer(join(folder, "peer"), PEER_PORT + (process.pid % 1_000))
    : undefined;
  const corpora = new Map<CorpusName, Promise<string>>();
  const corpus = (name: CorpusName): Promise<string> => {
    const made = corpora.get(name) ?? makeCorpus(name, scale, folder);
    corpora.set(name, made);
    return made;
  };
  const machine = `node ${process.version}, ${git(["--version"], folder).trim()}, ${availableParallelism()} × ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB`;
  report.note(machine);
  report.takeEntries();
  try {
    for (const name of names) {
      const row = ROWS[name];
      if (row === undefined) report.fail(name, `no such row; there are: ${ROW_NAMES.join(" ")}`);
      else
        await row({ scale, report, folder, peer, corpus }).catch((error: unknown) =>
          report.fail(name, String(error)),
        );
      const entries = report.takeEntries();
      if (results !== undefined && row !== undefined)
        await writeResult(results, { ...describe(name), machine, entries });
    }
  } finally {
    await peer?.stop();
    await rm(folder, { recursive: true, force: true });
  }
  return report;
}

function describe(row: string): Pick<RowResult, "row" | "command" | "date" | "commit"> {
  return {
    row,
    command: `npm run bench -- ${row}`,
    date: new Date().toISOString().slice(0, 10),
    commit: commitOf(SOURCES),
  };
}

function commitOf(folder: string): string {
  try {
    return git(["rev-parse", "HEAD"], folder).trim();
  } catch {
    return "";
  }
}

async function writeResult(folder: string, result: RowResult): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, `${result.row}.json`), `${JSON.stringify(result, null, 2)}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { tiny: { type: "boolean" }, json: { type: "string" } },
  });
  const report = await bench(
    positionals.length > 0 ? positionals : ROW_NAMES,
    values.tiny ? "tiny" : "full",
    values.json ?? (values.tiny ? undefined : join(SOURCES, "bench/results")),
  );
  process.exitCode = report.failures > 0 ? 1 : 0;
}
