/** Door: Git LFS (src/lfs). */
import { workerData } from "node:worker_threads";
import { threadKernels } from "../src/kernels/choose.js";
import { AttributeRules, isLfsPath } from "../src/git/gitattributes.js";
import { pointerWork } from "../src/lfs/pushed-pointers.js";

export { hashPiece as hash } from "../src/lfs/hash-piece.js";

const { kernelsModule } = workerData as { readonly kernelsModule: WebAssembly.Module };

export const { pointers, paths } = pointerWork(threadKernels(kernelsModule), {
  parse: (text) => new AttributeRules(text),
  isLfs: isLfsPath,
});
