/**
 * Thousands of requests that no client sends, each valid one with every line and every field of it
 * wrong in turn (mutations.ts), on both front ends: each is told what is wrong in words or answered
 * like what it happens to be, never with nothing, never with a failure of ours; its connection
 * stays in step; what stock Git refuses is refused; no ref comes to be that stock Git would not
 * have made; nothing is left behind.
 *
 * A part is sent and stock Git is asked about a part of those; with LAKEPACK_TEST_ALL=1 all are
 * sent, and Git is asked about all: minutes.
 */
import { readdirSync, readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { frontEnds } from "../support/everyday.js";
import { commit, git, type Lakepack, startLakepack, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { RawClient, type RawResponse } from "../support/raw-client.js";
import { type Attempt, mutationsOf, validRequests } from "../support/mutations.js";

const ALL = process.env["LAKEPACK_TEST_ALL"] === "1";
/** One of so many is shown to stock Git. */
const ASK_EVERY = ALL ? 1 : 17;
/** One of so many is sent: a body is read by the same code behind both front ends. */
const SEND_EVERY: Readonly<Record<string, number>> = ALL ? {} : { uws: 2, node: 9 };
const MIB = 1024 * 1024;
const onLinux = process.platform === "linux" ? false : "reads /proc";

async function source(t: Test) {
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  const parent = await commit(work, "first", { "a.txt": "a\n" });
  const tip = await commit(work, "second", { "a.txt": "b\n" });
  await git(["branch", "old", parent], { cwd: work });
  return {
    work,
    known: { tip, parent, blob: await git(["rev-parse", "HEAD:a.txt"], { cwd: work }) },
  };
}

/** Each push gets names of its own, of the same length: what one makes is in no other's way. */
function named(attempts: readonly Attempt[]): readonly Attempt[] {
  return attempts.map((attempt, at) => {
    const own = at.toString(36).padStart(4, "0");
    const text = attempt.body
      .toString("latin1")
      .replaceAll("new-a", `a${own}`)
      .replaceAll("new-b", `b${own}`);
    return { ...attempt, body: Buffer.from(text, "latin1") };
  });
}

function requestOf({ service, version, body }: Attempt): Buffer {
  const head = `POST /ns/target.git/git-${service} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-git-${service}-request\r\nGit-Protocol: version=${version}\r\nContent-Length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), body]);
}

/** Refused in words: a status, ERR, a report in which nothing is ok, or band 3. */
function isTold({ status, body }: RawResponse): boolean {
  const says = body.toString("latin1");
  if (status >= 400 && status < 500) return says.length > 0;
  return (
    /(^|0000|\n)[0-9a-f]{4}\x01?ERR ./.test(says) ||
    /^(.{4}\x01)?.{4}unpack (?!ok)./s.test(says) ||
    /[0-9a-f]{4}\x03./s.test(says) ||
    (/ng ./.test(says) && !/[0-9a-f]{4}ok refs/.test(says))
  );
}

/** The lone flush before a large request, which has nothing for an answer. */
const isProbe = ({ body }: Attempt) => body.toString("latin1") === "0000";

/**
 * Names that a push asks for without wanting to know what became of them: nothing is said where
 * they came to be.
 */
function silent({ service, body }: Attempt): readonly string[] {
  const text = body.toString("latin1");
  if (service !== "receive-pack" || /\0[^\0]*report-status/.test(text)) return [];
  return text.match(/refs\/heads\/[ab][0-9a-z]{4}/g) ?? [];
}

/** Descriptors and resident bytes of the server. */
function figures({ pid }: Lakepack) {
  const rss = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return { descriptors: readdirSync(`/proc/${pid}/fd`).length, rss: Number(rss) * 1024 };
}

/** Milliseconds its event loop's thread has worked: no other load on the machine shows there. */
function loopMs({ pid }: Lakepack): number {
  const stat =
    readFileSync(`/proc/${pid}/task/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(stat[11]) + Number(stat[12])) * 10;
}

/** Returns stock Git's verdict: it refuses, or the refs it has then. */
async function stockVerdict(
  bare: string,
  { service, version, body }: Attempt,
): Promise<"refused" | "taken"> {
  const run = await tryGit([service, "--stateless-rpc", bare], {
    input: body,
    env: { GIT_PROTOCOL: `version=${version}` },
  });
  return run.code === 0 ? "taken" : "refused";
}

async function stockRepository(t: Test, work: string): Promise<string> {
  const bare = join(await tempFolder(t), "bare.git");
  await git(["clone", "-q", "--bare", work, bare]);
  const settings = [
    "uploadpack.allowFilter",
    "uploadpack.allowRefInWant",
    "uploadpack.advertiseSidebandAll",
    "transfer.advertiseObjectInfo",
    "transfer.fsckObjects",
    "receive.advertisePushOptions",
    "uploadpack.allowAnySHA1InWant",
  ];
  for (const name of settings) await git(["config", name, "true"], { cwd: bare });
  return bare;
}

for (const kind of frontEnds) {
  t.test(kind, { skip: onLinux, timeout: 1_800_000 }, async (t) => {
    const lakepack = await startLakepack(t, { args: ["--transport", kind] });
    const { work, known } = await source(t);
    const url = `${lakepack.url}/ns/target.git`;
    await git(["push", "-q", url, "main", "old"], { cwd: work });
    const stock = await stockRepository(t, work);
    const attempts = named(validRequests(known).flatMap(mutationsOf)).filter(
      (_, at) => at % (SEND_EVERY[kind] ?? 1) === 0,
    );
    const before = figures(lakepack);
    let client = new RawClient(lakepack.port);
    let asked = 0;
    const toBeThere: string[] = [];
    for (const [at, attempt] of attempts.entries()) {
      const { name } = attempt;
      const workedMs = loopMs(lakepack);
      const reply = await Promise.race([
        client
          .send(requestOf(attempt))
          .response()
          .catch(() => undefined),
        sleep(20_000, undefined),
      ]);
      const says = reply?.body.toString("latin1") ?? "";
      const shown = `${name}: ${reply?.status} ${JSON.stringify(says.slice(0, 100))}`;
      if (reply === undefined || !reply.whole) t.fail(`${shown}: not answered`);
      else if (says.length === 0 && silent(attempt).length > 0) toBeThere.push(...silent(attempt));
      else if (says.length === 0 && !isProbe(attempt)) t.fail(`${shown}: nothing is said`);
      else if (reply.status >= 500) t.fail(`${shown}: a failure of ours`);
      const busyMs = loopMs(lakepack) - workedMs;
      if (busyMs > 250) t.fail(`${shown}: held up everybody for ${busyMs} ms`);
      if (client.ended || reply === undefined) {
        t.fail(`${shown}: the connection is not kept`);
        client.close();
        client = new RawClient(lakepack.port);
      }
      if (kind !== frontEnds[0] || at % ASK_EVERY !== 0 || reply === undefined) continue;
      asked++;
      const verdict = await stockVerdict(stock, attempt);
      if (verdict === "refused" && !isTold(reply)) t.fail(`${shown}: Git refuses it`);
    }
    t.ok(attempts.length > 600, `${attempts.length} requests, ${asked} of them shown to Git`);
    const good = await client
      .send(
        requestOf({
          name: "",
          service: "upload-pack",
          version: 2,
          body: Buffer.from("0014command=ls-refs\n0000"),
        }),
      )
      .response();
    t.match(good.body.toString(), /refs\/heads\/main/, "the connection is in step at the end");
    client.close();
    await sleep(500);
    const after = figures(lakepack);
    t.ok(
      after.descriptors <= before.descriptors + 40,
      `${before.descriptors} descriptors before, ${after.descriptors} after`,
    );
    t.ok(
      after.rss - before.rss < 300 * MIB,
      `grew by ${Math.round((after.rss - before.rss) / MIB)} MiB`,
    );
    t.same(await readdir(join(lakepack.data, "incoming")), []);
    const ours = new Set(
      (await git(["ls-remote", "--heads", url])).split("\n").map((line) => line.split("\t")[1]),
    );
    t.same(
      toBeThere.filter((ref) => !ours.has(ref)),
      [],
      `${toBeThere.length} refs of which nothing was said are there`,
    );
    if (ALL && kind === frontEnds[0]) {
      const theirs = new Set(
        (await git(["for-each-ref", "--format=%(refname)"], { cwd: stock })).split("\n"),
      );
      for (const ref of ours)
        if (ref !== undefined && !theirs.has(ref))
          t.fail(
            `${ref}: ${attempts[Number.parseInt(ref.slice(-4), 36)]?.name}: Git makes no such ref`,
          );
    }
  });
}
