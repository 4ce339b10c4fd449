/**
 * The passes over a small pack in one task, instead of one hand-over to another thread for each.
 */
import type { SmallRequest, SmallResult } from "./tasks.js";
import { trailer } from "./conclude.js";
import { resolve } from "./resolve.js";
import { link, scan, type TaskParts } from "./scan.js";
import { checkEnd } from "./pack-end.js";

/**
 * Up to what is left to "index-pack/large" and "index-pack/conclude". Throws "pack/…" at the first
 * defect.
 */
export async function small(request: SmallRequest, parts: TaskParts): Promise<SmallResult> {
  const { path, bytes, control } = request;
  const scanned = await scan({ ...request, to: bytes, final: true }, parts);
  checkEnd(scanned, bytes);
  const checked = await trailer({ path, bytes: scanned.position, control });
  const linked = await link(request, parts);
  return {
    scanned,
    checked,
    linked,
    ...(linked.families === 0 ? {} : { resolved: await resolve(request, parts) }),
  };
}
