/** A real lakepack beside a real lakeFS, and a repository for it to serve. */
import type { Test } from "tap";
import { utf8 } from "../../src/base/bytes.js";
import type { RunningLakefs } from "./lakefs-servers.js";
import { type Lakepack, type LakepackOptions, startLakepack } from "./harness.js";

export const { signal } = new AbortController();

/** The settings that let a lakepack find this lakeFS; `endpoint`: another way there (a proxy). */
export function lakefsEnvironment(
  { access }: RunningLakefs,
  endpoint = access.endpoint,
): Record<string, string> {
  return {
    LAKEPACK_LAKEFS_ENDPOINT: endpoint,
    LAKEPACK_LAKEFS_ACCESS_KEY_ID: access.accessKeyId,
    LAKEPACK_LAKEFS_SECRET_ACCESS_KEY: access.secretAccessKey,
    LAKEPACK_LAKEFS_PATIENCE_SECONDS: "1",
  };
}

export function startBeside(
  t: Test,
  lakefs: RunningLakefs,
  { env, ...more }: LakepackOptions = {},
): Promise<Lakepack> {
  return startLakepack(t, { ...more, env: { ...lakefsEnvironment(lakefs), ...env } });
}

/**
 * A new repository of lakeFS with these files (path → content) in one commit on main; the commit's
 * lakeFS id.
 */
export async function seed(
  { client, namespace }: RunningLakefs,
  name: string,
  files: Readonly<Record<string, string>>,
): Promise<string> {
  await client.createRepository(
    { name, storage_namespace: namespace(name), default_branch: "main" },
    signal,
  );
  for (const [path, text] of Object.entries(files))
    await client.in(name).uploadObject("main", path, utf8(text), {}, signal);
  return (await client.in(name).commit("main", { message: "seeded", allow_empty: true }, signal))
    .id;
}
