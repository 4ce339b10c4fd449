/** The compiled kernels, as the build leaves them beside the code. */
import { readFile } from "node:fs/promises";

const KERNELS = new URL("../../../wasm/kernels.wasm", import.meta.url);

export async function loadKernels(): Promise<WebAssembly.Module> {
  return new WebAssembly.Module(await readFile(KERNELS));
}
