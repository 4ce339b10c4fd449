/**
 * Real servers for tests: lakeFS with local or S3 blocks, each test's own, on free ports of
 * loopback.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, realpath, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Test } from "tap";
import { LakefsServer } from "../../src/lakefs/api/client.js";
import type { LakefsAccess } from "../../src/lakefs/api/http.js";
import { tempFolder } from "./temp-folder.js";

export type Environment = Readonly<Record<string, string>>;
export interface LakefsKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

interface ServersScript {
  readonly ACCESS_KEY: string;
  readonly SECRET_KEY: string;
  programPath(name: string): string;
  isBuilt(): boolean;
  programHash(path: string): string;
  lakefsEnvironment(port: number, folder: string, blocks: Environment): Environment;
  localBlocks(folder: string): Environment;
  s3Blocks(port: number): Environment;
  s3Arguments(port: number, data: string, sidecar?: string): readonly string[];
  aclEnvironment(port: number, folder: string): Environment;
  severalUsers(aclPort: number): Environment;
  createWriter(endpoint: string, name: string, group?: string): Promise<LakefsKey>;
}
const script = (await import(
  fileURLToPath(new URL("../../../scripts/servers.mjs", import.meta.url))
)) as ServersScript;

/** False where they are not built; otherwise why lakeFS tests are skipped. */
export const skipLakefs: false | string = script.isBuilt()
  ? false
  : "lakeFS is not built: node scripts/servers.mjs build";

/** Ends the servers: a test, or the bench. */
export type Teardown = Pick<Test, "teardown"> & Partial<Pick<Test, "comment">>;

export interface RunningLakefs {
  readonly access: LakefsAccess;
  readonly client: LakefsServer;
  readonly blocks: "local" | "s3";
  /** A storage namespace nobody has used. */
  namespace(name: string): string;
  /**
   * Addresses outside of every repository begin so: what is staged there is linked, as a hub does
   * it.
   */
  readonly outside: string;
  /** lakectl's environment: its own configuration, nobody's home. */
  readonly lakectl: { readonly program: string; readonly env: Environment };
  /**
   * Removes the bytes at an address from the storage behind lakeFS, as its garbage collection does.
   */
  collect(address: string): Promise<void>;
  stop(): Promise<void>;
  /** As `kill -9` does: without a last word to anybody. */
  kill(): Promise<void>;
  /** Starts it again after either, on the same data, settings and port. */
  revive(): Promise<void>;
}

/** A port of loopback that nobody listens on now. */
export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

export async function startLakefs(
  t: Teardown,
  blocks: "local" | "s3" = "local",
  more: Environment = {},
): Promise<RunningLakefs> {
  const folder = await tempFolder(t);
  const port = await freePort();
  const s3Port = blocks === "s3" ? await startS3(t, folder) : 0;
  await mkdir(join(folder, "external"), { recursive: true });
  const settings = blocks === "s3" ? script.s3Blocks(s3Port) : script.localBlocks(folder);
  const endpoint = `http://127.0.0.1:${port}`;
  const begin = async () => {
    const begun = start(t, "lakefs", ["run"], {
      ...script.lakefsEnvironment(port, folder, settings),
      ...more,
      HOME: folder,
    });
    await answers(`${endpoint}/_health`, begun);
    return begun;
  };
  let child = await begin();
  await recordServer(t, endpoint, child.pid as number, blocks);
  // Tests that end a server mean it.
  const access = {
    endpoint,
    accessKeyId: script.ACCESS_KEY,
    secretAccessKey: script.SECRET_KEY,
    patienceMs: 0,
  };
  const env = {
    HOME: folder,
    LAKECTL_SERVER_ENDPOINT_URL: endpoint,
    LAKECTL_CREDENTIALS_ACCESS_KEY_ID: access.accessKeyId,
    LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY: access.secretAccessKey,
  };
  return {
    access,
    client: new LakefsServer(access),
    blocks,
    outside: blocks === "s3" ? "s3://lakefs/outside/" : `local://${folder}/external/`,
    namespace: (name) => (blocks === "s3" ? `s3://lakefs/${name}` : `local://${name}`),
    lakectl: { program: script.programPath("lakectl"), env },
    // lakeFS shows the folder of its local blocks twice.
    collect: (address) =>
      rm(
        blocks === "s3"
          ? join(folder, "s3-data", address.replace("s3://", ""))
          : address.slice(address.lastIndexOf(folder)),
      ),
    stop: () => end(child),
    kill: () => end(child, "SIGKILL"),
    revive: async () => {
      child = await begin();
    },
  };
}

/**
 * Returns whether it is an older release than 1.`minor`. One that was built from the Go module does
 * not say which it is: it is the pinned one.
 */
export async function isBefore({ client }: RunningLakefs, minor: number): Promise<boolean> {
  const { version_config: config } = await client.config(new AbortController().signal);
  const [, is] = /^1\.(\d+)/.exec(config?.version ?? "") ?? [];
  return is !== undefined && Number(is) < minor;
}

export interface SharedLakefs extends RunningLakefs {
  /** A second user, who may read and write objects, branches and commits, and nothing else. */
  readonly writer: LakefsServer;
  /** A new user of one of lakeFS's groups. */
  user(name: string, group: "Writers" | "Readers"): Promise<LakefsKey>;
}

/** A lakeFS with several users: open-source lakeFS alone has one, who may do everything. */
export async function startSharedLakefs(
  t: Teardown,
  blocks: "local" | "s3" = "local",
): Promise<SharedLakefs> {
  const port = await freePort();
  const child = start(t, "acl", ["run"], {
    ...script.aclEnvironment(port, await tempFolder(t)),
    HOME: await tempFolder(t),
  });
  await answers(`http://127.0.0.1:${port}/_health`, child);
  const lakefs = await startLakefs(t, blocks, script.severalUsers(port));
  const { endpoint } = lakefs.access;
  const user = (name: string, group: string) => script.createWriter(endpoint, name, group);
  return {
    ...lakefs,
    user,
    writer: new LakefsServer({ endpoint, ...(await script.createWriter(endpoint, "writer")) }),
  };
}

/**
 * Records the server that the test ran on, as a comment of its output: the installation's id, as
 * the server says it, and the program that really runs under its process id. `npm test --
 * --complete` fails where a lakeFS test leaves no such line.
 */
async function recordServer(
  t: Teardown,
  endpoint: string,
  pid: number,
  blocks: string,
): Promise<void> {
  const installation = /[0-9a-f-]{36}/.exec(await (await fetch(`${endpoint}/_health`)).text())?.[0];
  t.comment?.(
    `ran on lakeFS ${installation} (${blocks} blocks, program ${script.programHash(await realpath(`/proc/${pid}/exe`))})`,
  );
}

/** versitygw over a folder with one bucket, "lakefs"; its port. */
async function startS3(t: Teardown, folder: string): Promise<number> {
  const port = await freePort();
  await mkdir(join(folder, "s3-data/lakefs"), { recursive: true });
  await mkdir(join(folder, "sidecar"), { recursive: true });
  const args = script.s3Arguments(port, join(folder, "s3-data"), join(folder, "sidecar"));
  const child = start(t, "versitygw", args, {
    ROOT_ACCESS_KEY: script.ACCESS_KEY,
    ROOT_SECRET_KEY: script.SECRET_KEY,
  });
  await answers(`http://127.0.0.1:${port}/`, child);
  return port;
}

/** Starts one of the built programs; it ends with the test. */
export function start(
  t: Teardown,
  program: string,
  args: readonly string[],
  env: Environment,
): ChildProcess {
  const child = spawn(script.programPath(program), args, {
    env: { PATH: process.env["PATH"], ...env },
    stdio: "ignore",
  });
  t.teardown(() => end(child));
  return child;
}

/** Ends a program and waits for its end. */
export async function end(child: ChildProcess, signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("close", resolve));
  child.kill(signal);
  await ended;
}

/** Waits until a server answers. Throws where its program ends first. */
export async function answers(url: string, child: ChildProcess): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt++) {
    if (child.exitCode !== null) throw new Error(`${url}: the server ended with ${child.exitCode}`);
    const response = await fetch(url).catch(() => undefined);
    if (response !== undefined && response.status < 500) return;
    await new Promise((wake) => setTimeout(wake, 50));
  }
  throw new Error(`${url} does not answer`);
}
