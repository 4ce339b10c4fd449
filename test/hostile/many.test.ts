/** 100,000 of everything in one request: linear in time, bounded in memory, doubles folded. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import t, { type Test } from "tap";
import { commit, git, type Lakepack, startLakepack } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { pkts } from "../support/raw-fetch.js";
import { command, EMPTY_PACK } from "../support/raw-push.js";
import { RawClient } from "../support/raw-client.js";

const MANY = 100_000;
const MIB = 1024 * 1024;
const ZERO = "0".repeat(40);
const onLinux = process.platform === "linux" ? false : "reads /proc";

const rss = ({ pid }: Lakepack) =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
const oid = (at: number) => at.toString(16).padStart(40, "e");
const lines = (count: number, line: (at: number) => string) =>
  Array.from({ length: count }, (_, at) => line(at));

async function started(t: Test) {
  const lakepack = await startLakepack(t);
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  const tip = await commit(work, "first", { "a.txt": "a\n" });
  await git(["push", "-q", `${lakepack.url}/ns/target.git`, "main"], { cwd: work });
  return { lakepack, tip, url: `${lakepack.url}/ns/target.git` };
}

/** Milliseconds it took, and what was said. */
async function post(
  { port }: Lakepack,
  service: string,
  body: string | Uint8Array,
  headers = "",
): Promise<{ ms: number; status: number; text: string }> {
  const bytes = gzipSync(typeof body === "string" ? Buffer.from(body, "latin1") : body, {
    level: 1,
  });
  const from = performance.now();
  const client = new RawClient(port).send(
    `POST /ns/target.git/git-${service} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-git-${service}-request\r\nContent-Encoding: gzip\r\n${headers}Content-Length: ${bytes.length}\r\n\r\n`,
  );
  const reply = await client
    .send(bytes)
    .response()
    .finally(() => client.close());
  return {
    ms: performance.now() - from,
    status: reply.status,
    text: reply.body.toString("latin1"),
  };
}

const V2 = "Git-Protocol: version=2\r\n";

t.test("wants, haves, shallows and prefixes", { skip: onLinux, timeout: 300_000 }, async (t) => {
  const { lakepack, tip } = await started(t);
  const before = rss(lakepack);
  const cases: readonly (readonly [string, (count: number) => string, string, RegExp])[] = [
    [
      "unknown haves, v2",
      (n) =>
        pkts(
          "command=fetch",
          "0001",
          `want ${tip}`,
          ...lines(n, (at) => `have ${oid(at)}`),
          "done",
          "0000",
        ),
      V2,
      /PACK/,
    ],
    [
      "one have again and again, v2",
      (n) => pkts("command=fetch", "0001", `want ${tip}`, ...lines(n, () => `have ${tip}`), "0000"),
      V2,
      /^....acknowledgments\n(....ACK [0-9a-f]{40}\n){1}/,
    ],
    [
      "one want again and again, v2",
      (n) => pkts("command=fetch", "0001", ...lines(n, () => `want ${tip}`), "done", "0000"),
      V2,
      /PACK/,
    ],
    [
      "wants nobody has, v2",
      (n) => pkts("command=fetch", "0001", ...lines(n, (at) => `want ${oid(at)}`), "done", "0000"),
      V2,
      /ERR .*not our ref/,
    ],
    [
      "shallows, v2",
      (n) =>
        pkts(
          "command=fetch",
          "0001",
          `want ${tip}`,
          ...lines(n, (at) => `shallow ${oid(at)}`),
          "deepen 1",
          "done",
          "0000",
        ),
      V2,
      /PACK|ERR/,
    ],
    [
      "unknown haves, v0",
      (n) =>
        pkts(
          `want ${tip} multi_ack_detailed side-band-64k`,
          "0000",
          ...lines(n, (at) => `have ${oid(at)}`),
          "done",
        ),
      "",
      /PACK/,
    ],
    [
      "one have again and again, v0",
      (n) =>
        pkts(
          `want ${tip} multi_ack_detailed side-band-64k`,
          "0000",
          ...lines(n, () => `have ${tip}`),
          "done",
        ),
      "",
      /PACK/,
    ],
    [
      "one want again and again, v0",
      (n) =>
        `${pkts(`want ${tip} side-band-64k`, ...lines(n, () => `want ${tip}`), "0000", "done")}`,
      "",
      /PACK/,
    ],
    [
      "prefixes that match nothing",
      (n) =>
        pkts("command=ls-refs", "0001", ...lines(n, (at) => `ref-prefix refs/none/${at}`), "0000"),
      V2,
      /^0000$|refs\/heads/,
    ],
    [
      "object-info",
      (n) => pkts("command=object-info", "0001", "size", ...lines(n, () => `oid ${tip}`), "0000"),
      V2,
      /size/,
    ],
  ];
  for (const [name, body, headers, says] of cases) {
    await post(lakepack, "upload-pack", body(100), headers); // warms what is measured
    const some = await post(lakepack, "upload-pack", body(MANY / 10), headers);
    const all = await post(lakepack, "upload-pack", body(MANY), headers);
    t.match(all.text.slice(0, 200_000), says, `${name}: ${all.status} ${all.text.slice(0, 80)}`);
    t.ok(
      all.ms < 20 * some.ms + 2_000,
      `${name}: ${Math.round(some.ms)} ms for 10,000, ${Math.round(all.ms)} ms for 100,000`,
    );
    t.ok(all.text.length < 30 * MIB, `${name}: the answer is bounded`);
  }
  t.ok(
    rss(lakepack) - before < 400 * MIB,
    `grew by ${Math.round((rss(lakepack) - before) / MIB)} MiB`,
  );
});

t.test(
  "commands: creates, doubles, deletes, and a repository of 100,000 refs",
  { skip: onLinux, timeout: 400_000 },
  async (t) => {
    const { lakepack, tip, url } = await started(t);
    const before = rss(lakepack);
    const push = (texts: readonly string[], pack = true) =>
      Buffer.concat([
        Buffer.from(`${texts.join("")}0000`, "latin1"),
        pack ? EMPTY_PACK : Buffer.alloc(0),
      ]);
    const caps = (at: number) => (at === 0 ? "report-status delete-refs" : undefined);
    const doubles = await post(
      lakepack,
      "receive-pack",
      push(lines(MANY, (at) => command(ZERO, tip, "refs/heads/same", caps(at)))),
    );
    t.match(
      doubles.text.slice(0, 500),
      /ng refs\/heads\/same |ERR /,
      `one ref 100,000 times: ${Math.round(doubles.ms)} ms`,
    );
    t.ok(doubles.ms < 30_000);
    const some = await post(
      lakepack,
      "receive-pack",
      push(lines(MANY / 10, (at) => command(ZERO, tip, `refs/tags/some-${at}`, caps(at)))),
    );
    t.equal(some.text.split("ok refs/tags/").length - 1, MANY / 10);
    const all = await post(
      lakepack,
      "receive-pack",
      push(lines(MANY, (at) => command(ZERO, tip, `refs/tags/many-${at}`, caps(at)))),
    );
    t.equal(
      all.text.split("ok refs/tags/").length - 1,
      MANY,
      `100,000 created: ${Math.round(some.ms)} ms for 10,000, ${Math.round(all.ms)} ms for 100,000`,
    );
    t.ok(all.ms < 20 * some.ms + 5_000);
    const listed = await git(["ls-remote", "--tags", url]);
    t.equal(listed.split("\n").length, MANY + MANY / 10);
    const clone = join(await tempFolder(t), "copy.git");
    await git(["init", "-q", "--bare", clone]);
    // Not all of them: stock git takes a minute to write as many refs.
    await git(["fetch", "-q", "--no-tags", url, `refs/tags/many-${MANY - 1}:refs/tags/last`], {
      cwd: clone,
    });
    const gone = await post(
      lakepack,
      "receive-pack",
      push(
        lines(MANY, (at) => command(tip, ZERO, `refs/tags/many-${at}`, caps(at))),
        false,
      ),
    );
    t.equal(
      gone.text.split("ok refs/tags/").length - 1,
      MANY,
      `and deleted: ${Math.round(gone.ms)} ms`,
    );
    t.ok(
      rss(lakepack) - before < 600 * MIB,
      `grew by ${Math.round((rss(lakepack) - before) / MIB)} MiB`,
    );
  },
);
