/**
 * Answers that each front end gives by itself, and how it keeps connections: uWebSockets.js refuses
 * in compiled code what node:http serves. README says the same; whoever changes one of them changes
 * both.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { type RawResponse, RawClient, rawRequest } from "../support/raw-client.js";
import { startGuarded } from "../support/accounts-rig.js";
import { commit, git, type Lakepack, startLakepack } from "../support/harness.js";
import { certificate, skipCertificates } from "../support/certificate.js";
import { tempFolder } from "../support/temp-folder.js";

const KINDS = ["uws", "node"] as const;
const HOST = "Host: localhost\r\n";
const get = (path: string, headers = HOST, version = "1.1") =>
  `GET ${path} HTTP/${version}\r\n${headers}\r\n`;

async function served(
  t: Test,
  kind: string,
  env: Readonly<Record<string, string>> = {},
  args: readonly string[] = [],
): Promise<Lakepack> {
  const server = await startLakepack(t, { args: ["--transport", kind, ...args], env });
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  await commit(work, "first", { "a.txt": "a\n" });
  await git(["push", "-q", `${server.url}/ns/target.git`, "main"], { cwd: work });
  return server;
}

/** Undefined: the connection ended without an answer. */
const ask = (port: number, text: string): Promise<RawResponse | undefined> =>
  rawRequest(port, text).catch(() => undefined);

for (const kind of KINDS) {
  const isNode = kind === "node";

  t.test(`requests of an unusual form, ${kind}`, { timeout: 120_000 }, async (t) => {
    const server = await served(t, kind);
    const head = "/ns/target.git/HEAD";
    const old = await ask(server.port, get(head, "", "1.0"));
    if (isNode)
      t.match(
        [old?.status, old?.body.toString()],
        [403, /Host/],
        "HTTP/1.0 without Host is served, and refused by auth none",
      );
    else t.not(old?.status, 200, "HTTP/1.0");
    const oldWithHost = await ask(server.port, get(head, HOST, "1.0"));
    if (isNode)
      t.match(
        [oldWithHost?.status, oldWithHost?.body.toString()],
        [200, "ref: refs/heads/main\n"],
        "HTTP/1.0",
      );
    else t.not(oldWithHost?.status, 200, "HTTP/1.0");
    const absolute = await ask(server.port, get(`http://localhost:${server.port}${head}`));
    if (isNode)
      t.match(
        [absolute?.status, absolute?.body.toString()],
        [200, "ref: refs/heads/main\n"],
        "absolute-form",
      );
    else t.not(absolute?.status, 200, "absolute-form");
    const elsewhere = await ask(server.port, get(`http://evil.example${head}`));
    if (isNode)
      t.match(
        [elsewhere?.status, elsewhere?.body.toString()],
        [403, /Host/],
        "absolute-form: its host counts, not the Host header",
      );
    else t.not(elsewhere?.status, 200);
    t.match(
      (await ask(server.port, get(head, `${HOST}Cookie: ${"c".repeat(15_000)}\r\n`)))?.status,
      200,
      "a head of 15 KB",
    );
    t.equal(
      (await ask(server.port, get(head, `${HOST}Cookie: ${"c".repeat(20_000)}\r\n`)))?.status,
      431,
      "a head of 20 KB",
    );
    for (const path of ["//ns/target.git/HEAD", "/ns//target.git///HEAD", `//ns/target.git//HEAD`])
      t.match((await ask(server.port, get(path)))?.body.toString(), "ref: refs/heads/main\n", path);
    t.equal(
      await git(["ls-remote", `${server.url}//ns//target.git`]).then(
        (text) => text.split("\n").length,
      ),
      2,
      "git over a doubled slash",
    );
    t.match(
      (await ask(server.port, get("//api//repos/ns/target")))?.headers.get("content-type"),
      /json/,
      "the API over a doubled slash",
    );
    t.equal((await ask(server.port, get("/healthz")))?.status, 200);
    if (isNode) t.match(server.log(), /"path":"\/ns\/target.git\/HEAD"/, "they are logged");
  });

  t.test(
    `nothing behind an ambiguous request is executed, ${kind}`,
    { timeout: 120_000 },
    async (t) => {
      const server = await served(t, kind);
      const hidden = get("/ns/target.git/HEAD?smuggled");
      const post = (headers: string, body: string) =>
        `POST /ns/target.git/git-upload-pack HTTP/1.1\r\n${HOST}Content-Type: application/x-git-upload-pack-request\r\n${headers}\r\n${body}`;
      const ambiguous = [
        post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "0\r\n\r\n"),
        post("Content-Length: 4\r\nContent-Length: 6\r\n", "0000"),
        post("Content-Length: 4, 4\r\n", "0000"),
        post("Content-Length: +4\r\n", "0000"),
        post("Content-Length: 0x4\r\n", "0000"),
        post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding : chunked\r\nContent-Length: 4\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding:\x0bchunked\r\nContent-Length: 4\r\n", "0\r\n\r\n"),
      ];
      for (const text of ambiguous) {
        const before = server.log().split("\n").length;
        const client = new RawClient(server.port).send(text + hidden);
        const first = await client.response().catch(() => undefined);
        const second = await Promise.race([
          client.response().catch(() => undefined),
          sleep(300, undefined),
        ]);
        client.close();
        const shown = JSON.stringify(text.slice(text.indexOf("request\r\n") + 9));
        t.not(first?.status, 200, shown);
        t.equal(second, undefined, `${shown}: no second answer`);
        const logged = server
          .log()
          .split("\n")
          .slice(before - 1)
          .filter((line) => line.includes("/HEAD"));
        t.same(logged, [], `${shown}: what stood behind it was not executed`);
      }
      t.equal((await ask(server.port, get("/healthz")))?.status, 200);
    },
  );

  t.test(`answers after which a client thinks long, ${kind}`, { timeout: 120_000 }, async (t) => {
    const server = await startGuarded(t, { args: ["--transport", kind] });
    const token = await server.user("ada");
    const basic = `Authorization: Basic ${Buffer.from(`git:${token}`).toString("base64")}\r\n`;
    const connection = async (path: string, headers = "") =>
      (await ask(server.port, get(path, HOST + headers)))?.headers.get("connection");
    const ends = isNode ? "keep-alive" : "close";
    t.equal(await connection("/ada/model.git/info/refs?service=git-upload-pack"), ends, "401");
    t.equal(
      await connection("/ada/model.git/info/refs?service=git-receive-pack", basic),
      ends,
      "refs for a push",
    );
    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", work]);
    await commit(work, "first", { "a.txt": "a\n" });
    await git(["push", "-q", server.at("ada/model", token), "main"], { cwd: work });
    t.equal(
      await connection("/ada/model.git/info/refs?service=git-receive-pack", basic),
      ends,
      "refs for a push, not empty",
    );
    t.not(
      await connection("/ada/model.git/info/refs?service=git-upload-pack", basic),
      "close",
      "refs for a fetch",
    );
    const head = await rawRequest(
      server.port,
      `HEAD /ada/model.git/info/refs?service=git-upload-pack HTTP/1.1\r\n${HOST}\r\n`,
      "HEAD",
    );
    t.match([head.status, head.headers.get("connection")], [401, ends], "401 to HEAD");
  });

  t.test(
    `how long a connection is kept between requests, ${kind}`,
    { timeout: 120_000 },
    async (t) => {
      const server = await served(t, kind, { LAKEPACK_KEEP_ALIVE_SECONDS: "16" });
      const client = new RawClient(server.port).send(get("/healthz"));
      await client.response();
      await sleep(13_000);
      t.equal(client.ended, !isNode, "after 13 s");
      if (isNode) t.equal((await client.send(get("/healthz")).response()).status, 200);
      client.close();
    },
  );

  t.test(
    `who comes through a proxy that names itself is refused without authentication, ${kind}`,
    { timeout: 120_000 },
    async (t) => {
      const server = await served(t, kind);
      for (const header of [
        "Via: 1.1 proxy",
        "X-Real-IP: 192.0.2.1",
        "CF-Connecting-IP: 192.0.2.1",
        "CF-Ray: 1",
        "True-Client-IP: 192.0.2.1",
        "X-Forwarded-For: 192.0.2.1",
        "Forwarded: for=192.0.2.1",
        "X-Forwarded: 1",
        "Fastly-Client-IP: 192.0.2.1",
        "X-Client-IP: 192.0.2.1",
        "X-Envoy-External-Address: 192.0.2.1",
        "CDN-Loop: x",
        "X-Original-Host: hub.example",
        "X-Amzn-Trace-Id: Root=1",
      ]) {
        const reply = await ask(server.port, get("/ns/target.git/HEAD", `${HOST}${header}\r\n`));
        t.match(
          [reply?.status, reply?.body.toString()],
          [403, header.split(":")[0]?.toLowerCase()],
          header,
        );
        t.equal((await ask(server.port, get("/metrics", `${HOST}${header}\r\n`)))?.status, 403);
      }
      t.equal(
        (
          await ask(
            server.port,
            get("/ns/target.git/HEAD", `${HOST}X-Requested-With: x\r\nX-Custom: y\r\n`),
          )
        )?.status,
        200,
      );
    },
  );
}

for (const kind of KINDS)
  t.test(
    `TLS seals with fresh keys only, and browsers are told to keep to it, ${kind}`,
    { skip: skipCertificates, timeout: 120_000 },
    async (t) => {
      const { certificate: cert, key } = await certificate(t);
      const env = {
        LAKEPACK_TLS_CERT: cert,
        LAKEPACK_TLS_KEY: key,
        LAKEPACK_HSTS_SECONDS: "31536000",
      };
      const server = await startGuarded(t, { args: ["--transport", kind], env });
      const shake = (...args: string[]) =>
        spawnSync("openssl", ["s_client", "-connect", `127.0.0.1:${server.port}`, ...args], {
          input: `GET /healthz HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`,
          encoding: "utf8",
          timeout: 5_000,
        });
      for (const cipher of [
        "AES128-SHA",
        "AES256-SHA",
        "AES128-GCM-SHA256",
        "AES256-GCM-SHA384",
        "ECDHE-RSA-AES128-SHA",
        "ECDHE-RSA-AES128-SHA256",
        "ECDHE-RSA-AES256-SHA384",
        "DHE-RSA-AES128-GCM-SHA256",
      ])
        t.match(
          shake("-tls1_2", "-cipher", `${cipher}:@SECLEVEL=0`).stdout,
          /Cipher is \(NONE\)/,
          `TLS 1.2, ${cipher}`,
        );
      for (const version of ["-tls1", "-tls1_1"])
        t.match(
          shake(version, "-cipher", "ALL:@SECLEVEL=0").stdout,
          /Cipher is \(NONE\)|^$/,
          version,
        );
      for (const cipher of [
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-RSA-CHACHA20-POLY1305",
      ])
        t.match(
          shake("-tls1_2", "-cipher", cipher).stdout,
          new RegExp(`Cipher is ${cipher}`),
          cipher,
        );
      t.match(shake("-tls1_3").stdout, /Cipher is TLS_/, "TLS 1.3");
      const said = spawnSync("curl", ["-sik", `${server.url}/healthz`], {
        encoding: "utf8",
      }).stdout;
      t.match(said, /^strict-transport-security: max-age=31536000\r$/im);
      const plain = await startGuarded(t, {
        args: ["--transport", kind],
        env: { LAKEPACK_HSTS_SECONDS: "31536000" },
      });
      t.equal(
        (await ask(plain.port, get("/healthz")))?.headers.get("strict-transport-security"),
        undefined,
        "not without HTTPS",
      );
    },
  );

t.test("links on pages stand below the path of public_url", { timeout: 60_000 }, async (t) => {
  const server = await served(t, "auto", { LAKEPACK_PUBLIC_URL: "https://hub.example/git/" });
  const page = await ask(server.port, get("/", `${HOST}Accept: text/html\r\n`));
  t.match(page?.body.toString(), `<a href="/git/ns/target">`);
  t.match(page?.body.toString(), "git clone https://hub.example/git/me/model.git");
});
