/** Door: what a push adds goes from packs to lakeFS (src/lakefs/land/work). */
import { workerData } from "node:worker_threads";
import { threadKernels } from "../src/kernels/choose.js";
import { landingWork } from "../src/lakefs/land/work.js";

const { kernelsModule } = workerData as { readonly kernelsModule: WebAssembly.Module };

export const { newCommits, buildTrees, rawObjects, difference } = landingWork(
  threadKernels(kernelsModule),
);
