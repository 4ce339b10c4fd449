/**
 * A real lakepack process, stock git with nobody's configuration, and stock git's own server to
 * compare with.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, cp, mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Test } from "tap";
import { Database } from "../../src/database/database.js";
import { findRepository, findRepositoryById } from "../../src/database/repositories.js";
import { storePrefix } from "../../src/serve/conversation/repository-name.js";
import { tempFolder } from "./temp-folder.js";

const MAIN = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));

// lakepack ----------------------------------------------------------------------------------------

export interface Lakepack {
  /** "http://127.0.0.1:PORT"; https with TLS. */
  readonly url: string;
  readonly port: number;
  readonly kind: "uws" | "node";
  readonly data: string;
  readonly pid: number;
  /** Everything on standard error so far: its log. */
  log(): string;
  /** Everything on standard output so far: what a person reads. */
  out(): string;
  /** Ends it as an operator would; a second call does nothing. */
  stop(): Promise<void>;
  kill(signal: NodeJS.Signals): Promise<void>;
}

export interface LakepackOptions {
  /** An existing data folder; otherwise one of its own. */
  readonly data?: string;
  /** Further flags: ["--transport", "node"]. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Starts `lakepack serve` on a free port. A `git` on its PATH records that it was run, and that
 * fails the test.
 */
export async function startLakepack(t: Test, options: LakepackOptions = {}): Promise<Lakepack> {
  const folder = await tempFolder(t);
  const trap = join(folder, "trap");
  await mkdir(trap);
  const marker = join(folder, "git-was-run");
  await writeFile(join(trap, "git"), `#!/bin/sh\necho "$@" >> "${marker}"\nexit 1\n`);
  await chmod(join(trap, "git"), 0o755);
  const data = options.data ?? join(folder, "data");
  const args = [
    "serve",
    "--listen",
    "127.0.0.1:0",
    "--data",
    data,
    "--log-level",
    "info",
    ...(options.args ?? []),
  ];
  const env = {
    PATH: `${trap}:${process.env["PATH"]}`,
    HOME: folder,
    LAKEPACK_DRAIN_SECONDS: "0",
    ...options.env,
  };
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: folder,
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const server = await started(child, data);
  t.teardown(async () => {
    await server.stop();
    if (existsSync(marker)) t.fail(`the server ran git: ${await readFile(marker, "utf8")}`);
  });
  return server;
}

function started(child: ChildProcess, data: string): Promise<Lakepack> {
  let out = "";
  let log = "";
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const kill = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    await ended;
  };
  const stop = async () => {
    const hard = setTimeout(() => child.kill("SIGKILL"), 10_000);
    await kill("SIGTERM");
    clearTimeout(hard);
  };
  child.stderr?.on("data", (chunk: Buffer) => {
    log += chunk.toString();
  });
  return new Promise((resolve, reject) => {
    child.stdout?.on("data", (chunk: Buffer) => {
      out += chunk.toString();
      const line = /^lakepack \S+ serving (https?:\/\/\S+:(\d+)) \((uws|node)\)$/m.exec(out);
      if (line === null) return;
      const [, url = "", port, kind] = line;
      resolve({
        url,
        port: Number(port),
        kind: kind === "uws" ? "uws" : "node",
        data,
        pid: child.pid ?? 0,
        log: () => log,
        out: () => out,
        stop,
        kill,
      });
    });
    void ended.then(() => reject(new Error(`lakepack did not start:\n${out}\n${log}`)));
  });
}

/**
 * Key in the store of the repository that a name leads to, "repos/<id>"; also of a lakeFS
 * repository behind a second name.
 */
export async function prefixOf(data: string, title: string): Promise<string> {
  const database = await Database.openToRead(join(data, "lakepack.db"));
  if (database === undefined) throw new Error(`no database in ${data}`);
  try {
    const row = await findRepository(database, title);
    if (row === undefined) throw new Error(`nothing is called ${title} in ${data}`);
    const target = row.leads_to === null ? row : await findRepositoryById(database, row.leads_to);
    return storePrefix(target ?? row);
  } finally {
    await database.close();
  }
}

/** Folder of that repository. */
export async function folderOf(data: string, title: string): Promise<string> {
  return join(data, await prefixOf(data, title));
}

/**
 * Copies the data folder of a server that has ended. Files of a connection that holds no data,
 * SQLite's shared memory and an empty log, are left out: a connection of this process that only
 * read may take them away meanwhile, when it is collected.
 */
export async function copyData(from: string, to: string): Promise<void> {
  const holdsData = async (path: string) =>
    !path.endsWith(".db-shm") &&
    !(path.endsWith(".db-wal") && (await stat(path).catch(() => ({ size: 0 }))).size === 0);
  await cp(from, to, { recursive: true, filter: holdsData });
}

/** Returns whether the log shows this, or comes to: its lines take their own way here. */
export async function logShows(server: Lakepack, pattern: RegExp): Promise<boolean> {
  for (let attempt = 0; attempt < 200 && !pattern.test(server.log()); attempt++)
    await new Promise((wake) => setTimeout(wake, 50));
  return pattern.test(server.log());
}

// stock git ---------------------------------------------------------------------------------------

export interface GitOptions {
  readonly cwd?: string;
  /** protocol.version; git's own default otherwise. */
  readonly version?: 0 | 1 | 2;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string | Uint8Array;
}

export interface GitRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stdoutBytes: Buffer;
  readonly stderr: string;
}

const CLEAN_ENVIRONMENT: Readonly<Record<string, string>> = {
  PATH: process.env["PATH"] ?? "",
  HOME: "/nonexistent",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_TERMINAL_PROMPT: "0",
  LC_ALL: "C",
  GIT_AUTHOR_NAME: "A U Thor",
  GIT_AUTHOR_EMAIL: "author@example.com",
  GIT_COMMITTER_NAME: "C O Mitter",
  GIT_COMMITTER_EMAIL: "committer@example.com",
  GIT_AUTHOR_DATE: "1700000000 +0000",
  GIT_COMMITTER_DATE: "1700000000 +0000",
};

const CLEAN_CONFIG = [
  "-c",
  "init.defaultBranch=main",
  "-c",
  "gc.auto=0",
  "-c",
  "maintenance.auto=false",
  "-c",
  "advice.detachedHead=false",
];

/** Runs stock git to its end, whatever its exit code. */
export async function tryGit(args: readonly string[], options: GitOptions = {}): Promise<GitRun> {
  const version =
    options.version === undefined ? [] : ["-c", `protocol.version=${options.version}`];
  const child = spawn("git", [...CLEAN_CONFIG, ...version, ...args], {
    cwd: options.cwd ?? tmpdir(),
    env: { ...CLEAN_ENVIRONMENT, ...options.env },
    stdio: "pipe",
  });
  const [out, err]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
  child.stdin.on("error", () => undefined); // git may not want all of its input
  child.stdin.end(options.input ?? "");
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  const stdoutBytes = Buffer.concat(out);
  return {
    code,
    stdoutBytes,
    stdout: stdoutBytes.toString(),
    stderr: Buffer.concat(err).toString(),
  };
}

/** Runs stock git, which must succeed; its output without the last newline. */
export async function git(args: readonly string[], options: GitOptions = {}): Promise<string> {
  const run = await tryGit(args, options);
  if (run.code !== 0)
    throw new Error(`git ${args.join(" ")} ended with ${run.code}:\n${run.stderr}\n${run.stdout}`);
  return run.stdout.replace(/\n$/, "");
}

/** Fails the test unless `git fsck --full --strict` has nothing at all to say. */
export async function checkFsck(t: Test, repository: string): Promise<void> {
  const run = await tryGit(["fsck", "--full", "--strict", "--no-progress", "--no-dangling"], {
    cwd: repository,
  });
  t.same(
    { code: run.code, says: `${run.stdout}${run.stderr}`.replace(/^notice: .*\n/gm, "") },
    { code: 0, says: "" },
    `fsck of ${repository}`,
  );
}

/** Ids of every object a repository holds, sorted. */
export async function objectSet(repository: string): Promise<string[]> {
  const list = await git(["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"], {
    cwd: repository,
  });
  return list === "" ? [] : list.split("\n").sort();
}

/** Name and id of every ref, as ls-remote prints them; annotated tags peeled. */
export async function remoteRefs(url: string, version?: 0 | 1 | 2): Promise<string[]> {
  const text = await git(["ls-remote", url], version === undefined ? {} : { version });
  return text === "" ? [] : text.split("\n");
}

/**
 * A commit with these files (path → content; undefined: removed), dated so that later ones are
 * later. Its id.
 */
export async function commit(
  repository: string,
  message: string,
  files: Readonly<Record<string, string | undefined>>,
): Promise<string> {
  for (const [path, content] of Object.entries(files)) {
    const file = join(repository, path);
    if (content === undefined) await rm(file);
    else {
      await mkdir(join(file, ".."), { recursive: true });
      await writeFile(file, content);
    }
  }
  await git(["add", "-A"], { cwd: repository });
  await git(["commit", "-q", "--allow-empty", "-m", message], {
    cwd: repository,
    env: await nextDate(repository),
  });
  return git(["rev-parse", "HEAD"], { cwd: repository });
}

/** A minute after 1,700,000,000 for each commit there is: dates that tests can count on. */
async function nextDate(repository: string): Promise<Record<string, string>> {
  const count =
    Number((await tryGit(["rev-list", "--count", "--all"], { cwd: repository })).stdout) || 0;
  const date = `${1_700_000_000 + 60 * count} +0000`;
  return { GIT_AUTHOR_DATE: date, GIT_COMMITTER_DATE: date };
}

/**
 * A repository with branches, a merge, tags of both kinds, an executable, a symlink, a submodule
 * entry and odd names.
 */
export async function makeSample(t: Test): Promise<string> {
  const folder = join(await tempFolder(t), "sample");
  await git(["init", "-q", folder]);
  const long = "x".repeat(200);
  await commit(folder, "first", {
    "README.md": "# Sample\n",
    "a/b/c.txt": "deep\n",
    "caf\u00e9/\u4e2d\u6587.txt": "names\n",
    [`${long}.txt`]: "long\n",
    "data.bin": "0123456789".repeat(20_000),
  });
  await writeFile(join(folder, "run.sh"), "#!/bin/sh\n", { mode: 0o755 });
  await git(
    [
      "update-index",
      "--add",
      "--cacheinfo",
      `120000,${await git(["hash-object", "-w", "--stdin"], { cwd: folder, input: "README.md" })},link`,
    ],
    { cwd: folder },
  );
  await git(
    ["update-index", "--add", "--cacheinfo", "160000,1234567890123456789012345678901234567890,sub"],
    { cwd: folder },
  );
  await git(["checkout", "-q", "--", "link"], { cwd: folder });
  await mkdir(join(folder, "sub"));
  await commit(folder, "modes", {});
  for (let version = 1; version <= 12; version++)
    await commit(folder, `change ${version}`, {
      "data.bin": "0123456789".repeat(20_000 + version),
      "a/log.txt": `${version}\n`.repeat(version * 10),
    });
  await git(["tag", "light"], { cwd: folder });
  await git(["tag", "-a", "-m", "annotated", "v1.0"], { cwd: folder });
  await git(["checkout", "-q", "-b", "side", "HEAD~5"], { cwd: folder });
  await commit(folder, "aside", { "side.txt": "side\n" });
  await git(["checkout", "-q", "main"], { cwd: folder });
  await git(["merge", "-q", "--no-ff", "-m", "merge side", "side"], {
    cwd: folder,
    env: await nextDate(folder),
  });
  await git(["tag", "-a", "-m", "tag of a tag", "v1.0-nested", "v1.0"], { cwd: folder });
  return folder;
}

// stock git's server ------------------------------------------------------------------------------

export interface StockServer {
  readonly url: string;
  readonly port: number;
  /** Repositories lie here, as "ns/name.git". */
  readonly root: string;
}

/** `git http-backend` behind a small CGI bridge: what Git itself answers. */
export async function startStock(t: Test, config: readonly string[] = []): Promise<StockServer> {
  const root = await tempFolder(t);
  const server = createServer(
    (request, response) => void runBackend(root, config, request, response),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, port, root };
}

/** A bare repository on the stock server that pushes may change, optionally a copy of `from`. */
export async function stockRepository(
  stock: StockServer,
  name: string,
  from?: string,
): Promise<string> {
  const path = join(stock.root, `${name}.git`);
  await git(
    from === undefined ? ["init", "-q", "--bare", path] : ["clone", "-q", "--mirror", from, path],
  );
  await git(["config", "http.receivepack", "true"], { cwd: path });
  return path;
}

function runBackend(
  root: string,
  config: readonly string[],
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const [path = "", query = ""] = (request.url ?? "").split("?");
  const optional = (name: string, header: string): Record<string, string> => {
    const value = request.headers[header];
    return typeof value === "string" ? { [name]: value } : {};
  };
  const settings = config.flatMap((pair, at) => [
    [`GIT_CONFIG_KEY_${at}`, pair.split("=")[0] ?? ""],
    [`GIT_CONFIG_VALUE_${at}`, pair.split("=")[1] ?? ""],
  ]);
  const child = spawn("git", ["http-backend"], {
    env: {
      ...CLEAN_ENVIRONMENT,
      ...Object.fromEntries(settings),
      GIT_CONFIG_COUNT: String(config.length),
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: "1",
      PATH_INFO: decodeURIComponent(path),
      QUERY_STRING: query,
      REQUEST_METHOD: request.method ?? "",
      SERVER_PROTOCOL: "HTTP/1.1",
      REMOTE_ADDR: "127.0.0.1",
      ...optional("CONTENT_TYPE", "content-type"),
      ...optional("CONTENT_LENGTH", "content-length"),
      ...optional("HTTP_CONTENT_ENCODING", "content-encoding"),
      ...optional("GIT_PROTOCOL", "git-protocol"),
    },
    stdio: ["pipe", "pipe", "ignore"],
  });
  child.stdin.on("error", () => undefined);
  request.pipe(child.stdin);
  sendCgi(child, response);
}

/** "Status: 404 Not Found" and header lines, an empty line, then the body. RFC 3875, 6. */
function sendCgi(child: ChildProcess, response: ServerResponse): void {
  let head = Buffer.alloc(0);
  let sent = false;
  child.stdout?.on("data", (chunk: Buffer) => {
    if (sent) {
      response.write(chunk);
      return;
    }
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf("\r\n\r\n");
    if (end < 0) return;
    sent = true;
    let status = 200;
    for (const line of head.subarray(0, end).toString("latin1").split("\r\n")) {
      const [name = "", value = ""] = line.split(/:\s*(.*)/s);
      if (name.toLowerCase() === "status") status = Number(value.split(" ")[0]);
      else response.appendHeader(name, value);
    }
    response.writeHead(status);
    response.write(head.subarray(end + 4));
  });
  child.once("close", () => response.end());
}
