/**
 * Small requests that would cause large work. Beside each one, on a server with one thread in its
 * pool, another user's clone and push go on in time, the event loop stays free, and memory and disk
 * within bounds; each of them has taken minutes of every thread, or gigabytes.
 */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readdir, readlink, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import t, { type Test } from "tap";
import { commit, git, type Lakepack, startLakepack } from "../support/harness.js";
import { frontEnds } from "../support/everyday.js";
import { tempFolder } from "../support/temp-folder.js";
import { pkts, rawFetch } from "../support/raw-fetch.js";
import { RawClient, rawRequest } from "../support/raw-client.js";
import { budgetRig, onEveryFrontEnd, skipBudgets, timeFor } from "../support/budgets-rig.js";

const KINDS = ["uws", "node"] as const;

/** A repository made by git fast-import, pushed to the server; its folder. */
async function pushed(t: Test, server: Lakepack, name: string, stream: string): Promise<string> {
  const work = join(await tempFolder(t), "work.git");
  await git(["init", "-q", "--bare", work]);
  await git(["fast-import", "--quiet"], { cwd: work, input: Buffer.from(stream, "latin1") });
  await git(["push", "-q", `${server.url}/${name}.git`, "refs/heads/main"], { cwd: work });
  return work;
}

/**
 * Ten levels of folders, each with ten entries that are one and the same folder: 10^levels paths in
 * a dozen objects.
 */
async function bomb(
  t: Test,
  server: Lakepack,
  name: string,
  levels: number,
  patterns: string,
): Promise<string> {
  const work = join(await tempFolder(t), "bomb");
  await git(["init", "-q", work]);
  const make = async (input: string) => (await git(["mktree"], { cwd: work, input })).trim();
  const blob = (await git(["hash-object", "-w", "--stdin"], { cwd: work, input: "x\n" })).trim();
  let tree = await make(
    [..."abcdefghij"].map((letter) => `100644 blob ${blob}\t${letter}\n`).join(""),
  );
  for (let level = 0; level < levels; level++)
    tree = await make(
      [..."abcdefghij"].map((letter) => `040000 tree ${tree}\t${letter}\n`).join(""),
    );
  const list = (await git(["hash-object", "-w", "--stdin"], { cwd: work, input: patterns })).trim();
  const root = await make(`040000 tree ${tree}\tdeep\n100644 blob ${list}\tpatterns\n`);
  const tip = (
    await git(
      ["-c", "user.name=a", "-c", "user.email=a@example.com", "commit-tree", "-m", "bomb", root],
      { cwd: work },
    )
  ).trim();
  await git(["push", "-q", `${server.url}/${name}.git`, `${tip}:refs/heads/main`], { cwd: work });
  return tip;
}

const fetchWith = async (server: Lakepack, name: string, ...lines: string[]) => {
  const began = performance.now();
  const {
    lines: said,
    pack,
    error,
  } = await rawFetch(server, name, 2, pkts("command=fetch", "0001", ...lines, "done", "0000"));
  return `${Math.round(performance.now() - began)} ms: ${said.filter((line) => !/^[\x01-\x03]/.test(line)).slice(-1)[0] ?? ""} ${error} ${pack.length} bytes`;
};

for (const kind of onEveryFrontEnd ? KINDS : (["uws"] as const)) {
  t.test(
    `filters over a folder of ten that are one, ten levels deep, ${kind}`,
    { skip: skipBudgets, timeout: timeFor(8, 200) },
    async (t) => {
      const { server, cost } = await budgetRig(t, kind);
      const globs = `${"**/".repeat(3_000)}x\n`;
      const [plain, deep] = [
        await bomb(t, server, "evil/plain", 10, "/nothing\n!/deep/a\n"),
        await bomb(t, server, "evil/globs", 10, globs),
      ];
      const text = await bomb(
        t,
        server,
        "evil/text",
        10,
        `${Array.from({ length: 3_000 }, (_, at) => `*${at}*line ${at} of?any*text file\n`).join("")}`,
      );
      for (const [name, tip, filter] of [
        ["evil/plain", plain, "sparse:oid=main:patterns"],
        ["evil/globs", deep, "sparse:oid=main:patterns"],
        ["evil/text", text, "sparse:oid=main:patterns"],
        ["evil/plain", plain, "combine:tree:9+blob:none"],
        ["evil/plain", plain, "combine:tree:11+object:type=tree"],
        ["evil/plain", plain, "combine:sparse:oid=main%3Apatterns+tree:12"],
      ] as const) {
        const attack = () =>
          Promise.all(
            Array.from({ length: 2 }, () =>
              fetchWith(server, name, `want ${tip}`, `filter ${filter}`),
            ),
          );
        for (const reply of (await cost(t, `${name} ${filter}`, attack)).last)
          t.match(reply, /needs more work than this server does for one fetch|packfile/, filter);
      }
      t.match(
        await fetchWith(server, "evil/plain", `want ${plain}`),
        /[1-9][0-9]+ bytes/,
        "without a filter it is a dozen objects",
      );
    },
  );

  t.test(
    `a fetch between two bombs, ${kind}`,
    { skip: skipBudgets, timeout: timeFor(2, 200) },
    async (t) => {
      const { server, cost } = await budgetRig(t, kind);
      const work = join(await tempFolder(t), "work");
      await git(["init", "-q", work]);
      const make = async (input: string) => (await git(["mktree"], { cwd: work, input })).trim();
      let tip = "";
      const tips: string[] = [];
      for (const content of ["x\n", "y\n"]) {
        const blob = (
          await git(["hash-object", "-w", "--stdin"], { cwd: work, input: content })
        ).trim();
        let tree = await make(
          [..."abcdefghij"].map((letter) => `100644 blob ${blob}\t${letter}\n`).join(""),
        );
        for (let level = 0; level < 10; level++)
          tree = await make(
            [..."abcdefghij"].map((letter) => `040000 tree ${tree}\t${letter}\n`).join(""),
          );
        const root = await make(`040000 tree ${tree}\tdeep\n`);
        const parent = tip === "" ? [] : ["-p", tip];
        tip = (
          await git(
            [
              "-c",
              "user.name=a",
              "-c",
              "user.email=a@example.com",
              "commit-tree",
              ...parent,
              "-m",
              content,
              root,
            ],
            { cwd: work },
          )
        ).trim();
        tips.push(tip);
      }
      await git(["push", "-q", `${server.url}/evil/one.git`, `${tip}:refs/heads/main`], {
        cwd: work,
      });
      const { last } = await cost(t, "edges", () =>
        fetchWith(server, "evil/one", `want ${tip}`, `have ${tips[0]}`),
      );
      t.match(last, /[1-9][0-9]{2} bytes/, "answered, and no less");
    },
  );
}

// One front end on an ordinary day, the other one the next.
for (const kind of onEveryFrontEnd ? KINDS : frontEnds) {
  t.test(
    `290,000 lines of wants, haves, shallows and object-info, ${kind}`,
    { skip: skipBudgets, timeout: timeFor(10, 200) },
    async (t) => {
      const { server, cost } = await budgetRig(t, kind);
      const count = 60_000;
      const lines = ["reset refs/heads/main\n"];
      for (let at = 1; at <= count; at++)
        lines.push(
          `commit refs/heads/main\nmark :${at}\ncommitter C <c@example.com> ${1_600_000_000 + at} +0000\ndata 1\nc\n${at > 1 ? `from :${at - 1}\n` : ""}${at === 1 ? "M 100644 inline f\ndata 1\nx\n" : ""}\n`,
        );
      const work = await pushed(t, server, "evil/long", lines.join(""));
      const ids = (await git(["rev-list", "main"], { cwd: work })).split("\n");
      const tip = ids[0] as string;
      const unknown = Array.from({ length: 290_000 - count }, (_, at) =>
        at.toString(16).padStart(40, "0"),
      );
      const post = async (version: number, body: string, gzip = false) => {
        const bytes = gzip ? gzipSync(body) : Buffer.from(body, "latin1");
        const head = `POST /evil/long.git/git-upload-pack HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-git-upload-pack-request\r\nGit-Protocol: version=${version}\r\n${gzip ? "Content-Encoding: gzip\r\n" : ""}Content-Length: ${bytes.length}\r\n\r\n`;
        const reply = await rawRequest(server.port, Buffer.concat([Buffer.from(head), bytes]));
        return `${reply.status} ${reply.body.length}`;
      };
      const line = (text: string) => `${(text.length + 5).toString(16).padStart(4, "0")}${text}\n`;
      const list = (key: string, oids: readonly string[]) =>
        oids.map((oid) => line(`${key} ${oid}`)).join("");
      const every = [...unknown, ...ids];
      const fetch = (first: readonly string[], rest: string, ...last: string[]) =>
        pkts("command=fetch", "0001", ...first) + rest + pkts(...last);
      for (const [what, body, version] of [
        ["haves, version 2", fetch([`want ${tip}`], list("have", every), "0000"), 2],
        ["shallows", fetch([`want ${tip}`], list("shallow", every), "deepen 3", "done", "0000"), 2],
        ["wants", fetch([], list("want", ids), "done", "0000"), 2],
        ["wants that are not here", fetch([], list("want", unknown), "done", "0000"), 2],
        [
          "haves, version 0",
          pkts(`want ${tip} multi_ack_detailed side-band-64k`, "0000") +
            list("have", every) +
            "0000",
          0,
        ],
        [
          "shallows, version 0",
          pkts(`want ${tip} side-band-64k`) +
            list("shallow", every) +
            pkts("deepen 3", "0000", "done"),
          0,
        ],
        ["prefixes", pkts("command=ls-refs", "0001") + list("ref-prefix", unknown) + "0000", 2],
        ["object-info", pkts("command=object-info", "0001", "size") + list("oid", ids) + "0000", 2],
      ] as const) {
        await cost(t, what, () => post(version, body));
      }
      const one = `${pkts("command=object-info", "0001", "size")}${list("oid", Array<string>(280_000).fill(tip))}0000`;
      const { last } = await cost(t, `${gzipSync(one).length} bytes of gzip`, () =>
        post(2, one, true),
      );
      t.ok(Number(last.split(" ")[1]) < 1_000, `a reply of ${last}`);
    },
  );

  t.test(
    `packs that have gone from the cache while slow readers hold them, ${kind}`,
    { skip: skipBudgets, timeout: timeFor(4, 200) },
    async (t) => {
      const server = await startLakepack(t, {
        args: ["--transport", kind, "--cache-bytes", "20m"],
      });
      const work = join(await tempFolder(t), "work");
      await git(["init", "-q", work]);
      // Depths make packs of their own: 8 MiB each that nothing compresses.
      for (let at = 0; at < 12; at++)
        await commit(work, `commit ${at}`, {
          "big.bin": randomBytes(6 * 1024 * 1024).toString("base64"),
        });
      await git(["push", "-q", `${server.url}/evil/big.git`, "main"], { cwd: work });
      const tip = await git(["rev-parse", "HEAD"], { cwd: work });
      const slow: RawClient[] = [];
      const onDisk = async () => {
        let bytes = 0;
        for (const fd of await readdir(`/proc/${server.pid}/fd`)) {
          const path = join(`/proc/${server.pid}/fd`, fd);
          if (/\/cache\/.*\(deleted\)$/.test(await readlink(path).catch(() => "")))
            bytes += (await stat(path).catch(() => ({ size: 0 }))).size;
        }
        const kept = execFileSync("du", ["-sb", join(server.data, "cache")], { encoding: "utf8" });
        return bytes + Number(kept.split("\t")[0]);
      };
      let most = 0;
      for (let depth = 1; depth <= 8; depth++) {
        const body = pkts(
          "command=fetch",
          "0001",
          `want ${tip}`,
          `deepen ${depth}`,
          "done",
          "0000",
        );
        const client = new RawClient(server.port).send(
          `POST /evil/big.git/git-upload-pack HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-git-upload-pack-request\r\nGit-Protocol: version=2\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
        );
        client.socket.once("data", () => client.socket.pause());
        slow.push(client);
        await sleep(1_200);
        most = Math.max(most, await onDisk());
      }
      t.comment(`${(most / 2 ** 20).toFixed(0)} MiB on disk at most`);
      // 20 kept, 20 that have gone, and the largest, which is let be: 48 MiB; 216 MiB without a
      // bound.
      t.ok(most < 110 * 2 ** 20, `${(most / 2 ** 20).toFixed(0)} MiB on disk under a limit of 20`);
      const copy = join(await tempFolder(t), "copy");
      await git(["clone", "-q", `${server.url}/evil/big.git`, copy]);
      for (const client of slow) client.close();
    },
  );
}

t.test(
  "limits of blob sizes that come to the same are one pack",
  { timeout: 60_000 },
  async (t) => {
    const server = await startLakepack(t);
    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", work]);
    await commit(work, "one", { small: "s\n", middle: "m".repeat(500), large: "l".repeat(5_000) });
    await git(["push", "-q", `${server.url}/ns/sizes.git`, "main"], { cwd: work });
    const tip = await git(["rev-parse", "HEAD"], { cwd: work });
    const bytes = new Set<string>();
    const made = async () =>
      Number(
        /lakepack_cache_events_total\{event="generated"\} (\d+)/.exec(
          (
            await rawRequest(server.port, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
          ).body.toString(),
        )?.[1],
      );
    for (let k = 0; k < 25; k++)
      for (const filter of [
        `blob:limit=${1_000_000_000 + k}`,
        `blob:limit=${600 + k}`,
        `combine:blob:limit=${700 + k}+tree:${3_000 + k}`,
        `tree:${4_000 + k}`,
        `combine:blob:limit=${100 + k}+blob:limit=${9_000 + k}`,
      ])
        bytes.add(
          `${filter.replace(/\d+/g, "n")} ${(await rawFetch(server, "ns/sizes", 2, pkts("command=fetch", "0001", `want ${tip}`, `filter ${filter}`, "done", "0000"))).pack.length}`,
        );
    t.equal(await made(), 5, "one for each kind");
    t.equal(bytes.size, 5, "and each came to the same");
    for (const [limit, names] of [
      [2, 0],
      [3, 1],
      [500, 1],
      [501, 2],
      [5_000, 2],
      [5_001, 3],
      [600, 2],
      [1_000_000_005, 3],
    ] as const) {
      const bare = join(await tempFolder(t), "bare");
      await git([
        "clone",
        "-q",
        "--bare",
        `--filter=blob:limit=${limit}`,
        `${server.url}/ns/sizes.git`,
        bare,
      ]);
      const blobs = (
        await git(["cat-file", "--batch-all-objects", "--batch-check=%(objecttype)"], { cwd: bare })
      )
        .split("\n")
        .filter((type) => type === "blob");
      t.equal(blobs.length, names, `blob:limit=${limit}: still exact`);
    }
  },
);
