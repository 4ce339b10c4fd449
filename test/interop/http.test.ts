/** The HTTP table of a Git server, request by request, beside what `git http-backend` answers. */
import { randomBytes } from "node:crypto";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import t, { type Test } from "tap";
import { loadTransport } from "../../src/transport/load.js";
import { PacketReader } from "../../src/wire/pkt-line.js";
import { RawClient, type RawResponse, rawRequest } from "../support/raw-client.js";
import {
  checkFsck,
  commit,
  git,
  type Lakepack,
  makeSample,
  objectSet,
  remoteRefs,
  startLakepack,
  startStock,
  stockRepository,
  tryGit,
} from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";

const UPLOAD = "application/x-git-upload-pack-request";
const RECEIVE = "application/x-git-receive-pack-request";
const ZERO = "0".repeat(40);

interface Ask {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
  readonly chunked?: boolean;
}

function requestBytes(
  path: string,
  { method = "GET", headers = {}, body, chunked = false }: Ask,
): Buffer {
  const bytes = body === undefined ? undefined : Buffer.from(body as string, "latin1");
  const length =
    bytes === undefined
      ? {}
      : chunked
        ? { "Transfer-Encoding": "chunked" }
        : { "Content-Length": String(bytes.length) };
  const head = Object.entries({ Host: "localhost", ...headers, ...length })
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("");
  const start = Buffer.from(`${method} ${path} HTTP/1.1\r\n${head}\r\n`, "latin1");
  if (bytes === undefined) return start;
  return chunked
    ? Buffer.concat([
        start,
        Buffer.from(`${bytes.length.toString(16)}\r\n`),
        bytes,
        Buffer.from("\r\n0\r\n\r\n"),
      ])
    : Buffer.concat([start, bytes]);
}

function ask(port: number, path: string, options: Ask = {}): Promise<RawResponse> {
  return rawRequest(port, requestBytes(path, options), options.method);
}

/** A pkt-line, or a special packet by its digits. */
function pkt(text: string): string {
  return /^000[0-2]$/.test(text) ? text : (text.length + 4).toString(16).padStart(4, "0") + text;
}

const pkts = (...texts: string[]) => texts.map(pkt).join("");

async function startBoth(t: Test, kind: string) {
  const sample = await makeSample(t);
  const lakepack = await startLakepack(t, { args: ["--transport", kind] });
  t.equal(lakepack.kind, kind);
  await git(["push", "-q", "--mirror", `${lakepack.url}/ns/sample.git`], { cwd: sample });
  const stock = await startStock(t);
  await stockRepository(stock, "ns/sample", sample);
  const head = await git(["rev-parse", "HEAD"], { cwd: sample });
  return { sample, lakepack, stock, head };
}

/**
 * Returns the part of an answer that must be the same as stock git's. Of HEAD it says nothing about
 * caching; we say that refs move.
 */
function shape({ status, headers, body }: RawResponse) {
  const git = headers.get("content-type")?.startsWith("application/x-git-") === true;
  return {
    status,
    type: git ? headers.get("content-type") : undefined,
    ...(git && status < 400
      ? {
          expires: headers.get("expires"),
          pragma: headers.get("pragma"),
          cache: headers.get("cache-control"),
        }
      : {}),
    allow: status === 405 ? headers.get("allow") : undefined,
    empty: status === 200 && body.length === 0,
  };
}

/** Ref lines without capabilities, and what stands before them. */
function refLines(body: Buffer): string[] {
  const reader = new PacketReader();
  const found: string[] = [];
  reader.push(body);
  for (let next = reader.next(); next !== undefined; next = reader.next())
    found.push(
      next.kind === "data"
        ? Buffer.from(next.payload)
            .toString("latin1")
            .replace(/\0.*\n$|\n$/s, "")
        : next.kind,
    );
  reader.finish();
  return found;
}

for (const kind of ["uws", "node"] as const) {
  if ((await loadTransport(kind).catch(() => undefined)) === undefined) {
    t.pass(`${kind} skipped`, { skip: "uWebSockets.js does not load on this machine" });
    continue;
  }

  t.test(
    `${kind}: the same statuses and headers as http-backend`,
    { timeout: 60_000 },
    async (t) => {
      const { lakepack, stock, head } = await startBoth(t, kind);
      const repo = "/ns/sample.git";
      const cases: readonly (readonly [string, Ask])[] = [
        [`${repo}/info/refs?service=git-upload-pack`, {}],
        [`${repo}/info/refs?service=git-receive-pack`, {}],
        [`${repo}/info/refs?service=git-upload-pack`, { method: "HEAD" }],
        [
          `${repo}/info/refs?service=git-upload-pack`,
          { method: "POST", headers: { "Content-Type": UPLOAD }, body: "" },
        ],
        [`${repo}/info/refs?service=git-upload-archive`, {}],
        [`${repo}/info/refs?service=nonsense`, {}],
        [`${repo}/HEAD`, {}],
        [`${repo}/HEAD`, { method: "POST", body: "" }],
        [`${repo}/git-upload-pack`, {}],
        [
          `${repo}/git-upload-pack`,
          { method: "POST", headers: { "Content-Type": UPLOAD }, body: "0000" },
        ],
        [
          `${repo}/git-receive-pack`,
          { method: "POST", headers: { "Content-Type": RECEIVE }, body: "0000" },
        ],
        [`${repo}/git-upload-pack`, { method: "POST", body: "0000" }],
        [
          `${repo}/git-upload-pack`,
          { method: "POST", headers: { "Content-Type": RECEIVE }, body: "0000" },
        ],
        [
          `${repo}/git-receive-pack`,
          { method: "POST", headers: { "Content-Type": `${RECEIVE}; x=y` }, body: "0000" },
        ],
        [
          `${repo}/git-upload-pack`,
          {
            method: "POST",
            headers: { "Content-Type": UPLOAD },
            body: pkts(`want ${head} side-band-64k\n`, "0000", "done\n"),
          },
        ],
        [
          `${repo}/git-upload-pack`,
          {
            method: "POST",
            headers: { "Content-Type": UPLOAD, "Git-Protocol": "version=2" },
            body: pkts("command=ls-refs\n", "0000"),
          },
        ],
        ["/ns/none.git/info/refs?service=git-upload-pack", {}],
        [
          "/ns/none.git/git-upload-pack",
          { method: "POST", headers: { "Content-Type": UPLOAD }, body: "0000" },
        ],
        ["/ns/none.git/HEAD", {}],
        [`${repo}/nonsense`, {}],
      ];
      for (const [path, options] of cases) {
        const name = `${options.method ?? "GET"} ${path} ${options.headers?.["Content-Type"] ?? ""}`;
        t.same(
          shape(await ask(lakepack.port, path, options)),
          shape(await ask(stock.port, path, options)),
          name,
        );
      }
    },
  );

  t.test(
    `${kind}: the same refs as http-backend, in every version and for both services`,
    { timeout: 60_000 },
    async (t) => {
      const { lakepack, stock } = await startBoth(t, kind);
      for (const service of ["git-upload-pack", "git-receive-pack"])
        for (const protocol of [undefined, "version=1", "version=2", "foo:version=1"]) {
          if (service === "git-upload-pack" && protocol === "version=2") continue; // capabilities only, see fetch-v2
          const headers: Record<string, string> =
            protocol === undefined ? {} : { "Git-Protocol": protocol };
          const [ours, theirs] = await Promise.all(
            [lakepack.port, stock.port].map((port) =>
              ask(port, `/ns/sample.git/info/refs?service=${service}`, { headers }),
            ),
          );
          t.same(
            refLines(ours?.body ?? Buffer.alloc(0)),
            refLines(theirs?.body ?? Buffer.alloc(0)),
            `${service} ${protocol}`,
          );
        }
      const listing = {
        method: "POST",
        headers: { "Content-Type": UPLOAD, "Git-Protocol": "version=2" },
        body: pkts(
          "command=ls-refs\n",
          "object-format=sha1",
          "0001",
          "peel\n",
          "symrefs\n",
          "0000",
        ),
      };
      const [ours, theirs] = await Promise.all(
        [lakepack.port, stock.port].map((port) =>
          ask(port, "/ns/sample.git/git-upload-pack", listing),
        ),
      );
      t.equal(
        ours?.body.toString("latin1"),
        theirs?.body.toString("latin1"),
        "ls-refs, byte for byte",
      );
      t.same(
        await remoteRefs(`${lakepack.url}/ns/sample.git`, 2),
        await remoteRefs(`${stock.url}/ns/sample.git`, 2),
      );
    },
  );

  t.test(`${kind}: small replies carry Content-Length`, { timeout: 60_000 }, async (t) => {
    const { lakepack, head } = await startBoth(t, kind);
    const replies = await Promise.all([
      ask(lakepack.port, "/ns/sample.git/info/refs?service=git-upload-pack"),
      ask(lakepack.port, "/ns/sample.git/git-upload-pack", {
        method: "POST",
        headers: { "Content-Type": UPLOAD, "Git-Protocol": "version=2" },
        body: pkts("command=ls-refs\n", "0000"),
      }),
      ask(lakepack.port, "/ns/sample.git/git-upload-pack", {
        method: "POST",
        headers: { "Content-Type": UPLOAD },
        body: pkts(`want ${head} side-band-64k\n`, "deepen 1", "0000", "done\n"),
      }),
      ask(lakepack.port, "/ns/sample.git/git-receive-pack", {
        method: "POST",
        headers: { "Content-Type": RECEIVE },
        body: pkts(`${head} ${ZERO} refs/heads/side\0report-status`, "0000"),
      }),
      ask(lakepack.port, "/ns/none.git/HEAD"),
    ]);
    for (const [at, reply] of replies.entries()) {
      t.equal(reply.headers.get("content-length"), String(reply.body.length), `reply ${at}`);
      t.ok(reply.body.length > 0, `reply ${at} says something`);
    }
  });

  t.test(
    `${kind}: bodies plain, gzip, x-gzip, by length and in chunks, on both services`,
    { timeout: 60_000 },
    async (t) => {
      const { lakepack, head } = await startBoth(t, kind);
      const fetch = pkts(`want ${head}\n`, "deepen 1", "0000", "done\n");
      const plain = (
        await ask(lakepack.port, "/ns/sample.git/git-upload-pack", {
          method: "POST",
          headers: { "Content-Type": UPLOAD },
          body: fetch,
        })
      ).body;
      t.match(plain.toString("latin1"), /PACK/);
      let branch = 0;
      for (const encoding of ["", "gzip", "x-gzip"])
        for (const chunked of [false, true]) {
          const name = `${encoding || "plain"} ${chunked ? "chunked" : "by length"}`;
          const pack = (text: string) =>
            encoding === "" ? Buffer.from(text, "latin1") : gzipSync(Buffer.from(text, "latin1"));
          const headers = (type: string): Record<string, string> => ({
            "Content-Type": type,
            ...(encoding === "" ? {} : { "Content-Encoding": encoding }),
          });
          const fetched = await ask(lakepack.port, "/ns/sample.git/git-upload-pack", {
            method: "POST",
            headers: headers(UPLOAD),
            body: pack(fetch).toString("latin1"),
            chunked,
          });
          t.ok(fetched.body.equals(plain), `fetch ${name}`);
          // An existing object under a new name: the pack is an empty one.
          const empty =
            "PACK\0\0\0\x02\0\0\0\0\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e";
          const push = `${pkts(`${ZERO} ${head} refs/heads/made-${branch++}\0report-status`, "0000")}${empty}`;
          const pushed = await ask(lakepack.port, "/ns/sample.git/git-receive-pack", {
            method: "POST",
            headers: headers(RECEIVE),
            body: pack(push).toString("latin1"),
            chunked,
          });
          t.match(pushed.body.toString(), /unpack ok\n.*ok refs\/heads\/made-/s, `push ${name}`);
        }
    },
  );

  t.test(
    `${kind}: a large push probes, then sends chunks; Expect: 100-continue too`,
    { timeout: 90_000 },
    async (t) => {
      const lakepack = await startLakepack(t, { args: ["--transport", kind] });
      const work = join(await tempFolder(t), "work");
      await git(["init", "-q", work]);
      for (const [name, config] of [
        ["probe", "http.postBuffer=65536"],
        ["expect", "http.extraHeader=Expect: 100-continue"],
      ] as const) {
        await writeFile(join(work, "blob.bin"), randomBytes(3_000_000));
        await commit(work, name, {});
        await git(
          ["-c", config, "push", "-q", `${lakepack.url}/ns/large.git`, `HEAD:refs/heads/${name}`],
          { cwd: work },
        );
      }
      const copy = join(await tempFolder(t), "copy");
      await git(["clone", "-q", `${lakepack.url}/ns/large.git`, copy, "-b", "expect"]);
      await checkFsck(t, copy);
      t.same(await objectSet(copy), await objectSet(work));
    },
  );

  t.test(`${kind}: a malformed request never gets an empty 200`, { timeout: 60_000 }, async (t) => {
    const { lakepack, head } = await startBoth(t, kind);
    const v2 = (...lines: string[]) => ({
      protocol: "version=2",
      service: "upload",
      body: pkts(...lines),
    });
    const v0 = (body: string) => ({ protocol: "version=0", service: "upload", body });
    const push = (body: string) => ({ protocol: "version=0", service: "receive", body });
    const want = `want ${head}\n`;
    const cases = [
      v2("command=ls-refs\n", "0001", "0001", "0000"),
      v2("0001", "0000"),
      v2("command=nonsense\n", "0000"),
      v2("command=ls-refs\n", "command=fetch\n", "0000"),
      v2("command=ls-refs\n", "object-format=sha256", "0000"),
      v2("command=ls-refs\n", "made-up\n", "0000"),
      v2("command=ls-refs\n", "0001", "nonsense\n", "0000"),
      v2("command=fetch\n", "0001", "want nonsense\n", "0000"),
      v2("command=fetch\n", "0001", `want ${"1".repeat(40)}\n`, "done\n", "0000"),
      v2("command=fetch\n", "0001", want, "deepen -1\n", "done\n", "0000"),
      v2("command=fetch\n", "0001", want, "deepen 1\n", "deepen-since 5\n", "done\n", "0000"),
      v2("command=fetch\n", "0001", want, "filter nonsense\n", "done\n", "0000"),
      v2("command=fetch\n", "0001", want, "packfile-uris https\n", "done\n", "0000"),
      v2("command=fetch\n", "0001", "want-ref refs/heads/none\n", "done\n", "0000"),
      v2("command=fetch\n", "0001", want, "done\n"),
      v2("command=fetch\n", "0002"),
      v0(want),
      v0("want"),
      v0(pkts("want nonsense\n", "0000", "done\n")),
      v0(pkts(want, "nonsense\n", "0000", "done\n")),
      v0(pkts(`have ${head}\n`, "0000")),
      v0(pkts(want, "0000", "nonsense\n")),
      v0(pkts(want, "0000", "have x\n", "done\n")),
      v0(pkts(`want ${"1".repeat(40)}\n`, "0000", "done\n")),
      v0(pkts(want, "deepen x\n", "0000", "done\n")),
      v0(pkts(want, "filter x\n", "0000", "done\n")),
      v0("0003"),
      v0("zzzz"),
      v0("fff1"),
      v0("00"),
      v0("0032want"),
      v0(pkts(want, "0001", "done\n")),
      v0(pkts(`want ${head} object-format=sha256\n`, "0000", "done\n")),
      push("0003"),
      push("hello world"),
      push(pkts("nonsense", "0000")),
      push(pkts(`${ZERO} ${head}`, "0000")),
      push(pkts(`${ZERO} ${head} refs/heads/x\0report-status`, "0000")),
      push(
        `${pkts(`${ZERO} ${head} refs/heads/x\0report-status`, "0000")}nonsense that is no pack at all`,
      ),
      push(pkts("push-cert\0report-status", "0000")),
      push(pkts(`${ZERO} ${head} refs/heads/x\0report-status object-format=sha256`, "0000")),
      push(pkts(`${ZERO} ${head} refs/heads/x\0report-status`)),
    ];
    for (const { protocol, service, body } of cases) {
      const type = service === "upload" ? UPLOAD : RECEIVE;
      const reply = await ask(lakepack.port, `/ns/sample.git/git-${service}-pack`, {
        method: "POST",
        headers: { "Content-Type": type, "Git-Protocol": protocol },
        body,
      });
      const says = reply.body.toString("latin1");
      const told =
        (reply.status >= 400 && reply.status < 500) ||
        /ERR .+|unpack (?!ok)|ng refs|\x03.+/.test(says);
      t.ok(
        told,
        `${service} ${JSON.stringify(body.slice(0, 80))}: ${reply.status} ${JSON.stringify(says.slice(0, 120))}`,
      );
    }
    const good = await ask(lakepack.port, "/ns/sample.git/git-upload-pack", {
      method: "POST",
      headers: { "Content-Type": UPLOAD },
      body: pkts(want, "0000", "done\n"),
    });
    t.match(
      good.body.subarray(0, 12).toString("latin1"),
      "0008NAK\nPACK",
      "and a good one still works",
    );
  });

  t.test(`${kind}: a push that breaks off leaves nothing`, { timeout: 60_000 }, async (t) => {
    const { lakepack, sample, head } = await startBoth(t, kind);
    const before = await remoteRefs(`${lakepack.url}/ns/sample.git`);
    const pack = (
      await tryGit(["pack-objects", "--stdout", "--revs"], { cwd: sample, input: "HEAD\n" })
    ).stdoutBytes;
    const commands = Buffer.from(
      pkts(`${ZERO} ${head} refs/heads/broken\0report-status side-band-64k`, "0000"),
      "latin1",
    );
    const body = Buffer.concat([commands, pack]);
    for (const length of [
      10,
      commands.length,
      commands.length + 5,
      commands.length + 40,
      body.length - 21,
      body.length - 1,
    ]) {
      const client = new RawClient(lakepack.port).send(
        requestBytes("/ns/sample.git/git-receive-pack", {
          method: "POST",
          headers: { "Content-Type": RECEIVE },
          body: body.toString("latin1"),
        }).subarray(0, -(body.length - length)),
      );
      await new Promise((resolve) => setTimeout(resolve, 120));
      client.close();
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
    t.same(await remoteRefs(`${lakepack.url}/ns/sample.git`), before);
    t.same(await incoming(lakepack), [], "no folder of theirs is left");
    const whole = await ask(lakepack.port, "/ns/sample.git/git-receive-pack", {
      method: "POST",
      headers: { "Content-Type": RECEIVE },
      body: body.toString("latin1"),
    });
    t.match(
      whole.body.toString("latin1"),
      /unpack ok.*ok refs\/heads\/broken/s,
      "the whole of it lands",
    );
  });
}

async function incoming(lakepack: Lakepack): Promise<string[]> {
  return readdir(join(lakepack.data, "incoming"));
}
