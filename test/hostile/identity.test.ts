/**
 * Requests that try to be somebody else, to come from somewhere else or to reach another
 * repository: on a real server, on both front ends, byte by byte.
 */
import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { frontEnds } from "../support/everyday.js";
import { type Guarded, startGuarded } from "../support/accounts-rig.js";
import { commit, git, logShows } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { RawClient, type RawResponse } from "../support/raw-client.js";

const MEDIA = "application/vnd.git-lfs+json";
const CONTENT = Buffer.from("only acme's\n");
const OBJECT = { oid: createHash("sha256").update(CONTENT).digest("hex"), size: CONTENT.length };

interface Stage {
  readonly server: Guarded;
  readonly owner: string;
  readonly stranger: string;
  readonly admin: string;
}

async function set(t: Test, kind: string): Promise<Stage> {
  const server = await startGuarded(t, {
    args: ["--transport", kind],
    env: { LAKEPACK_CORS_ORIGINS: "https://app.example" },
  });
  const [owner, stranger] = [await server.user("acme"), await server.user("eve")];
  const work = await tempFolder(t);
  await git(["init", "-q", work]);
  await commit(work, "one", { "a.txt": "a\n" });
  for (const [name, token] of [
    ["acme/private", owner],
    ["acme/public", owner],
    ["eve/own", stranger],
  ] as const)
    await git(["push", "-q", server.at(name, token), "main"], { cwd: work });
  await server.command("repo.visibility", { name: "acme/public", visibility: "public" });
  return { server, owner, stranger, admin: server.adminToken };
}

async function send(
  { server }: Stage,
  line: string,
  headers: readonly string[],
  body = "",
): Promise<RawResponse | undefined> {
  const host = headers.some((header) => /^host:/i.test(header)) ? [] : ["Host: localhost"];
  const length = body === "" ? [] : [`Content-Length: ${Buffer.byteLength(body)}`];
  const client = new RawClient(server.port).send(
    `${line} HTTP/1.1\r\n${[...host, ...headers, ...length].join("\r\n")}\r\n\r\n${body}`,
  );
  try {
    return await client.response({ method: line.split(" ")[0] as string });
  } catch {
    return undefined; // closed without a word
  } finally {
    client.close();
  }
}

/** Paths that might lead from what a stranger may read, or from nowhere, to what he may not. */
const PATHS = [
  "/acme/private/HEAD",
  "/models/acme/private/HEAD",
  "/acme/public.git/../private.git/HEAD",
  "/acme/public.git/..%2fprivate.git/HEAD",
  "/acme/public.git/%2e%2e/private.git/HEAD",
  "/acme/public.git/.%2e/private.git/HEAD",
  "/acme/public%2f..%2fprivate/HEAD",
  "/acme/public.git/./../private/HEAD",
  "/acme/public%5c..%5cprivate/HEAD",
  "/eve/../acme/private/HEAD",
  "//acme/private/HEAD",
  "/acme//private/HEAD",
  "/acme/private.git.git/HEAD",
  "/acme/private.git/.git/HEAD",
  "/acme/private./HEAD",
  "/acme/private%2e/HEAD",
  "/acme/private.git./HEAD",
  "/acme/private%20/HEAD",
  "/acme/private%00/HEAD",
  "/acme/private;/HEAD",
  "/acme/private.git;x=1/HEAD",
  "/acme/PRIVATE/HEAD",
  "/ACME/private/HEAD",
  "/Acme/Private.GIT/HEAD",
  "/acme/private%c0%ae%c0%ae/HEAD",
  "/acme/%70rivate/HEAD",
  "/%61cme/private.git/HEAD",
  "/api/repos/acme/private",
  "/api/repos/acme/public/../private",
  "/api/repos/../repos/acme/private",
  "/API/repos/acme/private",
  "/repos/acme/private/HEAD",
  "/data/repos/acme/private/git/manifest",
  "/acme/private/git/manifest",
  "http://localhost/acme/private/HEAD",
  "http://localhost/acme/public/../private/HEAD",
  "acme/private/HEAD",
  "*",
];

for (const kind of frontEnds) {
  t.test(kind, { timeout: 300_000 }, async (t) => {
    const stage = await set(t, kind);
    const { server, owner, stranger } = stage;
    const bearer = (token: string) => `Authorization: Bearer ${token}`;
    const status = async (line: string, ...headers: readonly string[]) =>
      (await send(stage, line, headers))?.status;
    t.equal(
      await status("GET /acme/private/HEAD", bearer(owner)),
      200,
      "the owner gets what the others try for",
    );

    await t.test("paths", async (t) => {
      for (const path of PATHS) {
        const reply = await send(stage, `GET ${path}`, [bearer(stranger)]);
        t.ok(
          reply === undefined ||
            (reply.status >= 400 && reply.status < 500) ||
            reply.status === 505,
          `${path}: ${reply?.status}`,
        );
        t.notMatch(reply?.body.toString() ?? "", /ref: |"name":"acme\/private"/, path);
      }
    });

    await t.test("headers that name another path, method, user or address", async (t) => {
      const tricks = [
        "X-Original-URL: /acme/private/HEAD",
        "X-Rewrite-URL: /acme/private/HEAD",
        "X-Remote-User: admin",
        "X-Forwarded-User: admin",
        "Remote-User: admin",
        "X-Forwarded-For: 127.0.0.1",
        "Forwarded: for=127.0.0.1;host=localhost",
        "X-Real-IP: 127.0.0.1",
        "X-Forwarded-Host: localhost",
        "X-HTTP-Method-Override: OPTIONS",
      ];
      for (const trick of tricks) {
        t.equal(await status("GET /acme/private/HEAD", bearer(stranger), trick), 404, trick);
        t.equal(await status("GET /acme/private/HEAD", trick), 401, trick);
      }
      for (const trick of [
        "X-Forwarded-For: 127.0.0.1",
        "Forwarded: for=127.0.0.1",
        "X-Forwarded-Proto: http",
        "Host: hub.example",
        "Host: localhost.hub.example",
        "Host: 127.0.0.1.hub.example",
      ]) {
        t.equal(await status("GET /metrics", trick), 401, `figures, ${trick}`);
      }
      t.equal(await status("GET /metrics"), 200, "this machine may see them");
      t.notMatch(
        server.log(),
        /"remote":"(?!127\.0\.0\.1|0000|::)/,
        "nobody's word is taken for where he comes from",
      );
    });

    await t.test("two Authorization headers are none", async (t) => {
      const bad = `lpk_${"z".repeat(32)}`;
      for (const [one, other] of [
        [owner, bad],
        [bad, owner],
        [owner, owner],
        [stranger, owner],
      ] as const) {
        t.ok(
          [400, 401, undefined].includes(
            await status("GET /acme/private/HEAD", bearer(one), bearer(other)),
          ),
          `${one === owner} ${other === owner}`,
        );
      }
      const basic = (text: string) =>
        `Authorization: Basic ${Buffer.from(text).toString("base64")}`;
      t.equal(
        await status("GET /acme/private/HEAD", basic(`admin:${stranger}`)),
        404,
        "a user name beside a token is only a name",
      );
      t.equal(
        await status("GET /acme/private/HEAD", basic(`${owner}:${stranger}`)),
        404,
        "the password counts",
      );
      for (const odd of [
        `Authorization: Bearer  ${owner} x`,
        `Authorization: ${owner}`,
        `Authorization: Bearer ${owner},${owner}`,
        `Authorization: Bearer "${owner}"`,
        "Authorization:",
        `Authorization: Basic ${"A".repeat(4_000)}`,
      ]) {
        t.ok(
          [400, 401, undefined].includes(await status("GET /acme/private/HEAD", odd)),
          odd.slice(0, 40),
        );
      }
      t.equal(
        await status(`GET /acme/private/HEAD?access_token=${owner}&token=${owner}`),
        401,
        "an address is no place for a token",
      );
    });

    await t.test("services, methods and preflights", async (t) => {
      const twice = await send(
        stage,
        "GET /acme/public/info/refs?service=git-upload-pack&service=git-receive-pack",
        [bearer(stranger)],
      );
      t.match(
        [twice?.status, twice?.headers.get("content-type")],
        [200, "application/x-git-upload-pack-advertisement"],
      );
      t.equal(
        await status(
          "GET /acme/public/info/refs?service=git-receive-pack&service=git-upload-pack",
          bearer(stranger),
        ),
        403,
      );
      for (const place of ["private", "none"]) {
        for (const file of ["HEAD", "info/refs?service=git-upload-pack", ""]) {
          const reply = await send(stage, `HEAD /acme/${place}/${file}`, []);
          t.match(
            [reply?.status, reply?.headers.get("www-authenticate")],
            [401, /^Basic/],
            `HEAD of ${place}/${file}`,
          );
          t.equal(await status(`HEAD /acme/${place}/${file}`, bearer(stranger)), 404);
        }
        const preflight = await send(stage, `OPTIONS /acme/${place}/git-upload-pack`, [
          "Origin: https://app.example",
          "Access-Control-Request-Method: POST",
        ]);
        t.match(
          [
            preflight?.status,
            preflight?.headers.get("access-control-allow-origin"),
            preflight?.headers.get("access-control-allow-credentials"),
          ],
          [204, "https://app.example", undefined],
          `preflight of ${place}`,
        );
        for (const origin of [
          "https://evil.example",
          "null",
          "https://app.example.evil.example",
          "http://app.example",
        ]) {
          const foreign = await send(stage, `OPTIONS /acme/${place}/git-upload-pack`, [
            `Origin: ${origin}`,
            "Access-Control-Request-Method: POST",
          ]);
          t.match(
            [foreign?.status, foreign?.headers.get("access-control-allow-origin")],
            [405, undefined],
            `${origin} and ${place}`,
          );
        }
      }
      const form = await send(
        stage,
        "POST /acme/public/git-receive-pack",
        ["Origin: https://evil.example", "Content-Type: text/plain", bearer(owner)],
        "0000",
      );
      t.equal(form?.status, 415, "what a page may send without asking is taken for no push");
      for (const method of ["PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "get"]) {
        const reply = await status(`${method} /acme/public/HEAD`, bearer(stranger));
        t.ok(reply === undefined || (reply >= 400 && reply < 502), `${method}: ${reply}`);
      }
    });

    await t.test(
      "links of LFS: another repository's objects, and links that were made for something else",
      async (t) => {
        const batch = async (
          name: string,
          operation: string,
          token: string,
          object: object = OBJECT,
        ) => {
          const reply = await fetch(`${server.url}/${name}.git/info/lfs/objects/batch`, {
            method: "POST",
            headers: { "Content-Type": MEDIA, Authorization: `Bearer ${token}` },
            body: JSON.stringify({ operation, objects: [object] }),
          });
          const { objects = [] } = (await reply.json()) as {
            objects?: { actions?: Record<string, { href: string }>; error?: { code: number } }[];
          };
          return {
            status: reply.status,
            error: objects[0]?.error?.code,
            href: (action: string) => objects[0]?.actions?.[action]?.href ?? "",
          };
        };
        const put = async (href: string, content: Uint8Array) =>
          (await fetch(href, { method: "PUT", body: Buffer.from(content) })).status;
        t.equal(
          await put((await batch("acme/private", "upload", owner)).href("upload"), CONTENT),
          200,
        );
        t.equal((await batch("acme/private", "download", stranger)).status, 404);
        t.equal(
          (await batch("eve/own", "download", stranger)).error,
          404,
          "who knows an oid has not got it",
        );
        const theirs = (await batch("eve/own", "upload", stranger)).href("upload");
        t.equal(
          await put(theirs, Buffer.alloc(CONTENT.length, "x")),
          400,
          "and cannot claim it with other bytes",
        );
        t.equal((await batch("eve/own", "download", stranger)).error, 404);
        const status = async (href: string) => (await fetch(href)).status;
        for (const [what, href] of [
          ["an upload's link, to read", theirs],
          ["an upload's link, for acme's", theirs.replace("/eve/own", "/acme/private")],
          ["the same by another spelling", theirs.replace("/eve/own", "/models/acme/private")],
          [
            "with a path that climbs",
            theirs.replace("/eve/own.git", "/eve/own.git/%2e%2e/%2e%2e/acme/private.git"),
          ],
          ["with two proofs", `${theirs}&proof=9999999999-${"a".repeat(32)}-${"a".repeat(64)}`],
          ["with a proof of nothing", theirs.replace(/proof=.*/, "proof=")],
        ] as const)
          t.ok([400, 403].includes(await status(href)), what);
        const good = (await batch("acme/private", "download", owner)).href("download");
        t.equal(await status(good), 200);
        t.equal(
          await status(good.replace("/acme/private", "/eve/own")),
          403,
          "acme's link in eve's repository",
        );
        t.equal(await put(good, CONTENT), 403, "a download's link, to write");
        t.equal(await status(good.replace(OBJECT.oid, "b".repeat(64))), 403, "another object");
        t.equal(
          await status(good.replace(`/${OBJECT.size}?`, `/${OBJECT.size + 1}?`)),
          403,
          "another size",
        );
        const [ends = "", ...rest] = new URL(good).searchParams.get("proof")?.split("-") ?? [];
        t.equal(
          await status(
            good.replace(/proof=.*/, `proof=${[Number(ends) + 1_000, ...rest].join("-")}`),
          ),
          403,
          "a longer life",
        );
      },
    );

    await t.test(
      "nobody's megabytes are read before it is known that he may send them",
      async (t) => {
        const answer = async (method: string, path: string, ...headers: readonly string[]) => {
          const client = new RawClient(server.port).send(
            `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n${headers.map((header) => `${header}\r\n`).join("")}\r\n{"operation":`,
          );
          const reply = await Promise.race([
            client.response(),
            new Promise<undefined>((resolve) => setTimeout(resolve, 20_000, undefined)),
          ]);
          client.close();
          return reply?.status;
        };
        const [json, push] = [
          `Content-Type: ${MEDIA}`,
          "Content-Type: application/x-git-receive-pack-request",
        ];
        t.equal(await answer("POST", "/acme/private.git/info/lfs/objects/batch", json), 401);
        t.equal(await answer("POST", "/acme/none.git/info/lfs/objects/batch", json), 401);
        t.equal(
          await answer(
            "POST",
            "/acme/public.git/info/lfs/objects/batch",
            json,
            bearer(`lpk_${"z".repeat(32)}`),
          ),
          401,
        );
        t.equal(await answer("POST", "/acme/private.git/git-receive-pack", push), 401);
        t.equal(
          await answer("POST", "/acme/public.git/git-receive-pack", push, bearer(stranger)),
          403,
        );
        t.equal(
          await answer("PUT", `/acme/private.git/info/lfs/objects/${OBJECT.oid}/4000000?proof=x`),
          403,
        );
        t.equal(await answer("POST", "/api/lakefs/webhook"), 404);
        const long = JSON.stringify({ oid: OBJECT.oid, size: 1, more: "x".repeat(10_000) });
        t.equal(
          (
            await send(
              stage,
              "POST /acme/private.git/info/lfs/objects/verify?proof=x",
              [json],
              long,
            )
          )?.status,
          413,
        );
      },
    );

    await t.test(
      "nothing of a secret stays: a token in a path, and the socket for commands",
      async (t) => {
        await send(stage, `GET /${owner}/model.git/HEAD`, []);
        await send(stage, `GET /acme/private/HEAD?proof=17-${"a".repeat(32)}`, [bearer(owner)]);
        t.ok(await logShows(server, /"path":"\/…\/model\.git\/HEAD"/));
        t.notMatch(server.log(), /lpk_[a-z2-7]{32}/);
        t.equal(
          (await stat(join(server.data, "control.sock"))).mode & 0o777,
          0o600,
          "for its owner only",
        );
      },
    );
  });
}
