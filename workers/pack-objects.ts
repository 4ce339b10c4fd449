/** Door: tasks of a fetch (src/odb/pack-objects/fetch-work). */
import { workerData } from "node:worker_threads";
import { threadKernels } from "../src/kernels/choose.js";
import { fetchWork } from "../src/odb/pack-objects/fetch-work.js";

const { kernelsModule } = workerData as { readonly kernelsModule: WebAssembly.Module };

export const { generate, help, negotiate, deepen, reachable, sizes, resolve, check, fold, holds } =
  fetchWork(threadKernels(kernelsModule));
