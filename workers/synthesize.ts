/** Door: Git objects of lakeFS commits (src/lakefs/synthesize). */
import { workerData } from "node:worker_threads";
import { threadKernels } from "../src/kernels/choose.js";
import { synthesizeChain } from "../src/lakefs/synthesize.js";
import type { SynthesizeRequest } from "../src/pool/synthesize-tasks.js";

const kernels = threadKernels((workerData as { readonly kernelsModule: WebAssembly.Module }).kernelsModule);

export const chain = (request: SynthesizeRequest) => synthesizeChain(request, kernels);
