/** The row `pool`: what 1, 2 and 4 threads make of indexing and of clones. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { loadKernels } from "../../src/cli/server/kernels.js";
import { createPool } from "../../src/pool/pool.js";
import { timeGit } from "../git.js";
import { listTips, rawClone } from "../raw-clone.js";
import { startServer } from "../server.js";
import type { BenchContext } from "./context.js";
import { copyPack, indexOnce } from "./index-pack.js";

export async function poolRows(context: BenchContext): Promise<void> {
  const corpus = await context.corpus("code");
  const folder = join(context.folder, "pool");
  await mkdir(folder, { recursive: true });
  const pack = await copyPack(corpus, folder);
  const kernelsModule = await loadKernels();
  for (const threads of [1, 2, 4]) {
    const pool = createPool({ kernelsModule, threads });
    await indexOnce(pack, folder, pool);
    const seconds = await indexOnce(pack, folder, pool);
    const { waitMsMean } = pool.figures();
    await pool.close();
    context.report.add({ row: `pool ${threads}: index code`, ours: seconds, unit: "s" });
    context.report.add({ row: `pool ${threads}: queue wait, mean`, ours: waitMsMean, unit: "ms" });
    await clonesRow(context, threads, corpus);
  }
}

/** Clones of different depth, so that each is generated and not read from the cache. */
async function clonesRow(context: BenchContext, threads: number, corpus: string): Promise<void> {
  const server = await startServer(join(context.folder, `pool-data-${threads}`), [
    "--pool-threads",
    String(threads),
  ]);
  try {
    const url = `${server.url}/bench/code.git`;
    await timeGit(["push", "--quiet", url, "main"], corpus);
    const wants = await listTips(url);
    const clones = context.scale === "tiny" ? 4 : 16;
    const start = performance.now();
    await Promise.all(
      Array.from({ length: clones }, (_, n) =>
        rawClone(url, { wants, lines: [`deepen ${n + 1}`] }),
      ),
    );
    const rate = clones / ((performance.now() - start) / 1000);
    context.report.add({
      row: `pool ${threads}: ${clones} generated clones at once`,
      ours: rate,
      unit: "clones/s",
    });
  } finally {
    await server.stop();
  }
}
