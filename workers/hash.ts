/** Door: what this thread's kernels are, and how they were chosen. */
import { workerData } from "node:worker_threads";
import { describePicks, threadKernels } from "../src/kernels/choose.js";

export function calibrate(): { picks: string } {
  return {
    picks: describePicks(
      threadKernels((workerData as { kernelsModule: WebAssembly.Module }).kernelsModule).picks,
    ),
  };
}
