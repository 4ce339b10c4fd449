/** A lakepack beside a real lakeFS, and what lakeFS shows of a repository. */
import type { Test } from "tap";
import { utf8 } from "../../src/base/bytes.js";
import type { LakefsCommit, LakefsObject } from "../../src/lakefs/api/types.js";
import type { RunningLakefs } from "./lakefs-servers.js";
import { type Lakepack, type LakepackOptions, startLakepack } from "./harness.js";

export const { signal } = new AbortController();

/**
 * lakepack's settings for it. `endpoint`: in place of lakeFS's own, something that stands before
 * it.
 */
export function settingsFor(
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

/** A lakepack process of its own, with an empty store unless `data` names one. */
export function startBeside(
  t: Test,
  lakefs: RunningLakefs,
  more: Readonly<Record<string, string>> = {},
  options: LakepackOptions = {},
): Promise<Lakepack> {
  return startLakepack(t, { ...options, env: { ...settingsFor(lakefs), ...more } });
}

let made = 0;

/** An empty lakeFS repository; its name. */
export async function emptyRepository(lakefs: RunningLakefs, stem: string): Promise<string> {
  const name = `${stem}-${made++}`;
  await lakefs.client.createRepository(
    { name, storage_namespace: lakefs.namespace(name), default_branch: "main" },
    signal,
  );
  return name;
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

export async function put(
  lakefs: RunningLakefs,
  repository: string,
  path: string,
  content: string | Uint8Array,
  branch = "main",
): Promise<void> {
  await lakefs.client
    .in(repository)
    .uploadObject(branch, path, typeof content === "string" ? utf8(content) : content, {}, signal);
}

export async function headOf(
  { client }: RunningLakefs,
  repository: string,
  branch = "main",
): Promise<LakefsCommit> {
  return client
    .in(repository)
    .getCommit((await client.in(repository).getBranch(branch, signal)).commit_id, signal);
}

/** Lists the head of a branch as lakeFS does, in its own order. */
export async function listed(
  lakefs: RunningLakefs,
  repository: string,
  branch = "main",
): Promise<readonly LakefsObject[]> {
  const { id } = await headOf(lakefs, repository, branch);
  return (await lakefs.client.in(repository).listObjects(id, "", signal)).results;
}

/** Path → content. */
export async function filesOf(
  lakefs: RunningLakefs,
  repository: string,
  branch = "main",
): Promise<Map<string, string>> {
  const { id } = await headOf(lakefs, repository, branch);
  const objects = await listed(lakefs, repository, branch);
  const contents = await Promise.all(
    objects.map(({ path }) =>
      lakefs.client.in(repository).readObject(id, path, 10_000_000, signal),
    ),
  );
  return new Map(
    objects.map(({ path }, at) => [path, Buffer.from(contents[at] as Uint8Array).toString()]),
  );
}
