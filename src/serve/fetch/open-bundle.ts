/** One bundle for the holder of a link. */
import { Fault } from "../../base/fault.js";
import type { BundleLine } from "../../odb/manifest/bundle-line.js";
import type { Range } from "../../store/stream.js";
import type { Repository } from "../conversation/conversation.js";
import { UNRECORDED } from "../conversation/request-record.js";
import type { LinkedBundle } from "./bundle-links.js";
import { offeredBundles } from "./bundles.js";
import { openContext, type UploadPackDeps } from "./context.js";

/** Returns the bytes of any range of it. */
export type BundleReader = (range: Range) => AsyncIterable<Uint8Array>;

/**
 * Opens a bundle that is still offered: a ref may have been deleted since its link was made. Throws
 * "bundle/gone".
 */
export async function openBundle(
  repository: Repository,
  deps: UploadPackDeps,
  { name, bytes }: LinkedBundle,
  signal: AbortSignal,
): Promise<BundleReader> {
  const { bundles } = repository;
  const exchange = { request: UNRECORDED, repository, signal, stateless: true };
  const offered = await offeredBundles(await openContext(exchange, deps));
  const line = offered.find((each: BundleLine) => each.name === name && each.bytes === bytes);
  if (bundles === undefined || line === undefined) throw new Fault("bundle/gone", { bundle: name });
  return (range) => bundles.read(line, range, signal);
}
