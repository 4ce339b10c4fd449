/** Door: tasks of a fetch (src/odb/fetch-work). */
import { workerData } from "node:worker_threads";
import { WasmKernels } from "../src/kernels/wasm.js";
import { fetchWork } from "../src/odb/fetch-work.js";

const { kernelsModule } = workerData as { readonly kernelsModule: WebAssembly.Module };

export const { generate, help, negotiate, deepen, reachable, sizes, resolve, check } = fetchWork(new WasmKernels(kernelsModule));
