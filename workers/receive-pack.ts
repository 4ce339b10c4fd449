/** Door: tasks of a push after its pack is indexed (src/odb/walk/push-work). */
import { workerData } from "node:worker_threads";
import { threadKernels } from "../src/kernels/choose.js";
import { pushWork } from "../src/odb/walk/push-work.js";

const { kernelsModule } = workerData as { readonly kernelsModule: WebAssembly.Module };

export const { describe, connected, ancestor } = pushWork(threadKernels(kernelsModule));
