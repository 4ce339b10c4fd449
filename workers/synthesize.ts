/**
 * Door: Git objects of lakeFS commits (src/lakefs/trees/synthesize), and contents they left there
 * (src/lakefs/trees/bring-contents, src/lakefs/trees/promised-merge).
 */
import { workerData } from "node:worker_threads";
import { threadKernels } from "../src/kernels/choose.js";
import { bringContents } from "../src/lakefs/trees/bring-contents.js";
import { mergePromised } from "../src/lakefs/trees/promised-merge.js";
import { reachedPromises } from "../src/lakefs/trees/reached-promises.js";
import { synthesizeChain } from "../src/lakefs/trees/synthesize.js";
import type {
  ContentsRequest,
  MergePromisedRequest,
  ReachedRequest,
  SynthesizeRequest,
} from "../src/lakefs/trees/tasks.js";

const kernels = threadKernels(
  (workerData as { readonly kernelsModule: WebAssembly.Module }).kernelsModule,
);

export const chain = (request: SynthesizeRequest) => synthesizeChain(request, kernels);
export const contents = (request: ContentsRequest) => bringContents(request, kernels);
export const reached = (request: ReachedRequest) => reachedPromises(request, kernels);
export const merge = (request: MergePromisedRequest) => mergePromised(request);
