/**
 * Requests that keep a Git server busy for ever or fill its memory, tried on a real process: it
 * answers, frees everything, and serves others.
 */
import { readdirSync, readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import t, { type Test } from "tap";
import {
  commit,
  git,
  type Lakepack,
  remoteRefs,
  startLakepack,
  tryGit,
} from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { pkts } from "../support/raw-fetch.js";
import { RawClient, type RawResponse } from "../support/raw-client.js";
import { EMPTY_PACK, parseReport } from "../support/raw-push.js";

const ZERO = "0".repeat(40);
const MIB = 1024 * 1024;
const onLinux = process.platform === "linux" ? false : "reads /proc";

/** Open descriptors, resident bytes and CPU milliseconds of the server. */
function figures({ pid }: Lakepack) {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  const rss = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return {
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    rss: Number(rss) * 1024,
    cpuMs: (Number(stat[11]) + Number(stat[12])) * 10,
  };
}

async function server(t: Test) {
  const lakepack = await startLakepack(t);
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  for (let at = 0; at < 20; at++)
    await commit(work, `change ${at}`, { "data.txt": `${at}\n`.repeat(5_000) });
  const url = `${lakepack.url}/ns/target.git`;
  await git(["push", "-q", url, "main"], { cwd: work });
  return { lakepack, work, url, tip: await git(["rev-parse", "main"], { cwd: work }) };
}

function head(service: "upload" | "receive", length: number, extra = ""): string {
  return `POST /ns/target.git/git-${service}-pack HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-git-${service}-pack-request\r\nContent-Length: ${length}\r\n${extra}\r\n`;
}

async function post(
  lakepack: Lakepack,
  service: "upload" | "receive",
  body: Uint8Array,
  extra = "",
): Promise<RawResponse> {
  const client = new RawClient(lakepack.port).send(head(service, body.length, extra)).send(body);
  return client.response().finally(() => client.close());
}

t.test(
  "60 uploads that break off free descriptors, folders and memory, and burn nothing",
  { skip: onLinux, timeout: 60_000 },
  async (t) => {
    const { lakepack, work, tip, url } = await server(t);
    const pack = (
      await tryGit(["pack-objects", "--stdout", "--revs", "--no-reuse-delta"], {
        cwd: work,
        input: "main\n",
      })
    ).stdoutBytes;
    const body = Buffer.concat([
      Buffer.from(`${pkts(`${ZERO} ${tip} refs/heads/never`)}0000`),
      pack,
    ]);
    await sleep(500);
    const before = figures(lakepack);
    await Promise.all(
      Array.from({ length: 60 }, async (_, at) => {
        const client = new RawClient(lakepack.port)
          .send(head("receive", body.length + 1_000_000))
          .send(body.subarray(0, Math.floor((body.length * at) / 60)));
        await sleep(100 + 5 * at);
        if (at % 2 === 0) client.socket.end();
        else client.socket.resetAndDestroy();
        await sleep(50);
        client.close();
      }),
    );
    await sleep(1_500);
    const after = figures(lakepack);
    t.ok(
      after.descriptors <= before.descriptors + 8,
      `${before.descriptors} descriptors before, ${after.descriptors} after`,
    );
    t.ok(
      after.rss - before.rss < 200 * MIB,
      `grew by ${Math.round((after.rss - before.rss) / MIB)} MiB`,
    );
    t.same(await readdir(join(lakepack.data, "incoming")), []);
    const idle = figures(lakepack).cpuMs;
    await sleep(1_000);
    t.ok(figures(lakepack).cpuMs - idle < 300, "nothing goes on working for them");
    t.notOk((await remoteRefs(url)).some((line) => line.includes("never")));
  },
);

t.test("30 pushes that drip do not keep others waiting", { timeout: 60_000 }, async (t) => {
  const { lakepack, url } = await server(t);
  const dripping = Array.from({ length: 30 }, () =>
    new RawClient(lakepack.port)
      .send(head("receive", 1_000_000))
      .send(`${pkts(`${ZERO} ${"1".repeat(40)} refs/heads/x`)}0000PACK`),
  );
  const drip = setInterval(() => {
    for (const client of dripping) client.send("\0");
  }, 100);
  t.teardown(() => clearInterval(drip));
  await sleep(500);
  for (let at = 0; at < 3; at++) {
    const started = performance.now();
    await git(["clone", "-q", "--bare", url, join(await tempFolder(t), "copy.git")]);
    t.ok(
      performance.now() - started < 5_000,
      `a clone in ${Math.round(performance.now() - started)} ms`,
    );
  }
  clearInterval(drip);
  for (const client of dripping) client.close();
});

t.test(
  "floods of lines in little gzip are refused, soon and in bounded memory",
  { skip: onLinux, timeout: 120_000 },
  async (t) => {
    const { lakepack, tip, url } = await server(t);
    const before = figures(lakepack).rss;
    const gzip = "Content-Encoding: gzip\r\n";
    const v2 = `${gzip}Git-Protocol: version=2\r\n`;
    const have = `0032have ${"1".repeat(40)}\n`;
    const command = pkts(`${ZERO} ${tip} refs/heads/one-of-very-many-names`);
    const cases: readonly (readonly [string, "upload" | "receive", string, string])[] = [
      [
        "a million haves, version 2",
        "upload",
        v2,
        `${pkts("command=fetch", "0001", `want ${tip}`)}${have.repeat(1_000_000)}0009done\n0000`,
      ],
      [
        "a million haves, version 0",
        "upload",
        gzip,
        `${pkts(`want ${tip}`, "0000")}${have.repeat(1_000_000)}0009done\n`,
      ],
      ["a million wants", "upload", gzip, `${`0032want ${tip}\n`.repeat(1_000_000)}00000009done\n`],
      [
        "a million prefixes",
        "upload",
        v2,
        `${pkts("command=ls-refs", "0001")}${pkts("ref-prefix refs/heads/").repeat(1_000_000)}0000`,
      ],
      ["a million commands", "receive", gzip, `${command.repeat(1_000_000)}0000`],
      ["empty packets", "receive", gzip, "0004".repeat(8_000_000)],
    ];
    for (const [name, service, extra, text] of cases) {
      const started = performance.now();
      const reply = await post(
        lakepack,
        service,
        gzipSync(Buffer.from(text, "latin1"), { level: 1 }),
        extra,
      );
      const told = reply.status >= 400 || /ERR|unpack (?!ok)/.test(reply.body.toString("latin1"));
      t.ok(
        told && performance.now() - started < 10_000,
        `${name}: ${reply.status} ${reply.body.toString("latin1").slice(0, 60).trim()} after ${Math.round(performance.now() - started)} ms`,
      );
    }
    t.ok(
      figures(lakepack).rss - before < 400 * MIB,
      `grew by ${Math.round((figures(lakepack).rss - before) / MIB)} MiB`,
    );
    t.equal((await remoteRefs(url)).length, 2, "and serves on");
  },
);

t.test(
  "100,000 stale commands in one push are all answered, in time",
  { timeout: 120_000 },
  async (t) => {
    const { lakepack, tip } = await server(t);
    const lines = Array.from(
      { length: 100_000 },
      (_, at) =>
        `${"2".repeat(40)} ${tip} refs/heads/stale-${at}${at === 0 ? "\0report-status" : ""}`,
    );
    const started = performance.now();
    const reply = await post(
      lakepack,
      "receive",
      gzipSync(Buffer.concat([Buffer.from(`${pkts(...lines)}0000`, "latin1"), EMPTY_PACK]), {
        level: 1,
      }),
      "Content-Encoding: gzip\r\n",
    );
    const { unpack, refs } = parseReport(reply.body);
    t.same([reply.status, unpack, refs.length], [200, "ok", 100_000]);
    const refusal = /^ng refs\/heads\/stale-\d+ ./;
    t.same(refs.filter((line) => !refusal.test(line)).slice(0, 3), [], "each with its reason");
    t.equal(new Set(refs).size, 100_000, "each its own");
    t.ok(
      performance.now() - started < 30_000,
      `after ${Math.round(performance.now() - started)} ms`,
    );
  },
);
