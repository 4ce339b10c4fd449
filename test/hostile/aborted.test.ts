/**
 * Clients that break off at any moment, and clients that never come to an end, on both front ends:
 * no task, file, descriptor or memory is left of them, and others are served beside them nearly as
 * if they were alone.
 */
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import {
  checkFsck,
  commit,
  git,
  type Lakepack,
  startLakepack,
  tryGit,
} from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { pkts } from "../support/raw-fetch.js";
import { command } from "../support/raw-push.js";
import { seeded } from "../support/random.js";
import { RawClient, rawRequest } from "../support/raw-client.js";

const ZERO = "0".repeat(40);
const MIB = 1024 * 1024;
/**
 * A pack of nine objects, of which the first is a blob of 65,535 zeros in one stored block:
 * whatever zeros follow belong to it.
 */
const BEGINNING = "PACK\0\0\0\x02\0\0\0\x09\xbf\xff\x1f\x78\x01\0\xff\xff\0\0";
const onLinux = process.platform === "linux" ? false : "reads /proc";

async function served(t: Test, kind: string) {
  const lakepack = await startLakepack(t, { args: ["--transport", kind] });
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  for (let at = 0; at < 12; at++) {
    await writeFile(join(work, `${at}.bin`), randomBytes(700_000));
    await commit(work, `change ${at}`, { "data.txt": `${at}\n`.repeat(5_000) });
  }
  const url = `${lakepack.url}/ns/target.git`;
  await git(["push", "-q", url, "main"], { cwd: work });
  return { lakepack, work, url, tip: await git(["rev-parse", "main"], { cwd: work }) };
}

function request(service: string, length: number): string {
  return `POST /ns/target.git/git-${service} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-git-${service}-request\r\nGit-Protocol: version=2\r\nContent-Length: ${length}\r\n\r\n`;
}

/** Descriptors, and resident bytes; running tasks by the server's own word. */
async function figures({ pid, port }: Lakepack) {
  const metrics = (
    await rawRequest(port, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
  ).body.toString();
  const value = (pattern: RegExp) => Number(pattern.exec(metrics)?.[1] ?? Number.NaN);
  return {
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    rss: Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024,
    tasks:
      value(/^lakepack_pool_running(?:\{[^}]*\})? (\d+)/m) +
      value(/^lakepack_pool_queued(?:\{[^}]*\})? (\d+)/m),
  };
}

for (const kind of ["uws", "node"]) {
  t.test(
    `${kind}: 50 uploads and 50 downloads broken off at random moments`,
    { skip: onLinux, timeout: 180_000 },
    async (t) => {
      const { lakepack, work, tip, url } = await served(t, kind);
      const pack = (
        await tryGit(["pack-objects", "--stdout", "--revs", "--no-reuse-delta", "-q"], {
          cwd: work,
          input: "main\n",
        })
      ).stdoutBytes;
      const push = Buffer.concat([
        Buffer.from(
          `${command(ZERO, tip, "refs/heads/never", "report-status side-band-64k")}0000`,
          "latin1",
        ),
        pack,
      ]);
      const random = seeded(2_026);
      const fetchOf = (depth: number) =>
        pkts(
          "command=fetch",
          "0001",
          "ofs-delta",
          `want ${tip}`,
          `deepen ${depth}`,
          "done",
          "0000",
        );
      const upload = async () => {
        const sent = random.below(push.length);
        const client = new RawClient(lakepack.port)
          .send(request("receive-pack", push.length))
          .send(push.subarray(0, sent));
        await sleep(random.below(400));
        if (random.below(2) === 0) client.socket.resetAndDestroy();
        else client.close();
      };
      const download = async () => {
        const body = fetchOf(1 + random.below(12));
        const client = new RawClient(lakepack.port)
          .send(request("upload-pack", body.length))
          .send(body);
        if (random.below(2) === 0) client.socket.pause();
        await sleep(random.below(400));
        if (random.below(2) === 0) client.socket.resetAndDestroy();
        else client.close();
      };
      const round = () =>
        Promise.all(Array.from({ length: 10 }, (_, at) => (at % 2 === 0 ? upload() : download())));
      await round(); // threads, caches and connections of their own accord
      await sleep(2_000);
      const before = await figures(lakepack);
      for (let count = 0; count < 10; count++) await round();
      let after = await figures(lakepack);
      const incoming = () => readdir(join(lakepack.data, "incoming"));
      for (
        let wait = 0;
        wait < 40 &&
        (after.tasks > 0 ||
          after.descriptors > before.descriptors + 4 ||
          (await incoming()).length > 0);
        wait++
      ) {
        await sleep(250);
        after = await figures(lakepack);
      }
      t.equal(after.tasks, 0, "no task runs or waits");
      // Each thread keeps pack files open, of the one repository at most a few.
      t.ok(
        after.descriptors <= before.descriptors + 4,
        `${before.descriptors} descriptors before, ${after.descriptors} after`,
      );
      t.ok(
        after.rss - before.rss < 200 * MIB,
        `grew by ${Math.round((after.rss - before.rss) / MIB)} MiB`,
      );
      t.same(await incoming(), [], "nothing incoming");
      const leftovers = (await readdir(join(lakepack.data, "cache"), { recursive: true })).filter(
        (name) => !/\.(pack|json)$|^[^.]*$/.test(name),
      );
      t.same(leftovers, [], "no half a pack in the cache");
      t.notOk((await git(["ls-remote", url])).includes("never"));
      const copy = join(await tempFolder(t), "copy");
      await git(["clone", "-q", "--depth", "3", `${lakepack.url}/ns/target.git`, copy]);
      await checkFsck(t, copy);
    },
  );

  t.test(
    `${kind}: beside 60 pushes that drip, others clone and push as ever`,
    { skip: onLinux, timeout: 180_000 },
    async (t) => {
      const { lakepack, work, url } = await served(t, kind);
      const folder = await tempFolder(t);
      const visit = async (name: string) => {
        await commit(work, name, { "visit.txt": `${name}\n` });
        const started = performance.now();
        await git(["clone", "-q", "--bare", url, join(folder, `${name}.git`)]);
        await git(["push", "-q", url, `HEAD:refs/heads/${name}`], { cwd: work });
        return performance.now() - started;
      };
      await visit("warm");
      const quiet = Math.max(await visit("quiet-1"), await visit("quiet-2"));
      const dripping = Array.from({ length: 60 }, (_, at) =>
        new RawClient(lakepack.port)
          .send(request("receive-pack", 1_000_000))
          .send(
            Buffer.from(
              `${command(ZERO, "1".repeat(40), `refs/heads/x${at}`, "report-status")}0000${BEGINNING}`,
              "latin1",
            ),
          ),
      );
      const drip = setInterval(() => {
        for (const client of dripping) client.send("\0");
      }, 100);
      t.teardown(() => clearInterval(drip));
      await sleep(1_000);
      t.equal((await figures(lakepack)).tasks, 0, "they hold no thread");
      const beside = [await visit("beside-1"), await visit("beside-2"), await visit("beside-3")];
      clearInterval(drip);
      t.ok(
        Math.min(...beside) < 4 * quiet + 1_000,
        `a clone and a push: ${Math.round(quiet)} ms alone, ${beside.map(Math.round).join(", ")} ms beside them`,
      );
      t.same(
        dripping.filter((client) => client.ended || client.receivedBytes > 0),
        [],
        "all of which are still taken in",
      );
      t.ok((await readdir(join(lakepack.data, "incoming"))).length >= 60);
      for (const client of dripping) client.close();
      for (
        let wait = 0;
        wait < 40 && (await readdir(join(lakepack.data, "incoming"))).length > 0;
        wait++
      )
        await sleep(100);
      t.same(await readdir(join(lakepack.data, "incoming")), [], "nothing is left of them");
    },
  );
}
