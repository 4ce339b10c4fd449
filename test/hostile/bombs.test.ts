/**
 * A few kilobytes that mean hundreds of megabytes, and trees as deep as a pack is long, on the real
 * process: taken or refused in words, in bounded memory, fetched in every way that walks them, and
 * served beside by an event loop that waits for none of it.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { type Lakepack, startLakepack } from "../support/harness.js";
import { pkts, rawFetch } from "../support/raw-fetch.js";
import { command, parseReport } from "../support/raw-push.js";
import {
  blob,
  buildPack,
  copy,
  delta,
  type HandEntry,
  insert,
  oidOf,
  whole,
} from "../support/pack-builder.js";
import { RawClient, rawRequest } from "../support/raw-client.js";

const ZERO = "0".repeat(40);
const MIB = 1024 * 1024;
const WHO = "A <a@example.com> 1700000000 +0000";
const onLinux = process.platform === "linux" ? false : "reads /proc";

/** Most resident bytes it has ever had. */
const peak = ({ pid }: Lakepack) =>
  Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;

/** CPU milliseconds of the event loop's thread. */
function loopMs({ pid }: Lakepack): number {
  const stat =
    readFileSync(`/proc/${pid}/task/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(stat[11]) + Number(stat[12])) * 10;
}

/**
 * Pushes; what is said of the pack and of the ref. Beside it the event loop answers probes, in
 * short turns.
 */
async function push(
  t: Test,
  server: Lakepack,
  repository: string,
  entries: readonly HandEntry[],
  tip: string,
  ref: string,
): Promise<string> {
  const body = Buffer.concat([
    Buffer.from(`${command(ZERO, tip, ref, "report-status")}0000`, "latin1"),
    buildPack(entries),
  ]);
  const head = `POST /ns/${repository}.git/git-receive-pack HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-git-receive-pack-request\r\nContent-Length: ${body.length}\r\n\r\n`;
  const client = new RawClient(server.port).send(
    Buffer.concat([Buffer.from(head, "latin1"), body]),
  );
  let done = false;
  const answered = client.response().finally(() => {
    done = true;
    client.close();
  });
  let longest = 0;
  while (!done) {
    const before = loopMs(server);
    await rawRequest(server.port, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    longest = Math.max(longest, loopMs(server) - before);
    await sleep(20);
  }
  t.ok(
    longest <= 250,
    `${ref}: the event loop was busy for ${longest} ms at most before it answered others`,
  );
  const { unpack, refs } = parseReport((await answered).body);
  t.same(readdirSync(join(server.data, "incoming")), [], `${ref}: nothing is left`);
  return `unpack ${unpack}, ${refs.join()}`;
}

const base = Buffer.alloc(65_536, 1);

/** `mib` megabytes of the base again and again, and a word at their end. */
function grown(mib: number, last: string): HandEntry {
  const pieces = Array.from({ length: mib * 16 }, () => copy(0, 65_536));
  return {
    type: 6,
    base: 0,
    data: delta(base.length, mib * MIB + last.length, ...pieces, insert(Buffer.from(last))),
  };
}

t.test(
  "zeros and deltas of hundreds of megabytes",
  { skip: onLinux, timeout: 300_000 },
  async (t) => {
    const server = await startLakepack(t);
    const tip = oidOf("blob", base);
    t.match(await push(t, server, "small", [blob(base)], tip, "refs/tags/warm"), /unpack ok, ok/);
    const before = peak(server);
    const zeros = Buffer.alloc(300 * MIB);
    t.match(
      await push(
        t,
        server,
        "zeros",
        [{ ...blob(zeros), level: 1 }],
        oidOf("blob", zeros),
        "refs/tags/zeros",
      ),
      /unpack ok, ok/,
      "300 MiB of zeros",
    );
    t.match(
      await push(
        t,
        server,
        "wide",
        [blob(base), ...["a", "b", "c", "d"].map((last) => grown(200, last))],
        tip,
        "refs/tags/wide",
      ),
      /unpack ok, ok/,
      "four deltas of 200 MiB on one base",
    );
    const size = 200 * MIB + 1;
    const onGrown = delta(
      size,
      size + 1,
      ...Array.from({ length: Math.ceil(size / 0xffffff) }, (_, at) =>
        copy(at * 0xffffff, Math.min(0xffffff, size - at * 0xffffff)),
      ),
      insert(Buffer.from("z")),
    );
    t.match(
      await push(
        t,
        server,
        "long",
        [blob(base), grown(200, "a"), { type: 6, base: 1, data: onGrown }],
        tip,
        "refs/tags/long",
      ),
      /unpack ok, ok/,
      "one on another",
    );
    t.match(
      await push(
        t,
        server,
        "claims",
        [blob(base), { type: 6, base: 0, data: delta(base.length, 2 ** 35, copy(0, 4)) }],
        tip,
        "refs/tags/claims",
      ),
      /larger than this server accepts.*, ng/,
      "32 GiB claimed in ten bytes",
    );
    t.match(
      await push(t, server, "beyond", [blob(base), grown(600, "a")], tip, "refs/tags/beyond"),
      /larger than this server accepts.*, ng/,
      "a delta of 600 MiB",
    );
    t.ok(
      peak(server) - before < 200 * MIB,
      `at its peak ${Math.round((peak(server) - before) / MIB)} MiB more`,
    );
  },
);

interface Deep {
  readonly entries: readonly HandEntry[];
  readonly top: string;
}

/** One folder in the other, so many, around a file or another such tree. */
function folders(depth: number, inner?: string): Deep {
  const entries: HandEntry[] = inner === undefined ? [blob("deep\n")] : [];
  let [oid, mode] = inner === undefined ? [oidOf("blob", "deep\n"), "100644"] : [inner, "40000"];
  for (let at = 0; at < depth; at++) {
    const tree = Buffer.concat([Buffer.from(`${mode} a\0`), Buffer.from(oid, "hex")]);
    entries.push({ ...whole("tree", tree), level: 1 });
    [oid, mode] = [oidOf("tree", tree), "40000"];
  }
  return { entries, top: oid };
}

const commitOf = (tree: string, more = "") =>
  `tree ${tree}\n${more}author ${WHO}\ncommitter ${WHO}\n\nm\n`;

t.test(
  "trees 100,000 deep: pushed, pushed upon, missing at their bottom, fetched whole and by every filter",
  { skip: onLinux, timeout: 300_000 },
  async (t) => {
    const server = await startLakepack(t);
    const { entries, top } = folders(100_000);
    const text = commitOf(top);
    const tip = oidOf("commit", text);
    t.match(
      await push(t, server, "deep", [...entries, whole("commit", text)], tip, "refs/heads/main"),
      /unpack ok, ok/,
    );
    const next = folders(1_000, top);
    const onTop = commitOf(next.top, `parent ${tip}\n`);
    const young = oidOf("commit", onTop);
    t.match(
      await push(
        t,
        server,
        "deep",
        [...next.entries, whole("commit", onTop)],
        young,
        "refs/heads/next",
      ),
      /unpack ok, ok/,
      "a thousand more around them",
    );
    const [, ...without] = entries;
    t.match(
      await push(t, server, "broken", [...without, whole("commit", text)], tip, "refs/heads/main"),
      /unpack ok, ng refs\/heads\/main missing necessary objects/,
      "without the file at the bottom",
    );

    const fetch = (...lines: string[]) =>
      rawFetch(
        server,
        "ns/deep",
        2,
        pkts("command=fetch", "0001", "no-progress", ...lines, "done", "0000"),
      );
    for (const [how, ...lines] of [
      ["all"],
      ["what is new", `have ${tip}`],
      ["in depth 1", "deepen 1"],
      ["without blobs", "filter blob:none"],
      ["commits", "filter tree:0"],
    ] as const) {
      const { pack, error, lines: says } = await fetch(`want ${young}`, ...lines);
      t.ok(
        pack.subarray(0, 4).toString() === "PACK" && error === "",
        `${how}: ${pack.length} bytes ${error} ${says.at(-1)}`,
      );
    }
    // A walk that has to remember the way back ends at Git's own limit, in words.
    for (const filter of [
      "tree:3000",
      "tree:100000",
      "object:type=tree",
      "combine:blob:none+tree:90000",
    ]) {
      const { error, lines, pack } = await fetch(`want ${young}`, `filter ${filter}`);
      t.match(`${error}${lines.join()}`, /folders nested too deep/, filter);
      t.equal(pack.length, 0);
    }
    t.match(
      (await rawFetch(server, "ns/deep", 0, pkts(`want ${top} side-band-64k`, "0000", "done"))).pack
        .subarray(0, 4)
        .toString(),
      "PACK",
      "from the middle, in version 0",
    );
    t.match((await fetch(`want ${"8".repeat(40)}`)).lines, [/not our ref/]);
    t.ok(peak(server) < 600 * MIB, `at its peak ${Math.round(peak(server) / MIB)} MiB`);
  },
);
