/** Door: the tasks of an ingest (src/odb/index-pack/tasks.ts). */
import { workerData } from "node:worker_threads";
import { threadKernels } from "../src/kernels/choose.js";
import { conclude as runConclude } from "../src/odb/index-pack/conclude.js";
import { large as runLarge } from "../src/odb/index-pack/large.js";
import { resolve as runResolve } from "../src/odb/index-pack/resolve.js";
import { link as runLink, scan as runScan, type TaskParts } from "../src/odb/index-pack/scan.js";
import { small as runSmall } from "../src/odb/index-pack/small.js";
import {
  cut as runCut,
  join as runJoin,
  segments as runSegments,
} from "../src/odb/index-pack/segments.js";
import type {
  ConcludeRequest,
  CutRequest,
  JoinRequest,
  LinkRequest,
  ResolveRequest,
  ScanRequest,
  SegmentsRequest,
  SmallRequest,
} from "../src/odb/index-pack/tasks.js";

export { trailer } from "../src/odb/index-pack/conclude.js";

const module = (workerData as { kernelsModule: WebAssembly.Module }).kernelsModule;
const parts: TaskParts = { module, kernels: threadKernels(module) };

export const scan = (request: ScanRequest) => runScan(request, parts);
export const cut = (request: CutRequest) => runCut(request, parts);
export const segments = (request: SegmentsRequest) => runSegments(request, parts);
export const join = (request: JoinRequest) => runJoin(request, parts);
export const link = (request: LinkRequest) => runLink(request, parts);
export const resolve = (request: ResolveRequest) => runResolve(request, parts);
export const large = (request: ResolveRequest) => runLarge(request, parts);
export const small = (request: SmallRequest) => runSmall(request, parts);
export const conclude = (request: ConcludeRequest) => runConclude(request, parts);
