/** `lakepack pool` on a server that works, and how a server ends. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { frontEnds } from "../support/everyday.js";
import { commit, git, type Lakepack, startLakepack, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { RawClient, type RawResponse, rawRequest } from "../support/raw-client.js";
import { lakepack as run } from "../support/lakepack-command.js";

async function withHistory(t: Test, server: Lakepack): Promise<{ work: string; url: string }> {
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  for (let at = 0; at < 30; at++)
    await commit(work, `change ${at}`, {
      "data.txt": `${at} line\n`.repeat(20_000),
      [`file-${at}.txt`]: `${at}`,
    });
  const url = `${server.url}/ns/one.git`;
  await git(["push", "-q", url, "main"], { cwd: work });
  return { work, url };
}

const get = (port: number, path: string): Promise<RawResponse> =>
  rawRequest(port, `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);

t.test(
  "shown and changed while clones and pushes run, of which none fails",
  { timeout: 300_000 },
  async (t) => {
    const server = await startLakepack(t, { args: ["--pool-threads", "2", "--pool-queue", "200"] });
    const { work, url } = await withHistory(t, server);
    const at = ["--data", server.data] as const;
    t.match(await run(["pool", "show", ...at]), {
      code: 0,
      out: /^threads 2, \d+ busy\nqueue 200, \d+ waiting\ntasks done \d+\nthreads replaced 0\n$/,
    });
    const folder = await tempFolder(t);
    const clones = Array.from({ length: 8 }, (_, n) =>
      tryGit(["clone", "-q", "--bare", `--depth=${n + 2}`, url, join(folder, `${n}.git`)]),
    );
    const pushes = Array.from({ length: 4 }, (_, n) =>
      tryGit(["push", "-q", `${server.url}/ns/copy-${n}.git`, "main"], { cwd: work }),
    );
    for (const [threads, queue] of [
      ["5", "100"],
      ["1", "150"],
      ["3", "300"],
    ] as const) {
      const set = await run([
        "pool",
        "set",
        "--threads",
        threads,
        "--queue",
        queue,
        "--json",
        ...at,
      ]);
      t.match(JSON.parse(set.out), { threads: Number(threads), queue: Number(queue) }, set.err);
    }
    for (const { code, stderr } of await Promise.all([...clones, ...pushes]))
      t.equal(code, 0, stderr);
    t.match(
      JSON.parse((await run(["pool", "set", "--queue", "7", "--json", ...at])).out),
      { threads: 3, queue: 7, running: 0, waiting: 0 },
      "what is left out stays",
    );
    t.match((await get(server.port, "/metrics")).body.toString(), /^lakepack_pool_threads 3$/m);
  },
);

t.test("without a server, and wrong usage", { timeout: 60_000 }, async (t) => {
  const data = join(await tempFolder(t), "data");
  t.match(await run(["pool", "show", "--data", data]), {
    code: 1,
    err: /no server runs on this data folder/,
  });
  for (const words of [
    ["set", "--threads", "0"],
    ["set", "--threads", "1000"],
    ["set", "--queue", "x"],
    ["set"],
    ["nonsense"],
  ])
    t.equal((await run(["pool", ...words, "--data", data])).code, 2, words.join(" "));
});

t.test(
  "SIGTERM: first not ready and serving, then no new requests while those that run end",
  { timeout: 120_000 },
  async (t) => {
    for (const kind of frontEnds) {
      const server = await startLakepack(t, {
        args: ["--transport", kind],
        env: { LAKEPACK_DRAIN_SECONDS: "3600" },
      });
      const { url } = await withHistory(t, server);
      t.equal((await get(server.port, "/readyz")).status, 200);
      const kept = new RawClient(server.port).send(
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
      );
      t.equal((await kept.response()).status, 200);

      process.kill(server.pid, "SIGTERM");
      const draining = async () => (await get(server.port, "/readyz")).body.toString();
      for (let look = 0; look < 200 && (await draining()) === "ready\n"; look++) await sleep(20);
      t.equal(await draining(), "not ready: draining\n");
      t.equal((await get(server.port, "/healthz")).status, 200);
      t.equal(
        (await tryGit(["clone", "-q", "--bare", url, join(await tempFolder(t), "copy.git")])).code,
        0,
        "a clone is served",
      );
      t.match(await run(["pool", "show", "--data", server.data]), { code: 0 }, "commands too");

      // A request that runs: its body is not all there.
      const slow = new RawClient(server.port).send(
        "POST /ns/one.git/git-upload-pack HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-git-upload-pack-request\r\nGit-Protocol: version=2\r\nContent-Length: 24\r\n\r\n",
      );
      kept.send(
        "POST /ns/one.git/git-upload-pack HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-git-upload-pack-request\r\nGit-Protocol: version=2\r\nContent-Length: 24\r\n\r\n",
      );
      await sleep(1_000); // both have to arrive before the doors close, on a busy machine too
      process.kill(server.pid, "SIGTERM");
      for (let look = 0; look < 200 && !/stopping: no new requests/.test(server.log()); look++)
        await sleep(20);
      await t.rejects(get(server.port, "/healthz"), "nobody is let in any more");
      kept.send("0014command=ls-refs\n0000");
      t.equal((await kept.response()).status, 200, "what ran ends as ever");
      if (!kept.ended) {
        kept.send("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        const ready = await kept.response().catch(() => undefined); // node:http may close it with its last reply
        if (ready !== undefined)
          t.same([ready.status, ready.body.toString()], [503, "not ready: stopping\n"]);
      }
      kept.send(
        "GET /ns/one.git/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: localhost\r\n\r\n",
      );
      const late = await kept.response().catch(() => undefined);
      if (late !== undefined)
        t.match(
          [late.status, late.headers.get("retry-after")],
          [503, /\d/],
          "a new one on a kept connection is sent elsewhere",
        );
      slow.send("0014command=ls-refs\n0000");
      t.equal((await slow.response()).status, 200);
      slow.close();
      kept.close();
      await server.stop();
      t.match(server.log(), /draining.*\n(.*\n)*.*stopping/, kind);
    }
  },
);
