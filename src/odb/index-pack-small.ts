/** The passes over a small pack in one task, instead of one hand-over to another thread for each. */
import type { SmallRequest, SmallResult } from "../pool/ingest-tasks.js";
import { trailer } from "./index-pack-conclude.js";
import { resolve } from "./index-pack-resolve.js";
import { link, scan, type TaskParts } from "./index-pack-scan.js";
import { checkEnd } from "./pack-end.js";

/** Up to what is left to "index-pack/large" and "index-pack/conclude". Throws "pack/…" at the first defect. */
export function small(request: SmallRequest, parts: TaskParts): SmallResult {
  const { path, bytes, control } = request;
  const scanned = scan({ ...request, to: bytes, final: true }, parts);
  checkEnd(scanned, bytes);
  const checked = trailer({ path, bytes: scanned.position, control });
  const linked = link(request, parts);
  return { scanned, checked, linked, ...(linked.families === 0 ? {} : { resolved: resolve(request, parts) }) };
}
