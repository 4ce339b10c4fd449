/**
 * Git over https: our own TLS on both front ends, and the sample configuration of nginx before us.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { request } from "node:https";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { lakepack } from "../support/lakepack-command.js";
import { type Guarded, startGuarded } from "../support/accounts-rig.js";
import { type Certificate, certificate, skipCertificates } from "../support/certificate.js";
import { checkFsck, commit, git, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";

const SAMPLE = fileURLToPath(new URL("../../../scripts/nginx.conf", import.meta.url));
const runs = (program: string, arg: string) => spawnSync(program, [arg]).status === 0;
const SKIP_TLS = skipCertificates;
const SKIP_NGINX = SKIP_TLS === false && !runs("nginx", "-v") ? "nginx is not installed" : SKIP_TLS;
const SKIP_LFS =
  spawnSync("git", ["lfs", "version"]).status === 0 ? SKIP_NGINX : "git-lfs is not installed";

/**
 * Stock git pushes and clones at `url`, trusting the certificate, with the token as user name, as
 * the password, and asked for.
 */
async function checkGit(t: Test, url: string, token: string, ca: string): Promise<void> {
  const trust = ["-c", `http.sslCAInfo=${ca}`];
  const { host } = new URL(url);
  const folder = join(await tempFolder(t), "work");
  await git(["init", "-q", folder]);
  await commit(folder, "one", {
    "a.txt": "a\n",
    "b.bin": randomBytes(3_000_000).toString("base64"),
  });
  const push = await tryGit(
    [...trust, "push", `https://git:${token}@${host}/acme/model.git`, "main"],
    { cwd: folder },
  );
  t.match(push, { code: 0, stderr: /created acme\/model/ }, "three chunked megabytes");
  const enter = join(await tempFolder(t), "askpass");
  await writeFile(enter, "#!/bin/sh\necho\n");
  await chmod(enter, 0o755);
  for (const [how, user, env] of [
    ["token@", token, { GIT_ASKPASS: enter }],
    ["token:@", `${token}:`, {}],
    ["user:token@", `git:${token}`, {}],
  ] as const) {
    const copy = join(await tempFolder(t), "copy");
    const clone = await tryGit(
      [...trust, "clone", "-q", `https://${user}@${host}/acme/model.git`, copy],
      { env },
    );
    t.equal(clone.code, 0, `${how}: ${clone.stderr}`);
    await checkFsck(t, copy);
  }
  const wrong = await tryGit([
    ...trust,
    "ls-remote",
    `https://lpk_${"a".repeat(32)}:@${host}/acme/model.git`,
  ]);
  t.match(wrong.stderr, /Authentication failed for/);
  t.not(
    (await tryGit(["ls-remote", `https://git:${token}@${host}/acme/model.git`])).code,
    0,
    "who does not trust the certificate gets nothing",
  );
}

/** Returns where a batch sends the upload of an object. */
function uploadLink(url: string, token: string, ca: Buffer): Promise<string> {
  const body = JSON.stringify({
    operation: "upload",
    objects: [{ oid: "a".repeat(64), size: 10 }],
  });
  const headers = {
    "Content-Type": "application/vnd.git-lfs+json",
    Authorization: `Bearer ${token}`,
  };
  return new Promise((resolve, reject) => {
    const asked = request(
      `${url}/acme/model.git/info/lfs/objects/batch`,
      { method: "POST", headers, ca },
      (reply) => {
        let text = "";
        reply.on("data", (chunk) => {
          text += String(chunk);
        });
        reply.on("end", () => resolve(/"href":"([^"]+)"/.exec(text)?.[1] ?? text));
      },
    );
    asked.on("error", reject);
    asked.end(body);
  });
}

for (const kind of ["uws", "node"]) {
  t.test(`TLS of our own (${kind})`, { skip: SKIP_TLS, timeout: 120_000 }, async (t) => {
    const made = await certificate(t);
    const server = await startGuarded(t, {
      args: ["--transport", kind],
      env: { LAKEPACK_TLS_CERT: made.certificate, LAKEPACK_TLS_KEY: made.key },
    });
    const token = await server.user("acme");
    t.match(server.url, /^https:/);
    await checkGit(t, server.url.replace("127.0.0.1", "localhost"), token, made.certificate);
    const link = await uploadLink(server.url, token, await readFile(made.certificate));
    t.ok(link.startsWith(`${server.url}/acme/model.git/info/lfs/objects/`), link);
  });
}

t.test(
  "what would send tokens in clear text, or cannot be served, stops the start",
  { skip: SKIP_TLS, timeout: 120_000 },
  async (t) => {
    const [one, other] = [await certificate(t), await certificate(t)];
    const serve = async (env: Readonly<Record<string, string>>) =>
      lakepack(["serve", "--data", join(await tempFolder(t), "data")], {
        LAKEPACK_AUTH: "token",
        LAKEPACK_LISTEN: "127.0.0.1:0",
        ...env,
      });
    t.match(await serve({ LAKEPACK_LISTEN: "192.0.2.1:0" }), {
      code: 2,
      err: /name: listen, value: 192\.0\.2\.1:0, allowed: with auth token a loopback host.* tls_cert and tls_key, or behind trusted_proxies/,
    });
    t.match(
      await serve({
        LAKEPACK_AUTH: "none",
        LAKEPACK_LISTEN: "192.0.2.1:0",
        LAKEPACK_TRUSTED_PROXIES: "10.0.0.1",
      }),
      { code: 2, err: /with auth none only a loopback host/ },
    );
    // An address that is not this machine's: what is refused now is the address, not the settings.
    t.match(await serve({ LAKEPACK_LISTEN: "192.0.2.1:0", LAKEPACK_TRUSTED_PROXIES: "10.0.0.1" }), {
      code: 2,
      err: /name: listen, value: 192\.0\.2\.1:0, reason:/,
    });
    t.match(await serve({ LAKEPACK_TLS_CERT: one.certificate }), {
      code: 2,
      err: /name: tls_key, .*together/,
    });
    t.match(await serve({ LAKEPACK_TLS_CERT: one.certificate, LAKEPACK_TLS_KEY: other.key }), {
      code: 2,
      err: /name: tls_cert, tls_key.*mismatch/,
    });
    t.match(await serve({ LAKEPACK_TLS_CERT: one.certificate, LAKEPACK_TLS_KEY: "/nonexistent" }), {
      code: 2,
      err: /name: tls_key, value: \/nonexistent/,
    });
    t.match(await serve({ LAKEPACK_TRUSTED_PROXIES: "proxy.example" }), {
      code: 2,
      err: /name: trusted_proxies, value: proxy\.example/,
    });
  },
);

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** nginx with the sample's server block, its addresses and files put in; https://localhost:PORT. */
async function startNginx(
  t: Test,
  server: Guarded,
  { certificate: cert, key }: Certificate,
  port: number,
): Promise<string> {
  const folder = await tempFolder(t);
  await mkdir(join(folder, "temp"));
  const block = (await readFile(SAMPLE, "utf8"))
    .replace("listen 443 ssl", `listen 127.0.0.1:${port} ssl`)
    .replace("/etc/ssl/hub.example.pem", cert)
    .replace("/etc/ssl/hub.example.key", key)
    .replace("http://127.0.0.1:8080", server.url);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path temp/${name};`)
    .join(" ");
  const conf = `daemon off; master_process off; pid nginx.pid; error_log stderr;\nevents {}\nhttp { access_log off; ${temporary}\n${block}\n}\n`;
  await writeFile(join(folder, "nginx.conf"), conf);
  const child: ChildProcess = spawn("nginx", ["-p", folder, "-c", "nginx.conf"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr?.on("data", (chunk) => {
    said += String(chunk);
  });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  t.teardown(async () => {
    child.kill("SIGTERM");
    await ended;
  });
  const ca = await readFile(cert);
  const answers = () =>
    new Promise<boolean>(
      (resolve) =>
        void request(`https://localhost:${port}/healthz`, { ca }, (reply) =>
          resolve(reply.resume().statusCode === 200),
        )
          .on("error", () => resolve(false))
          .end(),
    );
  for (let attempt = 0; attempt < 200; attempt++) {
    if (await answers()) return `https://localhost:${port}`;
    if (child.exitCode !== null) break;
    await new Promise((wake) => setTimeout(wake, 50));
  }
  throw new Error(`nginx does not answer: ${said}`);
}

t.test(
  "behind nginx as in the sample configuration",
  { skip: SKIP_LFS, timeout: 180_000 },
  async (t) => {
    const made = await certificate(t);
    const ca = await readFile(made.certificate);
    const server = await startGuarded(t, { env: { LAKEPACK_TRUSTED_PROXIES: "127.0.0.1" } });
    const token = await server.user("acme");
    const url = await startNginx(t, server, made, await freePort());
    await checkGit(t, url, token, made.certificate);
    t.ok(
      (await uploadLink(url, token, ca)).startsWith(`${url}/acme/model.git/info/lfs/objects/`),
      "links lead back through nginx",
    );
    const metrics = (port: string) =>
      new Promise<number | undefined>(
        (resolve, reject) =>
          void request(`${port}/metrics`, { ca }, (reply) => resolve(reply.resume().statusCode))
            .on("error", reject)
            .end(),
      );
    t.equal(await metrics(url), 401, "who comes through a proxy is not this machine");
    t.equal((await fetch(`${server.url}/metrics`)).status, 200);

    await t.test("git-lfs pushes and clones through it", async (t) => {
      const env = { GIT_SSL_CAINFO: made.certificate };
      const folder = join(await tempFolder(t), "work");
      const at = `https://git:${token}@${new URL(url).host}/acme/large.git`;
      await git(["init", "-q", folder]);
      await git(["lfs", "install", "--local"], { cwd: folder });
      await git(["lfs", "track", "*.bin"], { cwd: folder });
      const content = randomBytes(5_000_000);
      await writeFile(join(folder, "large.bin"), content);
      await commit(folder, "large", {});
      const pushed = await tryGit(["push", at, "main"], { cwd: folder, env });
      t.equal(pushed.code, 0, pushed.stderr);
      const copy = join(await tempFolder(t), "copy");
      const filter = [
        "-c",
        "filter.lfs.process=git-lfs filter-process",
        "-c",
        "filter.lfs.smudge=git-lfs smudge -- %f",
        "-c",
        "filter.lfs.required=true",
      ];
      const cloned = await tryGit(["clone", "-q", ...filter, at, copy], { env });
      t.equal(cloned.code, 0, cloned.stderr);
      t.ok((await readFile(join(copy, "large.bin"))).equals(content));
    });

    await t.test("a public URL is what links and pages say", async (t) => {
      const named = await startGuarded(t, {
        env: {
          LAKEPACK_TRUSTED_PROXIES: "127.0.0.1",
          LAKEPACK_PUBLIC_URL: "https://hub.example/git/",
        },
      });
      const owner = await named.user("acme");
      const through = await startNginx(t, named, made, await freePort());
      t.match(
        await uploadLink(through, owner, ca),
        /^https:\/\/hub\.example\/git\/acme\/model\.git\/info\/lfs\/objects\//,
      );
      t.match(
        await (await fetch(named.url)).text(),
        "git clone https://hub.example/git/me/model.git",
      );
      t.match(named.out(), "git clone https://hub.example/git/me/model.git");
    });
  },
);
