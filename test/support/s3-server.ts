/**
 * A real S3 server (versitygw) for tests, each test's own, on a free port of loopback, with one
 * bucket. It keeps its metadata in extended attributes: with them in a sidecar folder it answers
 * one content with the tag of another, and loses updates.
 */
import type { ChildProcess } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openS3Store, type S3Options, type S3Store } from "../../src/store/s3/s3-store.js";
import { answers, end, freePort, start, type Teardown } from "./lakefs-servers.js";
import { tempFolder } from "./temp-folder.js";

interface ServersScript {
  readonly ACCESS_KEY: string;
  readonly SECRET_KEY: string;
  isBuilt(): boolean;
  s3Arguments(port: number, data: string, sidecar?: string): readonly string[];
}
const script = (await import(
  fileURLToPath(new URL("../../../scripts/servers.mjs", import.meta.url))
)) as ServersScript;

/** False where it is not built; otherwise why tests are skipped. */
export const skipS3: false | string = script.isBuilt()
  ? false
  : "the S3 server is not built: node scripts/servers.mjs build";

const BUCKET = "lakepack";

export interface RunningS3 {
  readonly endpoint: string;
  readonly port: number;
  readonly bucket: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Folder of the bucket's objects, as the server keeps them. */
  readonly folder: string;
  stop(): Promise<void>;
  /** Starts it again, on the same data and port. */
  revive(): Promise<void>;
}

/** Folders whose file system may have extended attributes: not every tmpfs does. */
const PLACES = [tmpdir(), "/var/tmp", fileURLToPath(new URL("../..", import.meta.url))];

export async function startS3Server(
  t: Teardown,
  { sidecar = false }: { readonly sidecar?: boolean } = {},
): Promise<RunningS3> {
  let failure: unknown;
  for (const place of PLACES) {
    const root = await mkdtemp(join(place, "lakepack-s3-"));
    t.teardown(() => rm(root, { recursive: true, force: true, maxRetries: 3 }));
    try {
      return await startIn(t, root, sidecar);
    } catch (error) {
      failure = error; // a folder without extended attributes ends it at once
    }
  }
  throw failure;
}

async function startIn(t: Teardown, root: string, sidecar: boolean): Promise<RunningS3> {
  const port = await freePort();
  const data = join(root, "data");
  const folder = join(data, BUCKET);
  await mkdir(folder, { recursive: true });
  await mkdir(join(root, "sidecar"));
  const credentials = { accessKeyId: script.ACCESS_KEY, secretAccessKey: script.SECRET_KEY };
  const endpoint = `http://127.0.0.1:${port}`;
  const begin = async (): Promise<ChildProcess> => {
    const args = script.s3Arguments(port, data, ...(sidecar ? [join(root, "sidecar")] : []));
    const begun = start(t, "versitygw", args, {
      ROOT_ACCESS_KEY: credentials.accessKeyId,
      ROOT_SECRET_KEY: credentials.secretAccessKey,
    });
    await answers(`${endpoint}/`, begun);
    return begun;
  };
  let child = await begin();
  return {
    endpoint,
    port,
    bucket: BUCKET,
    credentials,
    folder,
    stop: () => end(child),
    revive: async () => {
      child = await begin();
    },
  };
}

/** What opens a store there: without patience, as tests that end a server mean it. */
export async function s3Options(
  t: Teardown,
  { endpoint, bucket, credentials }: Pick<RunningS3, "endpoint" | "bucket" | "credentials">,
  more: Partial<S3Options> = {},
): Promise<S3Options> {
  return {
    bucket,
    endpoint,
    credentials,
    pathStyle: true,
    cache: { folder: join(await tempFolder(t), "store-cache"), bytesMax: 1_000_000_000 },
    ...more,
  };
}

/** A store on it, closed after the test. */
export async function openTestStore(t: Teardown, options: S3Options): Promise<S3Store> {
  const store = await openS3Store(options);
  t.teardown(() => store.close());
  return store;
}

/** Unfinished uploads, as the server keeps them on its disk. */
export async function unfinishedUploads({ folder }: RunningS3): Promise<readonly string[]> {
  const names = await readdir(folder, { recursive: true });
  return names.filter((name) => /\.sgwtmp\/multipart\/[^/]+\/[^/]+$/.test(name));
}
