/** A folder of a test, removed after it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";

export async function tempFolder(t: Pick<Test, "teardown">): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "lakepack-test-"));
  t.teardown(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  return folder;
}
