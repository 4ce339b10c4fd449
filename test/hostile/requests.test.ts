/**
 * URLs, headers and bodies no client sends, on both front ends: a 4xx with a short plain body or a
 * closed connection, and the next request works.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { commit, git, startLakepack } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { RawClient, type RawResponse } from "../support/raw-client.js";

const URLS = [
  "/ns%2ftarget.git/info/refs?service=git-upload-pack",
  "/ns%2Ftarget.git/HEAD",
  "/ns/..%2ftarget.git/HEAD",
  "/../ns/target.git/HEAD",
  "/ns/../../etc/passwd",
  "/ns/target.git/../../../etc/passwd",
  "/%2e%2e/ns/target.git/HEAD",
  "/ns/%2e/target.git/HEAD",
  "/./ns/target.git/HEAD",
  "/ns/tar%00get.git/HEAD",
  "/ns/target.git%00/HEAD",
  "/ns/target.git/HEAD%0a",
  "/ns\\target.git/HEAD",
  "/ns%5ctarget.git/HEAD",
  "/ns/target.git/HEAD%",
  "/ns/target.git/HEAD%zz",
  "/ns/target.git/%c3%28",
  "/ns/.git/HEAD",
  "/ns/target.lock.git/HEAD",
  "/-x/target.git/HEAD",
  "/ns/target.git/objects/info/packs",
  "/ns/target.git/objects/pack/../../manifest",
  "/ns/target.git/manifest",
  "/ns/target.git/git/manifest",
  "/ns/target.git/config",
  "/ns/target.git/info/refs?service=git-upload-archive",
  "/ns/target.git/info/refs?service=git-upload-pack%00",
  "/ns/target.git/info/refs?service=",
  `/${"a".repeat(3_000)}/target.git/HEAD`,
  `/ns/target.git/${"x/".repeat(1_000)}`,
];

const NAMES = "0014command=ls-refs\n0000";
const head = (method: string, url: string, headers = "") =>
  `${method} ${url} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`;
const upload = (headers: string, body = "") =>
  `${head("POST", "/ns/target.git/git-upload-pack", `Content-Type: application/x-git-upload-pack-request\r\nGit-Protocol: version=2\r\n${headers}`)}${body}`;

/** Bytes of one request each; none of them may reach a conversation as something it is not. */
const REQUESTS: readonly (readonly [string, string])[] = [
  ["two lengths", upload(`Content-Length: 24\r\nContent-Length: 5\r\n`, NAMES)],
  ["one length, twice in a list", upload(`Content-Length: 24, 5\r\n`, NAMES)],
  [
    "a length beside chunks",
    upload(`Content-Length: 24\r\nTransfer-Encoding: chunked\r\n`, `18\r\n${NAMES}\r\n0\r\n\r\n`),
  ],
  [
    "chunks beside a length",
    upload(`Transfer-Encoding: chunked\r\nContent-Length: 24\r\n`, `18\r\n${NAMES}\r\n0\r\n\r\n`),
  ],
  ["a negative length", upload("Content-Length: -5\r\n", NAMES)],
  ["a length with a sign", upload("Content-Length: +24\r\n", NAMES)],
  ["a length in hex", upload("Content-Length: 0x18\r\n", NAMES)],
  ["a length of forty digits", upload(`Content-Length: ${"9".repeat(40)}\r\n`, NAMES)],
  ["a coding nobody knows", upload("Transfer-Encoding: gzip\r\n", NAMES)],
  [
    "chunked, twice",
    upload("Transfer-Encoding: chunked, chunked\r\n", `18\r\n${NAMES}\r\n0\r\n\r\n`),
  ],
  [
    "a chunk size that is no number",
    upload("Transfer-Encoding: chunked\r\n", `xyz\r\n${NAMES}\r\n0\r\n\r\n`),
  ],
  [
    "a chunk size of forty digits",
    upload("Transfer-Encoding: chunked\r\n", `${"f".repeat(40)}\r\n${NAMES}\r\n0\r\n\r\n`),
  ],
  [
    "a chunk longer than it says",
    upload("Transfer-Encoding: chunked\r\n", `5\r\n${NAMES}\r\n0\r\n\r\n`),
  ],
  [
    "a space before the colon",
    `POST /ns/target.git/git-upload-pack HTTP/1.1\r\nHost : localhost\r\nContent-Length: 0\r\n\r\n`,
  ],
  ["no Host", "GET /ns/target.git/HEAD HTTP/1.1\r\n\r\n"],
  ["no version", "GET /ns/target.git/HEAD\r\n\r\n"],
  ["another version", "GET /ns/target.git/HEAD HTTP/9.9\r\nHost: localhost\r\n\r\n"],
  ["no request at all", "hello\r\n\r\n"],
  ["TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
  ["a NUL in a header", head("GET", "/ns/target.git/HEAD", "X: a\0b\r\n")],
  ["a header without a colon", head("GET", "/ns/target.git/HEAD", "nonsense\r\n")],
  ["too many bytes of headers", head("GET", "/ns/target.git/HEAD", `X: ${"a".repeat(20_000)}\r\n`)],
  ["a thousand headers", head("GET", "/ns/target.git/HEAD", "X-Some: value\r\n".repeat(3_000))],
  ["a method nobody knows", head("BREW", "/ns/target.git/HEAD")],
  [
    "a body that is a type we do not take",
    head(
      "POST",
      "/ns/target.git/git-upload-pack",
      "Content-Type: text/plain\r\nContent-Length: 0\r\n",
    ),
  ],
  ["an encoding we do not take", upload("Content-Encoding: br\r\nContent-Length: 24\r\n", NAMES)],
  ["two encodings", upload("Content-Encoding: gzip, gzip\r\nContent-Length: 24\r\n", NAMES)],
  [
    "a protocol of nonsense",
    head(
      "POST",
      "/ns/target.git/git-upload-pack",
      "Content-Type: application/x-git-upload-pack-request\r\nGit-Protocol: version=99\r\nContent-Length: 4\r\n",
    ) + "0003",
  ],
];

/**
 * Returns the answer within five seconds of the last byte; undefined: the connection was closed, or
 * nothing was said.
 */
async function answerTo(client: RawClient): Promise<RawResponse | undefined> {
  return Promise.race([client.response().catch(() => undefined), sleep(5_000, undefined)]);
}

for (const kind of ["uws", "node"]) {
  t.test(kind, { timeout: 300_000 }, async (t) => {
    const lakepack = await startLakepack(t, { args: ["--transport", kind] });
    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", work]);
    await commit(work, "first", { "a.txt": "a\n" });
    const url = `${lakepack.url}/ns/target.git`;
    await git(["push", "-q", url, "main"], { cwd: work });
    const before = await git(["ls-remote", url]);

    for (const path of URLS) {
      const client = new RawClient(lakepack.port).send(head("GET", path));
      const reply = await answerTo(client);
      const body = reply?.body.toString() ?? "";
      t.ok(
        reply === undefined ? client.ended : reply.status >= 400 && reply.status < 500,
        `${path.slice(0, 60)}: ${reply?.status}`,
      );
      t.ok(
        body.length < 1_000 && !body.includes(lakepack.data) && !/at .*\.js:/.test(body),
        `${path.slice(0, 60)}: a short body that tells nothing of us`,
      );
      if (!client.ended && reply?.whole)
        t.equal(
          (await client.send(head("GET", "/healthz")).response()).status,
          200,
          "and the connection goes on",
        );
      client.close();
    }

    const answers = await Promise.all(
      REQUESTS.map(async ([name, bytes]) => {
        const client = new RawClient(lakepack.port).send(bytes);
        const reply = await answerTo(client);
        const ended = client.ended;
        client.close();
        return { name, reply, ended };
      }),
    );
    for (const { name, reply, ended } of answers) {
      const says = reply?.body.toString("latin1") ?? "";
      const told =
        reply !== undefined && ((reply.status >= 400 && reply.status < 506) || /ERR ./.test(says));
      // Nothing said and nothing closed: the front end waits for the rest of what it takes for a
      // request, within its time for headers.
      t.ok(
        told || reply === undefined,
        `${name}: ${reply?.status ?? (ended ? "closed" : "waits")} ${says.slice(0, 60)}`,
      );
      t.notOk(reply?.status === 200 && says === "", `${name}: never an empty 200`);
      t.notMatch(says, /refs\/heads\/main/, `${name}: not answered as something else`);
    }
    t.equal(await git(["ls-remote", url]), before, "others are served");
    t.same(await readdir(join(lakepack.data, "incoming")), []);
  });

  t.test(
    `${kind}: idle connections and slow headers are ended, and keep nobody out`,
    { timeout: 120_000 },
    async (t) => {
      const lakepack = await startLakepack(t, { args: ["--transport", kind] });
      const idle = Array.from({ length: 200 }, () => new RawClient(lakepack.port));
      const slow = Array.from({ length: 50 }, () =>
        new RawClient(lakepack.port).send("GET /healthz HTTP/1.1\r\nHost: loc"),
      );
      const drip = setInterval(() => {
        for (const client of slow) client.send("x");
      }, 2_000);
      t.teardown(() => {
        clearInterval(drip);
        for (const client of [...idle, ...slow]) client.close();
      });
      await sleep(500);
      const started = performance.now();
      const client = new RawClient(lakepack.port).send(head("GET", "/healthz"));
      t.equal((await client.response()).status, 200);
      t.ok(performance.now() - started < 5_000, "others are answered at once");
      client.close();
      const open = () => [
        idle.filter((one) => !one.ended).length,
        slow.filter((one) => !one.ended).length,
      ];
      for (let waited = 0; waited < 90 && open().some((count) => count > 0); waited++)
        await sleep(1_000);
      t.same(open(), [0, 0], "none is kept for ever");
    },
  );
}
