import type { IngestMarks, ResolveRequest } from "../pool/ingest-tasks.js";
import { Fault } from "../base/fault.js";
import type { TaskParts } from "./index-pack-scan.js";
export async function large(_request: ResolveRequest, _parts: TaskParts): Promise<IngestMarks> { throw new Fault("pack/too-large"); }
