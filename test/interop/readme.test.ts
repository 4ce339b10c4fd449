/** README's first session, run from README's own text with what a newcomer has: Node.js and Git. */
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { skipLakefs } from "../support/lakefs-servers.js";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const README = await readFile(join(ROOT, "README.md"), "utf8");

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** `npm start -- --listen … --data …`, resolved when it says where it serves; what it printed. */
async function start(
  t: Test,
  port: number,
  data: string,
  more: Readonly<Record<string, string>> = {},
): Promise<string> {
  const args = ["start", "--", "--listen", `127.0.0.1:${port}`, "--data", data];
  const child = spawn("npm", args, {
    cwd: ROOT,
    env: { ...process.env, ...more },
    stdio: ["ignore", "pipe", "ignore"],
    detached: true,
  });
  t.teardown(async () => {
    const ended = new Promise((resolve) => child.once("close", resolve));
    process.kill(-(child.pid as number), "SIGTERM"); // the group we made: npm and what it started
    await ended;
  });
  let printed = "";
  for await (const chunk of child.stdout) {
    printed += String(chunk);
    if (/git clone \S+/.test(printed)) return printed;
  }
  throw new Error(`npm start ended: ${printed}`);
}

t.test("the first session works as printed", { timeout: 180_000 }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "lakepack-readme-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const port = await freePort();
  const printed = await start(t, port, join(folder, "data"));
  t.match(
    printed,
    new RegExp(`lakepack \\d+\\.\\d+\\.\\d+ serving http://127.0.0.1:${port} \\((uws|node)\\)`),
  );
  t.match(printed, /git push .*HEAD:main/, "it says what to type next");

  const session = /```sh session\n([\s\S]*?)```/.exec(README)?.[1];
  t.ok(session, "README has its session");
  t.ok((session ?? "").trim().split("\n").length <= 10, "ten lines");
  const script = (session as string).replaceAll("127.0.0.1:8080", `127.0.0.1:${port}`);
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
});

t.test(
  "the session with lakeFS works as printed",
  { skip: skipLakefs, timeout: 180_000 },
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), "lakepack-readme-"));
    t.teardown(() => rm(folder, { recursive: true, force: true }));
    const port = await freePort();
    const first = await threePorts();
    const block = (name: string) => {
      const text = new RegExp(`\`\`\`sh ${name}\n([\\s\\S]*?)\`\`\``).exec(README)?.[1];
      t.ok(text, `README has "${name}"`);
      return (text as string)
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
    const setup = block("lakefs");
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
    await start(t, port, join(folder, "data"), settings);
    const session = run(block("lakefs session"));
    t.equal(session.status, 0, session.stderr);
    t.match(session.stderr, /remote: refs\/heads\/main: [0-9a-f]{40} is lakeFS commit/);
    t.match(session.stdout, /First commit/, "lakeFS's log");
    t.match(session.stdout, /# Demo/, "the file in lakeFS");
    const pids = (await readFile(join(folder, "servers/pids"), "utf8")).split("\n").map(Number);
    t.equal(pids.filter(runs).length, 5);
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

/** The first of three free ports in a row. */
async function threePorts(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const first = await freePort();
    const next = await Promise.all([first + 1, first + 2].map(isFree));
    if (next.every(Boolean)) return first;
  }
  throw new Error("no three free ports in a row");
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
    await start(t, port, data, { LAKEPACK_AUTH: "token" }),
    /shown this once:\n {2}lpk_[a-z2-7]{32}\n/,
  );
  const commands = /```sh users\n([\s\S]*?)```/.exec(README)?.[1] ?? "";
  const script = commands
    .replaceAll("127.0.0.1:8080", `127.0.0.1:${port}`)
    .replace("dist/src", join(ROOT, "dist/src"));
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
});
