/**
 * Fetches when something is not as it should be: who may have what, busy servers, failures on the
 * way, clients that go.
 */
import { createHash } from "node:crypto";
import { chmodSync, readdirSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { Fault } from "../../src/base/fault.js";
import { type ByteSink, sleep } from "../../src/base/flow.js";
import { LIMITS } from "../../src/base/limits.js";
import { CachedPack } from "../../src/odb/pack-objects/cached-pack.js";
import {
  type PackNews,
  type PackStream,
  StoredPackStream,
} from "../../src/odb/pack-objects/pack-stream.js";
import { fatalPacket, sendPack } from "../../src/serve/fetch/pack-reply.js";
import { tell } from "../../src/serve/conversation/request-record.js";
import { checkFsck, commit, git, objectSet, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { seeded } from "../support/random.js";
import { type FetchServer, startFetchServer } from "../support/fetch-server.js";
import { makeHistory, toBare } from "../support/scratch-history.js";
import { packFigures, post, request, takeApart, textLines } from "../support/scripted-client.js";

const history = makeHistory(t);

const wantsOne = (oid: string) => [
  "command=fetch",
  "delim",
  `want ${oid}`,
  "ofs-delta",
  "done",
  "flush",
];

async function firstLine(url: string, oid: string): Promise<string> {
  return textLines((await post(url, 2, wantsOne(oid))).bytes).lines[0] ?? "";
}

const made = (server: FetchServer) =>
  server.log.filter(({ event }) => event === "pack made").length;

t.test("version 2 gives what refs reach, and nothing else that is stored", async (t) => {
  const work = join(await tempFolder(t), "work");
  await git(["clone", "-q", await history, work]);
  const gone = await commit(work, "to be dropped", { "secret.txt": "secret\n" });
  const secret = await git(["rev-parse", "HEAD:secret.txt"], { cwd: work });
  const kept = await git(["rev-parse", "HEAD~3:README.md"], { cwd: work });
  const bare = await toBare(t, work);
  const server = await startFetchServer(t);
  const url = `${server.url}/ns/r.git`;
  await server.serve("ns/r", bare);
  for (const oid of [gone, secret, kept, `${await git(["rev-parse", "HEAD~5"], { cwd: work })}`])
    t.equal(await firstLine(url, oid), "packfile");
  await git(["update-ref", "refs/heads/main", `${gone}~1`], { cwd: bare });
  await server.serve("ns/r", bare); // the objects are still in the pack
  for (const oid of [gone, secret])
    t.equal(await firstLine(url, oid), `ERR upload-pack: not our ref ${oid}`);
  t.equal(await firstLine(url, kept), "packfile");
  const open = await startFetchServer(t, { allowAnyWant: true });
  await open.serve("ns/r", bare);
  t.equal(await firstLine(`${open.url}/ns/r.git`, gone), "packfile", "unless a setting says so");
  t.match(await firstLine(`${open.url}/ns/r.git`, "12".repeat(20)), /not our ref/);
});

t.test("tips are looked up; everything else is found once for a state of the refs", async (t) => {
  const server = await startFetchServer(t);
  await server.serve("ns/r", await history);
  const url = `${server.url}/ns/r.git`;
  const before = server.pool.figures().completed;
  const bare = await history;
  for (const name of ["main~2", "main~6", "main:a", "main:README.md", "side~1"])
    t.equal(await firstLine(url, await git(["rev-parse", name], { cwd: bare })), "packfile");
  t.equal(
    server.pool.figures().completed - before,
    1 + 5 + 1,
    "one task for all five, one pack each, and the stored pack hashed once",
  );
});

t.test(
  "an identical request is answered from the file, others at the same time share one generation",
  async (t) => {
    const server = await startFetchServer(t);
    await server.serve("ns/r", await history);
    const main = await git(["rev-parse", "main"], { cwd: await history });
    const url = `${server.url}/ns/r.git`;
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => post(url, 2, wantsOne(main))),
    );
    const digests = new Set(
      answers.map(({ bytes }) => createHash("sha1").update(takeApart(bytes).pack).digest("hex")),
    );
    t.equal(digests.size, 1);
    t.equal(made(server), 1);
    await post(url, 0, [`want ${main} ofs-delta`, "flush", "done"]);
    t.equal(made(server), 1, "the same pack for another version");
    await post(url, 0, [`want ${main}`, "flush", "done"]);
    t.equal(made(server), 2, "another for who reads no distances");
  },
);

t.test("a stored pack that is exactly what is asked for goes out as it lies", async (t) => {
  const bare = await history;
  const server = await startFetchServer(t);
  const tips = (await git(["for-each-ref", "--format=%(objectname)"], { cwd: bare })).split("\n");
  await server.serve("ns/r", bare, { selfContained: true, tips: [...new Set(tips)].sort() });
  const copy = join(await tempFolder(t), "copy");
  for (const version of [0, 2] as const) {
    await git(["clone", "-q", "--mirror", `${server.url}/ns/r.git`, `${copy}${version}`], {
      version,
    });
    t.same(await objectSet(`${copy}${version}`), await objectSet(bare));
    await checkFsck(t, `${copy}${version}`);
  }
  t.equal(server.cache.figures.generated, 0, "nothing was made");
  const [stored] = readdirSync(join(bare, "objects/pack")).filter((name) => name.endsWith(".pack"));
  const wants = [...new Set(tips)].map((oid) => `want ${oid}`);
  const { pack } = takeApart(
    (
      await post(`${server.url}/ns/r.git`, 2, [
        "command=fetch",
        "delim",
        ...wants,
        "ofs-delta",
        "done",
        "flush",
      ])
    ).bytes,
  );
  t.equal(stored, `pack-${Buffer.from(pack.subarray(-20)).toString("hex")}.pack`);
  for (const line of ["deepen 2", "filter blob:limit=1g", `have ${tips[0]}`])
    await post(`${server.url}/ns/r.git`, 2, [
      "command=fetch",
      "delim",
      ...wants,
      "ofs-delta",
      line,
      "done",
      "flush",
    ]);
  t.equal(server.cache.figures.generated, 3, "a depth, a filter, a have: each is made");
  await post(`${server.url}/ns/r.git`, 2, [
    "command=fetch",
    "delim",
    wants[0] as string,
    "ofs-delta",
    "done",
    "flush",
  ]);
  t.equal(server.cache.figures.generated, 4, "not all tips: made");
});

t.test("a busy server answers 503 before any work", async (t) => {
  const server = await startFetchServer(t, { threads: 1, queueMax: 0 });
  await server.serve("ns/r", await history);
  const main = await git(["rev-parse", "main"], { cwd: await history });
  const url = `${server.url}/ns/r.git`;
  const statuses = await Promise.all(
    Array.from({ length: 6 }, (_, at) =>
      post(url, 2, ["command=fetch", "delim", `want ${main}`, `deepen ${at + 1}`, "done", "flush"]),
    ),
  );
  t.ok(statuses.some(({ status }) => status === 200));
  t.ok(
    statuses.some(({ status }) => status === 503),
    statuses.map(({ status }) => status).join(" "),
  );
  t.ok(statuses.every(({ status }) => status === 200 || status === 503));
});

t.test("a damaged pack ends a fetch with the reason, never with a shorter answer", async (t) => {
  const bare = join(await tempFolder(t), "bare.git");
  await git(["clone", "-q", "--mirror", "--no-local", await history, bare]);
  const server = await startFetchServer(t);
  await server.serve("ns/r", bare);
  const [name = ""] = readdirSync(join(bare, "objects/pack")).filter((each) =>
    each.endsWith(".pack"),
  );
  const path = join(bare, "objects/pack", name);
  chmodSync(path, 0o644);
  truncateSync(path, Math.floor(statSync(path).size / 2));
  for (const version of [0, 2] as const) {
    const run = await tryGit(
      ["clone", "-q", "--mirror", `${server.url}/ns/r.git`, join(await tempFolder(t), "copy")],
      { version },
    );
    t.not(run.code, 0);
    t.match(run.stderr, /a stored file is damaged/);
  }
  t.same(
    server.ended.flatMap(({ failure }) => (failure === undefined ? [] : [(failure as Fault).code])),
    ["odb/damaged", "odb/damaged"],
    "the log hears of it",
  );
});

t.test("a client that goes stops the work nobody else waits for", async (t) => {
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  const lines: string[] = [];
  for (let at = 1; at <= 20_000; at++) {
    lines.push(
      "commit refs/heads/main",
      `mark :${at}`,
      `committer C <c@example.com> ${1_600_000_000 + at} +0000`,
      "data 1",
      "c",
    );
    if (at > 1) lines.push(`from :${at - 1}`);
    lines.push(`M 100644 inline d${at % 100}/f${at % 97}`, `data ${String(at).length}`, String(at));
  }
  await git(["fast-import", "--quiet"], { cwd: work, input: `${lines.join("\n")}\n` });
  const server = await startFetchServer(t);
  await server.serve("ns/r", await toBare(t, work));
  const main = await git(["rev-parse", "main"], { cwd: work });
  const body = request(["command=fetch", "delim", `want ${main}`, "done", "flush"]).toString(
    "latin1",
  );
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  socket.write(
    `POST /ns/r.git/git-upload-pack HTTP/1.1\r\nHost: localhost\r\nGit-Protocol: version=2\r\nContent-Type: application/x-git-upload-pack-request\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  await until(() => server.cache.figures.generated === 1);
  socket.destroy();
  await until(() => server.cache.count === 0, "the generation is given up");
  t.equal(made(server), 0, "it never came to its end");
  t.equal(
    await firstLine(`${server.url}/ns/r.git`, main),
    "packfile",
    "the next client gets its pack",
  );
});

async function until(holds: () => boolean, what = "something"): Promise<void> {
  for (let waited = 0; !holds(); waited += 5) {
    if (waited > 10_000) throw new Error(`waited too long for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A stream that says what the test says. */
class ScriptedStream implements PackStream {
  news: PackNews = { found: 0, plan: undefined, objects: 0, bytes: 0, whole: false };
  readonly #steps: (() => Promise<string>)[];

  constructor(...steps: (() => Promise<string>)[]) {
    this.#steps = steps;
  }

  async read(views: readonly Uint8Array[]): Promise<number> {
    const text = (await this.#steps.shift()?.()) ?? "";
    (views[0] as Uint8Array).set(Buffer.from(text, "latin1"));
    return text.length;
  }

  failure(): Fault | undefined {
    return undefined;
  }

  async close(): Promise<void> {}
}

function collector(): ByteSink & { text(): string } {
  const parts: Buffer[] = [];
  return {
    write: async (bytes) => void parts.push(Buffer.from(bytes)),
    text: () => Buffer.concat(parts).toString("latin1"),
  };
}

const HEAD = "PACK\0\0\0\x02\0\0\0\x07";

t.test("progress while a pack is made, keep-alives when there is none", async (t) => {
  const output = collector();
  const stream = new ScriptedStream(
    async () => {
      stream.news = { ...stream.news, found: 5 };
      // As long as it takes on a busy machine, and a little longer: there must be no second one.
      for (
        let waitedMs = 0;
        waitedMs < 3 * LIMITS.keepAliveMs && !output.text().includes("0005\x01");
        waitedMs += LIMITS.progressMs
      )
        await sleep(LIMITS.progressMs);
      await sleep(3 * LIMITS.progressMs);
      return HEAD;
    },
    async () => "more",
  );
  const signal = new AbortController().signal;
  const sent = await sendPack(stream, { mode: "side-band-64k", quiet: false, output, signal });
  t.same(sent, { bytes: 16, objects: 7 });
  const text = output.text();
  t.match(text, /Enumerating objects: 5\r/);
  t.equal(text.split("0005\x01").length, 2, "one sign of life in five seconds");
  t.ok(text.indexOf("0005\x01") < text.indexOf("PACK"));
  t.ok(text.endsWith("0000"));
  const quiet = collector();
  await sendPack(new ScriptedStream(async () => HEAD), {
    mode: "side-band",
    quiet: true,
    output: quiet,
    signal,
  });
  t.equal(quiet.text(), `0011\x01${HEAD}0000`);
  const raw = collector();
  await sendPack(new ScriptedStream(async () => HEAD), {
    mode: "none",
    quiet: false,
    output: raw,
    signal,
  });
  t.equal(raw.text(), HEAD);
});

t.test("a whole pack says how long the reply will be, to the byte", async (t) => {
  const signal = new AbortController().signal;
  const path = join(await tempFolder(t), "pack");
  for (const mode of ["none", "side-band", "side-band-64k"] as const)
    for (const quiet of [true, false])
      for (const bytes of [300_000, 1_048_240, 3_000_001]) {
        writeFileSync(
          path,
          Buffer.concat([Buffer.from(HEAD, "latin1"), Buffer.alloc(bytes - HEAD.length, 7)]),
        );
        // A stored pack knows its objects, one of the cache does not.
        for (const stream of [
          await StoredPackStream.open({ path, bytes, objectCount: 7, checksum: "" }),
          CachedPack.stored(path, bytes).join() as PackStream,
        ]) {
          let written = 0;
          const announced: (number | "large")[] = [];
          const output: ByteSink = {
            write: async ({ length }) => {
              written += length;
            },
            expect: (total) => void announced.push(total === "large" ? total : written + total),
          };
          await sendPack(stream, { mode, quiet, notices: ["hello"], output, signal });
          await stream.close();
          t.same(announced, [written], `${mode} ${quiet} ${bytes}`);
        }
      }
});

for (const transport of ["uws", "node"] as const)
  t.test(
    `${transport}: a cached pack that loses its end while it leaves: the reason, and never a reply that looks whole`,
    (t) => losesItsEnd(t, transport),
  );

async function losesItsEnd(t: Test, transport: "uws" | "node"): Promise<void> {
  const server = await startFetchServer(t, { transport });
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  writeFileSync(join(work, "noise.bin"), Buffer.alloc(20_000_000, seeded(3).bytes(1_000_000))); // zlib sees 32 KiB back
  await commit(work, "one", { "README.md": "noise\n" });
  await server.serve("ns/r", await toBare(t, work));
  const main = await git(["rev-parse", "HEAD"], { cwd: work });
  const url = `${server.url}/ns/r.git`;
  await post(url, 2, wantsOne(main));
  const body = request(wantsOne(main)).toString("latin1");
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  t.teardown(() => socket.destroy());
  const received: Buffer[] = [];
  socket.once("data", () => {
    socket.pause(); // the server can send no more than the system holds
    const cached = readdirSync(server.cacheFolder, { recursive: true, encoding: "utf8" }).map(
      (name) => join(server.cacheFolder, name),
    );
    for (const file of cached)
      if (statSync(file).isFile() && statSync(file).size > 19_000_000)
        truncateSync(file, 19_000_000);
    setTimeout(() => socket.resume(), 200);
  });
  socket.on("data", (piece: Buffer) => void received.push(piece));
  socket.write(
    `POST /ns/r.git/git-upload-pack HTTP/1.1\r\nHost: localhost\r\nGit-Protocol: version=2\r\nContent-Type: application/x-git-upload-pack-request\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  await new Promise<void>((resolve) =>
    socket.on("close", () => resolve()).on("error", () => resolve()),
  );
  const reply = Buffer.concat(received);
  const head = reply.subarray(0, reply.indexOf("\r\n\r\n") + 4).toString("latin1");
  const announced = Number(/content-length: (\d+)/i.exec(head)?.[1]);
  t.ok(announced > 20_000_000, head);
  t.ok(reply.length - head.length < announced, "it is seen to be cut");
  t.match(reply.subarray(-300).toString("latin1"), /\x03lakepack: a stored file is damaged/);
}

t.test("a failure's last words go to band 3 on one line", async (t) => {
  const failed: Fault[] = [];
  const words = tell(
    { id: "r1", failed: (fault) => void failed.push(fault), note: () => undefined },
    new Fault("odb/damaged", { pack: "x\ny" }),
  );
  const text = Buffer.from(fatalPacket("side-band-64k", words)).toString("latin1");
  t.match(
    text,
    /^[0-9a-f]{4}\x03lakepack: a stored file is damaged: pack-x y\.pack; run: lakepack verify \(request r1\)\n$/,
  );
  t.match(failed, [{ code: "odb/damaged" }], "who is told that something failed is not told alone");
  t.equal(fatalPacket("none", words).length, 0);
});

t.test("a thousand refs and a pack of one blob", async (t: Test) => {
  const bare = join(await tempFolder(t), "bare.git");
  await git(["clone", "-q", "--mirror", await history, bare]);
  const main = await git(["rev-parse", "main"], { cwd: bare });
  const updates = Array.from(
    { length: 1_000 },
    (_, at) => `create refs/heads/many/${at} ${main}`,
  ).join("\n");
  await git(["update-ref", "--stdin"], { cwd: bare, input: `${updates}\n` });
  const server = await startFetchServer(t);
  await server.serve("ns/r", bare);
  for (const version of [0, 2] as const) {
    const copy = join(await tempFolder(t), "copy");
    await git(["clone", "-q", "--mirror", `${server.url}/ns/r.git`, copy], { version });
    t.equal(
      (await git(["for-each-ref"], { cwd: copy })).split("\n").length,
      (await git(["for-each-ref"], { cwd: bare })).split("\n").length,
    );
  }
  const blob = await git(["rev-parse", "main:README.md"], { cwd: bare });
  const { pack } = takeApart((await post(`${server.url}/ns/r.git`, 2, wantsOne(blob))).bytes);
  t.equal(packFigures(pack, bare).objects, 1);
});
