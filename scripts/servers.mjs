// The real servers that tests and tries run against: lakeFS (local blocks, and S3 blocks) and an S3
// server (versitygw), pinned by scripts/servers/go.mod and built by Go's own tool, and PostgreSQL as
// the system has it. Loopback only.
//
//   node scripts/servers.mjs build          builds them once (10 minutes on two cores), kept in
//                                           ~/.cache/lakepack/servers/<go.sum's hash>
//   node scripts/servers.mjs start [DIR]    starts lakeFS on 8100 (local blocks), an S3 server on
//                                           8101, a second lakeFS on 8102 (S3 blocks) and one for
//                                           several users on 8103 (local blocks, with lakeFS's
//                                           access control server on 8104), and where it is
//                                           installed PostgreSQL on 8105, and an S3 server for
//                                           lakepack's own store on 8106; data and process ids in
//                                           DIR (./data-servers); SERVERS_PORT: another first port
//                                           than 8100
//   node scripts/servers.mjs lakectl ARG…   runs lakectl, with the key, against the first of them
//   node scripts/servers.mjs stop [DIR]     ends what `start` started, by process id
//   node scripts/servers.mjs path           where the programs are; exit code 1 if they are not
//                                           built
//
// LAKEPACK_TEST_LAKEFS=FOLDER runs another lakeFS, for instance the release a hub runs: its
// programs `lakefs`, `lakectl` and `acl`, as far as they are in that folder, take the place of
// those built here, for the tests too.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { homedir } from "node:os";
import { basename, delimiter, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { root } from "./install.mjs";

const module = join(root, "scripts/servers");
const PROGRAMS = ["lakefs", "lakectl", "versitygw", "acl"];
export const ACCESS_KEY = "AKIAIOSFOLQUICKSTART";
export const SECRET_KEY = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY";

/** Folder of the built programs. */
export function programFolder() {
  const hash = createHash("sha256")
    .update(readFileSync(join(module, "go.sum")))
    .digest("hex")
    .slice(0, 16);
  return join(process.env.SERVERS_CACHE ?? join(homedir(), ".cache/lakepack/servers"), hash);
}

export function isBuilt() {
  return PROGRAMS.every((name) => existsSync(join(programFolder(), name)));
}

/** Where a program is: in the folder of another lakeFS where one is named and has it. */
export function programPath(name) {
  const other = process.env.LAKEPACK_TEST_LAKEFS;
  if (other === undefined || other === "") return join(programFolder(), name);
  if (name === "lakefs" && !existsSync(join(other, name)))
    throw new Error(`LAKEPACK_TEST_LAKEFS: ${join(other, name)} is not there`);
  return existsSync(join(other, name)) ? resolve(other, name) : join(programFolder(), name);
}

const hashes = new Map();

/** The first 16 hex digits of a program's SHA-256. */
export function programHash(path) {
  if (!hashes.has(path))
    hashes.set(path, createHash("sha256").update(readFileSync(path)).digest("hex").slice(0, 16));
  return hashes.get(path);
}

/** Builds what is missing: programs that are there stay, as servers may be starting from them. */
function build() {
  const folder = programFolder();
  if (isBuilt()) return folder;
  const partial = `${folder}.${process.pid}`;
  mkdirSync(partial, { recursive: true });
  mkdirSync(folder, { recursive: true });
  console.log(
    "lakepack: building lakeFS, its access control server and an S3 server with go, once (about 10 minutes)",
  );
  const env = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-mod=mod" };
  const missing = tools().filter((tool) => !existsSync(join(folder, basename(tool))));
  const go = spawnSync(
    "go",
    ["build", "-trimpath", "-ldflags=-s -w", "-o", `${partial}/`, ...missing],
    { cwd: module, env, stdio: "inherit" },
  );
  if (go.status === 0)
    for (const tool of missing)
      renameSync(join(partial, basename(tool)), join(folder, basename(tool)));
  rmSync(partial, { recursive: true, force: true });
  if (go.status !== 0) process.exit(go.status ?? 1);
  return folder;
}

/** Packages of go.mod's tool block: the only lines of it that are one word. */
function tools() {
  const lines = readFileSync(join(module, "go.mod"), "utf8").matchAll(/^\t(\S+)$/gm);
  return [...lines].map(([, path]) => path);
}

function run(name, [program, ...args], env, folder) {
  const log = openSync(join(folder, `${name}.log`), "a");
  const child = spawn(program, args, {
    env: { PATH: process.env.PATH, HOME: folder, ...env },
    stdio: ["ignore", log, log],
    detached: true,
  });
  const started = { name, pid: child.pid, ended: undefined, signal: undefined };
  child.on("error", (error) => {
    started.ended = error.message;
  });
  child.on("exit", (code, signal) => {
    started.ended = signal ?? `exit code ${code}`;
  });
  child.unref();
  return started;
}

/**
 * Waits for an answer. Throws where none comes, or one of the servers ends meanwhile: what answers
 * then is somebody else's.
 */
async function until(url, what, started, folder) {
  for (let attempt = 0; attempt < 150; attempt++) {
    const answer = await fetch(url).catch(() => undefined);
    await sleep(answer === undefined ? 100 : 0); // an end that the answer came before is heard of
    const dead = started.find(({ ended }) => ended !== undefined);
    if (dead !== undefined)
      throw new Error(
        `${dead.name} has ended (${dead.ended}): see ${join(folder, `${dead.name}.log`)}`,
      );
    if (answer !== undefined && answer.status < 500) return;
  }
  throw new Error(`${what} does not answer at ${url}`);
}

/**
 * Throws where somebody listens there: two servers cannot, and the other one would be taken for
 * ours.
 */
function checkFree(port) {
  return new Promise((resolve, reject) => {
    const probe = createServer().once("error", (error) =>
      reject(
        new Error(
          `port ${port} is taken (${error.code}): end what listens there, or set SERVERS_PORT`,
        ),
      ),
    );
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(undefined)));
  });
}

/**
 * Environment of lakeFS's access control server, the same secret as its lakeFS's. Source: the
 * module's contrib/auth/acl.
 */
export function aclEnvironment(port, folder) {
  return {
    ACLSERVER_DATABASE_TYPE: "local",
    ACLSERVER_DATABASE_LOCAL_PATH: join(folder, "users"),
    ACLSERVER_ENCRYPT_SECRET_KEY: "for tests only",
    ACLSERVER_LISTEN_ADDRESS: `127.0.0.1:${port}`,
    ACLSERVER_CACHE_ENABLED: "false",
  };
}

/** What a lakeFS is told of it: without it there is one user, who may do everything. */
export function severalUsers(aclPort) {
  return {
    LAKEFS_AUTH_API_ENDPOINT: `http://127.0.0.1:${aclPort}/api/v1`,
    LAKEFS_AUTH_UI_CONFIG_RBAC: "simplified",
    LAKEFS_AUTH_CACHE_ENABLED: "false",
  };
}

/**
 * Makes a user who may read and write objects, branches and commits, and nothing else; their keys.
 */
export async function createWriter(endpoint, name, group = "Writers") {
  const call = async (method, path, body) => {
    const headers = {
      authorization: `Basic ${Buffer.from(`${ACCESS_KEY}:${SECRET_KEY}`).toString("base64")}`,
      "content-type": "application/json",
    };
    const answer = await fetch(`${endpoint}/api/v1/auth/${path}`, {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    const text = await answer.text();
    return text === "" ? undefined : JSON.parse(text);
  };
  await call("POST", "users", { id: name });
  await call("PUT", `groups/${group}/members/${name}`);
  const { access_key_id: accessKeyId, secret_access_key: secretAccessKey } = await call(
    "POST",
    `users/${name}/credentials`,
  );
  return { accessKeyId, secretAccessKey };
}

/** Environment of a lakeFS server. See lakeFS's configuration reference. */
export function lakefsEnvironment(port, folder, blocks) {
  return {
    LAKEFS_DATABASE_TYPE: "local",
    LAKEFS_DATABASE_LOCAL_PATH: join(folder, "metadata"),
    LAKEFS_AUTH_ENCRYPT_SECRET_KEY: "for tests only",
    LAKEFS_LISTEN_ADDRESS: `127.0.0.1:${port}`,
    LAKEFS_INSTALLATION_USER_NAME: "admin",
    LAKEFS_INSTALLATION_ACCESS_KEY_ID: ACCESS_KEY,
    LAKEFS_INSTALLATION_SECRET_ACCESS_KEY: SECRET_KEY,
    LAKEFS_STATS_ENABLED: "false",
    LAKEFS_SECURITY_CHECK_LATEST_VERSION: "false",
    LAKEFS_EMAIL_SUBSCRIPTION_ENABLED: "false",
    LAKEFS_GRAVELER_MAX_BATCH_DELAY: "0",
    LAKEFS_LOGGING_LEVEL: "WARN",
    ...blocks,
  };
}

export function localBlocks(folder) {
  return {
    LAKEFS_BLOCKSTORE_TYPE: "local",
    LAKEFS_BLOCKSTORE_LOCAL_PATH: join(folder, "blocks"),
    LAKEFS_BLOCKSTORE_LOCAL_ALLOWED_EXTERNAL_PREFIXES: `${join(folder, "external")}/`,
  };
}

export function s3Blocks(port) {
  return {
    LAKEFS_BLOCKSTORE_TYPE: "s3",
    LAKEFS_BLOCKSTORE_S3_ENDPOINT: `http://127.0.0.1:${port}`,
    LAKEFS_BLOCKSTORE_S3_FORCE_PATH_STYLE: "true",
    LAKEFS_BLOCKSTORE_S3_REGION: "us-east-1",
    LAKEFS_BLOCKSTORE_S3_DISCOVER_BUCKET_REGION: "false",
    LAKEFS_BLOCKSTORE_S3_CREDENTIALS_ACCESS_KEY_ID: ACCESS_KEY,
    LAKEFS_BLOCKSTORE_S3_CREDENTIALS_SECRET_ACCESS_KEY: SECRET_KEY,
  };
}

/**
 * Arguments of an S3 server over a folder whose folders are its buckets. It keeps metadata in
 * extended attributes, or in a sidecar folder: there it answers one content with the tag of another
 * while they change, so that conditional writes lose updates. lakeFS makes none of those.
 */
export function s3Arguments(port, data, sidecar) {
  const listen = ["--port", `127.0.0.1:${port}`, "--quiet"];
  return sidecar === undefined
    ? [...listen, "--keep-alive", "posix", data]
    : [...listen, "posix", "--sidecar", sidecar, data];
}

// PostgreSQL --------------------------------------------------------------------------------------
export const POSTGRES_USER = "lakepack";
export const POSTGRES_PASSWORD = "for-tests-only";
/** It refuses to run as root. */
const UNPRIVILEGED = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"];
const DEBIAN = "/usr/lib/postgresql";

/** Folder of its programs: that of PATH, or Debian's newest; undefined: it is not installed. */
export function postgresFolder() {
  const versions = existsSync(DEBIAN)
    ? readdirSync(DEBIAN).sort((a, b) => Number(b) - Number(a))
    : [];
  const folders = [
    ...(process.env.PATH ?? "").split(delimiter),
    ...versions.map((version) => join(DEBIAN, version, "bin")),
  ];
  return folders.find((folder) =>
    ["initdb", "postgres", "pg_isready"].every((name) => existsSync(join(folder, name))),
  );
}

/** A program of PostgreSQL with its arguments, as somebody who is not root. */
export function postgresCommand(name, args) {
  const command = [join(postgresFolder(), name), ...args];
  return process.getuid?.() === 0 ? [...UNPRIVILEGED, ...command] : command;
}

function runToEnd([program, ...args], env = {}) {
  const { status, stderr } = spawnSync(program, args, {
    env: { PATH: process.env.PATH, ...env },
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`${basename(program)} ${args.join(" ")}: ${stderr}`);
}

/**
 * Makes a cluster in `folder`/data: UTF-8, bytewise order, one superuser with a password. Whoever
 * runs it must be able to reach `folder`, which becomes theirs.
 */
export function preparePostgres(folder) {
  mkdirSync(folder, { recursive: true });
  const words = join(folder, "password");
  writeFileSync(words, POSTGRES_PASSWORD);
  if (process.getuid?.() === 0) {
    chmodSync(folder, 0o755);
    runToEnd(["chown", "-R", "nobody:nogroup", folder]);
  }
  const options = ["-U", POSTGRES_USER, `--pwfile=${words}`, "-A", "scram-sha-256"];
  const place = ["-D", join(folder, "data"), "-E", "UTF8", "--locale=C", "--no-sync"];
  runToEnd(postgresCommand("initdb", [...place, ...options]));
}

/** Arguments of the server on a prepared folder. */
export function postgresArguments(port, folder) {
  return ["-D", join(folder, "data"), "-p", String(port), "-k", folder, "-h", "127.0.0.1"];
}

export function postgresUrl(port, database = "postgres") {
  return `postgres://${POSTGRES_USER}:${POSTGRES_PASSWORD}@127.0.0.1:${port}/${database}`;
}

/** Returns whether it takes connections. */
export function isPostgresReady(port) {
  const args = ["-q", "-t", "1", "-h", "127.0.0.1", "-p", String(port)];
  return spawnSync(join(postgresFolder(), "pg_isready"), args).status === 0;
}

/** Waits for that. Throws where it ends meanwhile. */
async function postgresAnswers(port, server, folder) {
  for (let attempt = 0; attempt < 150; attempt++) {
    if (server.ended !== undefined)
      throw new Error(
        `${server.name} has ended (${server.ended}): see ${join(folder, `${server.name}.log`)}`,
      );
    if (isPostgresReady(port)) return;
    await sleep(100);
  }
  throw new Error(`PostgreSQL does not answer at port ${port}`);
}

/** Why it cannot run on data in this folder; undefined: it can. */
function whyNoPostgres(folder) {
  if (postgresFolder() === undefined) return "not installed (Debian: apt install postgresql)";
  const reach = [...UNPRIVILEGED, "test", "-x", folder];
  if (process.getuid?.() !== 0 || spawnSync(reach[0], reach.slice(1)).status === 0)
    return undefined;
  return `not started: it does not run as root, and nobody else can reach ${folder}`;
}

/** Its URL, or why it was not started. */
async function startPostgres(begin, folder) {
  const reason = whyNoPostgres(folder);
  if (reason !== undefined) return reason;
  const place = join(folder, "postgres");
  if (!existsSync(join(place, "data"))) preparePostgres(place);
  const command = postgresCommand("postgres", postgresArguments(PORT + 5, place));
  await postgresAnswers(PORT + 5, begin("postgres", command, {}, "SIGINT"), folder);
  return postgresUrl(PORT + 5);
}

/** Its URL and bucket, or why it was not started: it needs extended attributes of DIR. */
async function startStore(begin, folder) {
  const data = join(folder, "store");
  mkdirSync(join(data, "lakepack"), { recursive: true });
  const server = begin("store", [programPath("versitygw"), ...s3Arguments(PORT + 6, data)], {
    ROOT_ACCESS_KEY: ACCESS_KEY,
    ROOT_SECRET_KEY: SECRET_KEY,
  });
  const url = `http://127.0.0.1:${PORT + 6}`;
  const answered = until(`${url}/`, "the S3 server of the store", [server], folder);
  return answered.then(
    () => `${url}   (bucket lakepack)`,
    (error) => `not started: ${error.message}`,
  );
}

const PORTS = 7;
/** The first of them. */
const PORT = Number(process.env.SERVERS_PORT ?? 8100);

async function start(folder) {
  build();
  for (let at = 0; at < PORTS; at++) await checkFree(PORT + at);
  for (const name of ["local/external", "s3/data/lakefs", "s3/sidecar", "on-s3", "shared/external"])
    mkdirSync(join(folder, name), { recursive: true });
  const started = [];
  try {
    await startAll(folder, started);
  } catch (error) {
    await stop(folder);
    throw error;
  }
}

async function startAll(folder, started) {
  const begin = (name, command, env, signal = "SIGTERM") => {
    const server = run(name, command, env, folder);
    server.signal = signal;
    started.push(server);
    const lines = started.map(({ pid, signal: ends }) => `${pid} ${ends}`);
    writeFileSync(join(folder, "pids"), lines.join("\n"));
    return server;
  };
  const answers = (url, what) => until(url, what, started, folder);
  begin(
    "lakefs-local",
    [programPath("lakefs"), "run"],
    lakefsEnvironment(PORT, join(folder, "local"), localBlocks(join(folder, "local"))),
  );
  const s3 = s3Arguments(PORT + 1, join(folder, "s3/data"), join(folder, "s3/sidecar"));
  begin("versitygw", [programPath("versitygw"), ...s3], {
    ROOT_ACCESS_KEY: ACCESS_KEY,
    ROOT_SECRET_KEY: SECRET_KEY,
  });
  begin("acl", [programPath("acl"), "run"], aclEnvironment(PORT + 4, join(folder, "shared")));
  await answers(`http://127.0.0.1:${PORT + 1}/`, "the S3 server");
  await answers(`http://127.0.0.1:${PORT + 4}/_health`, "the access control server");
  const shared = {
    ...lakefsEnvironment(PORT + 3, join(folder, "shared"), localBlocks(join(folder, "shared"))),
    ...severalUsers(PORT + 4),
  };
  begin("lakefs-shared", [programPath("lakefs"), "run"], shared);
  begin(
    "lakefs-s3",
    [programPath("lakefs"), "run"],
    lakefsEnvironment(PORT + 2, join(folder, "on-s3"), s3Blocks(PORT + 1)),
  );
  const health = [
    [PORT, "lakeFS"],
    [PORT + 2, "lakeFS over S3"],
    [PORT + 3, "lakeFS for several users"],
  ];
  await Promise.all(
    health.map(([port, what]) => answers(`http://127.0.0.1:${port}/_health`, what)),
  );
  const postgres = await startPostgres(begin, folder);
  const store = await startStore(begin, folder);
  const file = join(folder, "writer.json");
  if (!existsSync(file))
    writeFileSync(
      file,
      JSON.stringify(await createWriter(`http://127.0.0.1:${PORT + 3}`, "writer")),
    );
  const writer = JSON.parse(readFileSync(file, "utf8"));
  console.log(`lakeFS, local blocks   http://127.0.0.1:${PORT}
lakeFS, S3 blocks      http://127.0.0.1:${PORT + 2}   (bucket lakefs)
lakeFS, several users  http://127.0.0.1:${PORT + 3}   (a user "writer": ${writer.accessKeyId} ${writer.secretAccessKey})
S3 server              http://127.0.0.1:${PORT + 1}
PostgreSQL             ${postgres}
S3 server, for a store ${store}
access key ${ACCESS_KEY}
secret key ${SECRET_KEY}`);
}

function lakectl(args) {
  const env = {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    LAKECTL_SERVER_ENDPOINT_URL: `http://127.0.0.1:${PORT}`,
    LAKECTL_CREDENTIALS_ACCESS_KEY_ID: ACCESS_KEY,
    LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY: SECRET_KEY,
  };
  return spawnSync(programPath("lakectl"), args, { env, stdio: "inherit" }).status ?? 1;
}

function failed(error) {
  console.error(`the servers were not started: ${error.message}`);
  process.exit(1);
}

/** lakeFS takes its time over connections that clients keep open. */
const STOP_MS = 5_000;

async function stop(folder) {
  const file = join(folder, "pids");
  if (!existsSync(file)) return;
  const lines = readFileSync(file, "utf8").split("\n");
  const servers = lines.map((line) => line.split(" "));
  const pids = servers.map(([pid]) => Number(pid));
  // PostgreSQL waits for its clients on SIGTERM, and ends them on SIGINT.
  for (const [pid, ends] of servers) signal(Number(pid), ends ?? "SIGTERM");
  for (
    const deadline = Date.now() + STOP_MS;
    Date.now() < deadline && pids.some((pid) => signal(pid, 0));
  )
    await sleep(50);
  for (const pid of pids) signal(pid, "SIGKILL");
  rmSync(file);
}

/** False: it has ended. */
function signal(pid, name) {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

if (process.argv[1] === import.meta.filename || process.argv[1]?.endsWith("scripts/servers.mjs")) {
  const [, , action, place] = process.argv;
  const folder = resolve(place ?? "data-servers");
  if (action === "build") console.log(build());
  else if (action === "start") await start(folder).catch(failed);
  else if (action === "stop") await stop(folder);
  else if (action === "lakectl" && isBuilt()) process.exit(lakectl(process.argv.slice(3)));
  else if (action === "path" && isBuilt()) console.log(programFolder());
  else {
    console.error(
      action === "path" || action === "lakectl"
        ? "not built: node scripts/servers.mjs build"
        : "usage: node scripts/servers.mjs build | start [DIR] | stop [DIR] | lakectl ARG… | path",
    );
    process.exit(action === "path" || action === "lakectl" ? 1 : 2);
  }
}
