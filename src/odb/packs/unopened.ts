/**
 * Tells why a stored file cannot be opened. Only that it is not there says something about the
 * file: everything else says it about the machine just now.
 */
import { asFault, Fault } from "../../base/fault.js";

export function unopened(path: string, error: unknown): Fault {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "ENOENT" || code === "ENOTDIR" || code === "EISDIR")
    return new Fault("odb/damaged", { file: path, reason: "it is missing" }, error);
  const fault = asFault(error);
  return fault.code === "base/internal"
    ? new Fault("store/failed", { reason: `${code ?? "error"} in open` }, error)
    : fault;
}
