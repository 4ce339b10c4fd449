/**
 * `npm run bench [-- row …]`: figures beside stock git in the same run. `--tiny` runs everything
 * small, as the tests do. Exit code 1 if a row missed its bar or could not be measured.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type CorpusName, makeCorpus, type Scale } from "./corpus.js";
import { git } from "./git.js";
import { peerIsInstalled, startPeer } from "./peer.js";
import { Report } from "./report.js";
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
};
export const ROW_NAMES: readonly string[] = Object.keys(ROWS);

const PEER_PORT = 8_990;

/** Runs rows; the report. A row that throws is FAILED and the others go on. */
export async function bench(names: readonly string[], scale: Scale): Promise<Report> {
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
  report.note(
    `node ${process.version}, ${git(["--version"], folder).trim()}, ${availableParallelism()} × ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
  );
  try {
    for (const name of names) {
      const row = ROWS[name];
      if (row === undefined) report.fail(name, `no such row; there are: ${ROW_NAMES.join(" ")}`);
      else
        await row({ scale, report, folder, peer, corpus }).catch((error: unknown) =>
          report.fail(name, String(error)),
        );
    }
  } finally {
    await peer?.stop();
    await rm(folder, { recursive: true, force: true });
  }
  return report;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const args = process.argv.slice(2);
  const names = args.filter((arg) => !arg.startsWith("--"));
  const report = await bench(
    names.length > 0 ? names : ROW_NAMES,
    args.includes("--tiny") ? "tiny" : "full",
  );
  process.exitCode = report.failures > 0 ? 1 : 0;
}
