/**
 * The sessions that README.md and docs/ print, run from their own text with what a newcomer has:
 * Node.js and Git. Each has a name behind its fence (```sh users); one without a name, or that no
 * test here runs, fails.
 */
import { spawn, spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { postgres, postgresDatabase, skipPostgres } from "../support/postgres.js";
import { skipS3, startS3Server } from "../support/s3-server.js";
import { skipLakefs } from "../support/lakefs-servers.js";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const DOCUMENTS = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "bench/README.md"].concat(
  readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
);

interface Session {
  readonly document: string;
  /** What stands behind the fence: "sh users". */
  readonly title: string;
  readonly text: string;
}

const SESSIONS: readonly Session[] = DOCUMENTS.flatMap((document) =>
  [
    ...readFileSync(join(ROOT, document), "utf8").matchAll(
      /^```((?:sh|bash|js|ts)\b.*)\n([\s\S]*?)^```$/gm,
    ),
  ].map(([, title = "", text = ""]) => ({ document, title, text })),
);
const asked = new Set<string>();

/** The texts of all sessions of that title; each title that is asked for here is run. */
function sessions(title: string): readonly string[] {
  asked.add(title);
  return SESSIONS.filter((one) => one.title === title).map(({ text }) => text);
}

/** The one session of that title. */
function session(title: string): string {
  const [text, ...others] = sessions(title);
  if (text === undefined || others.length > 0) throw new Error(`not one session "${title}"`);
  return text;
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

interface Started {
  readonly printed: string;
  stop(): Promise<void>;
}

/**
 * Runs `command`, a session that ends in `npm start`, on another address and data folder; resolved
 * when it says where it serves.
 */
async function start(
  t: Test,
  command: string,
  { port, data, env = {} }: { port: number; data: string; env?: Readonly<Record<string, string>> },
): Promise<Started> {
  const options = `-- --listen 127.0.0.1:${port} --data ${data}`;
  const child = spawn(
    "bash",
    ["-e", "-c", command.replace(/npm start\n$/, `npm start ${options}\n`)],
    {
      cwd: ROOT,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "ignore"],
      detached: true,
    },
  );
  const ended = new Promise((resolve) => child.once("close", resolve));
  const stop = async () => {
    try {
      process.kill(-(child.pid as number), "SIGINT"); // the group we made: npm and what it started
    } catch {
      // it has ended
    }
    await ended;
  };
  t.teardown(stop);
  let printed = "";
  child.stdout.on("data", (chunk) => {
    printed += String(chunk);
  });
  for (const until = Date.now() + 120_000; Date.now() < until; await sleep(50))
    if (/git clone \S+/.test(printed)) return { printed, stop };
  throw new Error(`npm start does not serve: ${printed}`);
}

t.test("the first session works as printed", { timeout: 180_000 }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "lakepack-readme-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const port = await freePort();
  const data = join(folder, "data");
  const { printed, stop } = await start(t, session("sh start"), { port, data });
  t.match(
    printed,
    new RegExp(`lakepack \\d+\\.\\d+\\.\\d+ serving http://127.0.0.1:${port} \\((uws|node)\\)`),
  );
  t.match(printed, /git push .*HEAD:main/, "it says what to type next");

  const first = session("sh session");
  t.ok(first.trim().split("\n").length <= 10, "ten lines");
  const script = first.replaceAll("127.0.0.1:8080", `127.0.0.1:${port}`);
  const env = { PATH: process.env["PATH"], HOME: folder, GIT_CONFIG_NOSYSTEM: "1" };
  const shell = spawnSync("bash", ["-e", "-c", script], { cwd: folder, env, encoding: "utf8" });
  t.equal(shell.status, 0, shell.stderr);
  t.match(shell.stderr, /remote: created me\/my-model/);
  t.match(shell.stdout, /# My model/);
  t.match(shell.stdout, /[0-9a-f]{40}\tHEAD\n[0-9a-f]{40}\trefs\/heads\/main\n/);
  const fsck = spawnSync("git", ["fsck", "--full", "--strict"], {
    cwd: join(folder, "copy"),
    env,
    encoding: "utf8",
  });
  t.equal(fsck.status, 0);
  t.equal(fsck.stdout + fsck.stderr.replace(/^Checking.*$/gm, "").trim(), "", "a silent fsck");

  // As docs/operating.md says: back up while it serves, restore elsewhere, look at it.
  const [backup, restored] = [join(folder, "backup"), join(folder, "restored")];
  const saved = spawnSync(
    "bash",
    ["-e", "-c", here(session("sh backup")).replaceAll("BACKUP", backup)],
    { cwd: folder, env: { ...env, LAKEPACK_DATA: data }, encoding: "utf8" },
  );
  t.equal(saved.status, 0, saved.stdout + saved.stderr);
  await stop();
  const looked = spawnSync(
    "bash",
    [
      "-e",
      "-c",
      here(session("sh restore")).replaceAll("BACKUP", backup).replaceAll("RESTORED", restored),
    ],
    { cwd: folder, env, encoding: "utf8" },
  );
  t.equal(looked.status, 0, looked.stdout + looked.stderr);
  const [id] = readdirSync(join(restored, "repos"));
  const head = ["--git-dir", join(restored, "repos", id as string, "git"), "log", "--format=%s"];
  const log = spawnSync("git", head, { env, encoding: "utf8" });
  t.equal(log.stdout, "First commit\n", "stock Git reads what is stored");
});

const PROGRAM = `${process.execPath} ${join(ROOT, "dist/src/cli/main.js")}`;

/** Commands of a clone, run from another folder. */
function here(script: string): string {
  return script.replaceAll("dist/src/cli", join(ROOT, "dist/src/cli"));
}

t.test(
  "the session with lakeFS works as printed",
  { skip: skipLakefs, timeout: 180_000 },
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), "lakepack-readme-"));
    t.teardown(() => rm(folder, { recursive: true, force: true }));
    await chmod(folder, 0o711); // PostgreSQL does not run as root
    const port = await freePort();
    const first = await freePorts();
    const block = (title: string) => {
      return session(title)
        .replaceAll("127.0.0.1:8080", `127.0.0.1:${port}`)
        .replaceAll("127.0.0.1:8100", `127.0.0.1:${first}`)
        .replaceAll("../demo", join(folder, "demo"));
    };
    const env = {
      PATH: process.env["PATH"],
      HOME: process.env["HOME"],
      SERVERS_PORT: String(first),
      GIT_CONFIG_NOSYSTEM: "1",
      GIT_CONFIG_GLOBAL: "/dev/null",
    };
    const run = (script: string) =>
      spawnSync("bash", ["-e", "-c", script], { cwd: ROOT, env, encoding: "utf8" });
    const setup = block("sh lakefs");
    t.teardown(() => run(`node scripts/servers.mjs stop ${folder}/servers`));
    const started = run(
      setup
        .replace("servers.mjs start ", `servers.mjs start ${folder}/servers `)
        .replace(/^npm start$/m, "env | grep ^LAKEPACK_"),
    );
    t.equal(started.status, 0, started.stderr);
    const settings = Object.fromEntries(
      [...started.stdout.matchAll(/^(LAKEPACK_\w+)=(.*)$/gm)].map(([, name, value]) => [
        name,
        value,
      ]),
    ) as Record<string, string>;
    t.equal(Object.keys(settings).length, 3);
    await start(t, session("sh start"), { port, data: join(folder, "data"), env: settings });
    const ran = run(block("sh lakefs session"));
    t.equal(ran.status, 0, ran.stderr);
    t.match(ran.stderr, /remote: refs\/heads\/main: [0-9a-f]{40} is lakeFS commit/);
    t.match(ran.stdout, /First commit/, "lakeFS's log");
    t.match(ran.stdout, /# Demo/, "the file in lakeFS");
    const pids = (await readFile(join(folder, "servers/pids"), "utf8"))
      .split("\n")
      .map((line) => Number.parseInt(line, 10));
    t.equal(pids.filter(runs).length, skipPostgres === false ? 7 : 6);
    run(`node scripts/servers.mjs stop ${folder}/servers`);
    t.same(pids.filter(runs), [], "and all of them end");
  },
);

/** A process that has ended may still wait to be noticed. */
function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

/** Ports that scripts/servers.mjs takes, one behind the other. */
const SERVER_PORTS = 7;

/** The first of so many free ports in a row. */
async function freePorts(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const first = await freePort();
    const others = Array.from({ length: SERVER_PORTS - 1 }, (_, at) => isFree(first + 1 + at));
    if ((await Promise.all(others)).every(Boolean)) return first;
  }
  throw new Error(`no ${SERVER_PORTS} free ports in a row`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer().once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

t.test("the commands for users and tokens work as printed", { timeout: 180_000 }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "lakepack-readme-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const port = await freePort();
  const data = join(folder, "data");
  t.match(
    (await start(t, session("sh token-start"), { port, data })).printed,
    /shown this once:\n {2}lpk_[a-z2-7]{32}\n/,
  );
  const script = here(session("sh users")).replaceAll("127.0.0.1:8080", `127.0.0.1:${port}`);
  const env = {
    PATH: process.env["PATH"],
    HOME: folder,
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_TERMINAL_PROMPT: "0",
    LAKEPACK_DATA: data,
  };
  const shell = spawnSync("bash", ["-e", "-c", script], { cwd: folder, env, encoding: "utf8" });
  t.equal(shell.status, 0, shell.stderr);
  t.match(
    shell.stdout,
    /created ada\ncreated ada\/my-model\nada\/my-model\tprivate\ncreated bob\nada\/my-model\tprivate\nbob\twrite\n/,
  );
  t.match(shell.stdout, /\tada\twrite\tlaptop\tused 20.*\texpires 20.*\n$/);

  const settings = spawnSync("bash", ["-e", "-c", here(session("sh repository-settings"))], {
    cwd: folder,
    env,
    encoding: "utf8",
  });
  t.equal(settings.status, 0, settings.stderr);
  t.match(settings.stdout, /missingEmail=ignore/);
});

t.test("PostgreSQL from nothing works as printed", { skip: skipPostgres }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "lakepack-readme-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const { url } = await postgres();
  const script = here(session("sh postgres"))
    .replace("postgres://postgres@127.0.0.1:5432/postgres", url)
    .replaceAll("127.0.0.1:5432", new URL(url).host);
  const env = { PATH: process.env["PATH"], HOME: folder, LAKEPACK_DATA: join(folder, "data") };
  const shell = spawnSync("bash", ["-e", "-c", script], { cwd: folder, env, encoding: "utf8" });
  t.match(shell.stdout, /CREATE ROLE\nCREATE DATABASE\ncreated ada\tadministrator\n/, shell.stderr);
  t.match(shell.stdout, /^good {2}database: PostgreSQL \d+\S* at 127\.0\.0\.1:\d+\/hub$/m);
  t.notMatch(shell.stdout + shell.stderr, /CHANGE-ME/);
});

t.test("the examples of docs/library.md print what their comments say", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "lakepack-readme-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const examples = sessions("js library");
  t.ok(examples.length >= 3);
  for (const example of examples) {
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ["--input-type=module", "-e", example.replace("./library-data", join(folder, "data"))],
      { cwd: ROOT, encoding: "utf8" }, // the package finds itself by its name
    );
    const promised = [...example.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm)].map(
      ([, line]) => line,
    );
    t.ok(promised.length > 0);
    t.same(stdout.trim().split("\n").slice(-promised.length), promised, stderr);
  }
});

t.test(
  "a server with object storage and PostgreSQL starts as printed",
  { skip: skipS3 || skipPostgres, timeout: 180_000 },
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), "lakepack-readme-"));
    t.teardown(() => rm(folder, { recursive: true, force: true }));
    const [s3, database] = [await startS3Server(t), await postgresDatabase()];
    const { accessKeyId, secretAccessKey } = s3.credentials;
    const settings = session("sh fleet")
      .replace("s3://hub/repositories", `s3://${s3.bucket}/repositories`)
      .replace("https://storage.example.com", s3.endpoint)
      .replace(/postgres:\S+/, database)
      .replace(/KEY_ID=\S+ (\S+)=\S+/, `KEY_ID=${accessKeyId} $1=${secretAccessKey}`);
    const [variables = "", commands = ""] = settings.split(/(?=^lakepack doctor)/m);
    t.match(commands, /lakepack serve --data \S+/);
    const env = { PATH: process.env["PATH"], HOME: folder };
    const doctor = spawnSync(
      "bash",
      ["-e", "-c", `${variables}mkdir -m 700 data\n${PROGRAM} doctor`],
      { cwd: folder, env, encoding: "utf8" },
    );
    t.match(doctor.stdout, /good\s+store: .*replace if unchanged: .* none lost/, doctor.stderr);
    const port = await freePort();
    const serve = `exec ${PROGRAM} serve --data node --listen 127.0.0.1:${port}`;
    const served = spawn("bash", ["-c", `${variables}${serve}`], {
      cwd: folder,
      env,
      stdio: "ignore",
    });
    const ended = new Promise((resolve) => served.once("exit", resolve));
    t.teardown(async () => {
      served.kill();
      await ended;
    });
    const ready = () => fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined);
    let status: number | undefined;
    for (let attempt = 0; attempt < 300 && status !== 200; attempt++) {
      await sleep(100);
      status = (await ready())?.status;
    }
    t.equal(status, 200);
  },
);

t.test(
  "every session that a document prints is run here",
  { skip: skipLakefs || skipPostgres },
  async (t) => {
    t.same(
      SESSIONS.filter(({ title }) => !asked.has(title)).map(
        ({ document, title }) => `${document}: ${title}`,
      ),
      [],
    );
  },
);
