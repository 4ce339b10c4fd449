/** The file of the setting `fsck_skip_list`. */
import { readFile, stat } from "node:fs/promises";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { isUnsettable, readSkipFile, skipTable } from "../../git/fsck/levels.js";
import type { Oid } from "../../git/oid.js";

/**
 * The table of its ids; undefined: no file is set. Throws "settings/bad-value" with the line that
 * is none.
 */
export async function readSkipListFile(path: string): Promise<SharedArrayBuffer | undefined> {
  if (path === "") return undefined;
  const bad = (facts: { readonly reason: string; readonly line?: number }, cause?: unknown) =>
    new Fault("settings/bad-value", { name: "fsck_skip_list", value: path, ...facts }, cause);
  let text: string;
  try {
    const { size } = await stat(path);
    if (size > LIMITS.fsckSkipFileBytesMax)
      throw bad({ reason: `it has more than ${LIMITS.fsckSkipFileBytesMax} bytes` });
    text = await readFile(path, "latin1");
  } catch (error) {
    throw error instanceof Fault ? error : bad({ reason: (error as Error).message }, error);
  }
  const ids = readSkipFile(text);
  if (!isUnsettable(ids)) return skipTable(ids as readonly Oid[]);
  throw bad({
    line: (ids as { readonly line: number }).line,
    reason: `${ids.reason}: ${ids.value}`,
  });
}
