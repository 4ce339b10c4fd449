/** The file of the setting `lakefs_credentials`. */
import { readFile, stat } from "node:fs/promises";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { LakefsCredentials, readCredentials } from "../../lakefs/api/credentials.js";
import type { LakefsAccess } from "../../lakefs/api/http.js";
import type { Settings } from "./settings.js";

/** Undefined: no file is set. Throws "settings/bad-value"; what the file says is in no message. */
export async function readCredentialsFile(
  settings: Settings,
  server: LakefsAccess,
): Promise<LakefsCredentials | undefined> {
  const { lakefs_credentials: path, lakefs_without_credentials: missing } = settings;
  if (path === "") return undefined;
  const bad = (reason: string, cause?: unknown) =>
    new Fault("settings/bad-value", { name: "lakefs_credentials", value: path, reason }, cause);
  let text: string;
  try {
    const { size, mode } = await stat(path);
    if (size > LIMITS.lakefsCredentialsBytesMax)
      throw bad(`it has more than ${LIMITS.lakefsCredentialsBytesMax} bytes`);
    if ((mode & 0o077) !== 0) throw bad("other users of this machine may read it: chmod 600");
    text = await readFile(path, "utf8");
  } catch (error) {
    throw error instanceof Fault ? error : bad((error as Error).message, error);
  }
  const entries = readCredentials(text, server);
  if ("reason" in entries) throw bad(entries.reason);
  return new LakefsCredentials(entries, missing);
}
