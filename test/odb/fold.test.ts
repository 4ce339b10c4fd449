/** Many small packs become one: which, and that nobody notices. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { LIMITS } from "../../src/base/limits.js";
import { choosePacks } from "../../src/odb/pack-objects/fold.js";
import type { LivePack } from "../../src/odb/object-database.js";
import {
  checkFsck,
  commit,
  folderOf,
  git,
  type Lakepack,
  objectSet,
  startLakepack,
} from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { lakepack } from "../support/lakepack-command.js";

function pack(objectCount: number, more: Partial<LivePack> = {}): LivePack {
  const none = new SharedArrayBuffer(0);
  return {
    checksum: objectCount.toString(16).padStart(40, "0"),
    name: objectCount.toString(16).padStart(40, "0"),
    path: "",
    bytes: 100 * objectCount,
    objectCount,
    idx: none,
    rev: none,
    closed: true,
    selfContained: false,
    tips: [],
    origin: "push",
    ...more,
  };
}

const many = (count: number, objects = 3) =>
  Array.from({ length: count }, (_, n) =>
    pack(objects, { checksum: n.toString(16).padStart(40, "0") }),
  );

t.test("few packs stay as they are", async (t) => {
  t.same(choosePacks(many(LIMITS.foldPacksMin - 1)), []);
  t.equal(choosePacks(many(LIMITS.foldPacksMin)).length, LIMITS.foldPacksMin);
});

t.test("a large pack is not written again for the sake of small ones", async (t) => {
  const large = pack(1_000_000, { bytes: LIMITS.foldPackBytesMax + 1 });
  const middle = pack(10_000);
  const chosen = choosePacks([large, ...many(40), middle]);
  t.equal(chosen.length, 40);
  for (const kept of [large, middle]) t.notOk(chosen.includes(kept));
});

t.test(
  "packs made from lakeFS are folded as others are; those that promise blobs where somebody merges their lists",
  async (t) => {
    const made = many(LIMITS.foldMadePacksMin).map((one) => ({
      ...one,
      origin: "synthesized" as const,
    }));
    const promising = pack(2, { origin: "synthesized", promised: 2 });
    t.same(choosePacks([...made, promising]), [], "few for what pushes leave");
    const fewest = LIMITS.foldMadePacksMin;
    t.same(
      [
        choosePacks([...made, promising], { fewest }).length,
        choosePacks([...made, promising], { fewest, promising: true }).length,
      ],
      [made.length, made.length + 1],
    );
    const pushed = many(fewest - 1, 2).map((one) => ({
      ...one,
      checksum: `f${one.checksum.slice(1)}`,
    }));
    t.same(
      choosePacks([...pushed, ...made, promising], { fewest, promising: true }).filter(
        ({ origin }) => origin !== "synthesized",
      ),
      [],
      "what was pushed is not folded with what can be made again",
    );
    t.equal(
      choosePacks([...pushed, ...many(1), ...made.slice(1)], { fewest, promising: true }).every(
        ({ origin }) => origin === "push",
      ),
      true,
      "but by itself",
    );
    const lists = many(12).map((one) => ({
      ...one,
      origin: "synthesized" as const,
      promised: LIMITS.foldPromisedMax / 5,
    }));
    t.equal(choosePacks(lists, { fewest, promising: true }).length, 5, "lists are bounded");
  },
);

t.test(
  "when it is quiet, packs of whole trees are made one, and a large one is left alone",
  async (t) => {
    const [small, middle] = [pack(3, { bytes: 3_000_000 }), pack(300, { bytes: 4_000_000 })];
    const [tiny, large] = [pack(2, { bytes: 100 }), pack(3_000, { bytes: 60_000_000 })];
    t.same(choosePacks([large, middle, small], { fewest: 2 }), []);
    t.same(choosePacks([large, middle, small], { fewest: 2, byBytes: true }), [small, middle]);
    t.same(choosePacks([large, tiny], { fewest: 2, byBytes: true }), []);
    t.same(
      choosePacks([pack(300, { bytes: LIMITS.foldBytesMin }), tiny], { fewest: 2, byBytes: true })
        .length,
      2,
      "what is small anyway",
    );
  },
);

for (const fewest of [LIMITS.foldPacksMin, LIMITS.foldMadePacksMin]) {
  t.test(
    `an object is written again only as often as what is folded doubles, ${fewest} packs`,
    async (t) => {
      let packs: LivePack[] = [];
      let [pushed, written, most] = [0, 0, 0];
      for (let push = 0; push < 10_000; push++) {
        packs.push(pack(3, { checksum: `a${push.toString(16).padStart(39, "0")}` }));
        pushed += 3;
        const chosen = new Set(choosePacks(packs, { fewest }));
        if (chosen.size > 0) {
          const objectCount = [...chosen].reduce((sum, one) => sum + one.objectCount, 0);
          written += objectCount;
          packs = [
            ...packs.filter((one) => !chosen.has(one)),
            pack(objectCount, { checksum: `b${push.toString(16).padStart(39, "0")}` }),
          ];
        }
        most = Math.max(most, packs.length);
      }
      t.ok(most <= fewest, `at most ${most} packs`);
      t.ok(written <= pushed * Math.log2(10_000), `${written / pushed} times written`);
    },
  );
}

t.test("one fold is bounded", async (t) => {
  const bytes = LIMITS.foldPackBytesMax;
  const chosen = choosePacks(many(40).map((one) => ({ ...one, bytes })));
  t.ok(chosen.length * bytes <= LIMITS.foldBytesMax, `${chosen.length}`);
});

async function manifestOf({
  data,
}: Lakepack): Promise<{ packs: { origin: string; objects: number }[] }> {
  return JSON.parse(
    await readFile(join(await folderOf(data, "ns/many"), "git/manifest"), "utf8"),
  ) as never;
}

/** Pushes one commit after the other, each with a pack of its own. */
async function pushes(work: string, url: string, from: number, to: number): Promise<void> {
  for (let n = from; n < to; n++) {
    // A file that changes each time, so that packs come thin and are completed with what other
    // packs hold too.
    await commit(work, `change ${n}`, {
      "d/file.txt": `${"a line that stays\n".repeat(50)}${n}\n`,
      [`d/${n % 7}.txt`]: `${n}\n`,
    });
    await git(["push", "-q", url, "HEAD:refs/heads/main", `HEAD:refs/heads/b${n % 5}`, "--force"], {
      cwd: work,
    });
  }
}

async function folded(t: Test, server: Lakepack): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if ((await manifestOf(server)).packs.length < LIMITS.foldPacksMin) return;
    await sleep(200);
  }
  t.fail(`never folded: ${(await manifestOf(server)).packs.length} packs`);
}

t.test(
  "pushes leave few packs, and clones, fetches and lookups bring what they brought",
  { timeout: 240_000 },
  async (t) => {
    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", "-b", "main", work]);
    let server = await startLakepack(t);
    const url = () => `${server.url}/ns/many.git`;
    await pushes(work, url(), 0, LIMITS.foldPacksMin - 2);
    // What is reachable is known for the packs as they are before.
    const blob = await git(["rev-parse", "HEAD~7:d/file.txt"], { cwd: work });
    const early = join(await tempFolder(t), "early");
    await git(["clone", "-q", "--filter=blob:none", "--no-checkout", url(), early]);
    t.equal(await git(["cat-file", "-t", blob], { cwd: early }), "blob");
    await pushes(work, url(), LIMITS.foldPacksMin - 2, LIMITS.foldPacksMin + 6);
    await folded(t, server);
    const { packs } = await manifestOf(server);
    t.ok(packs.some(({ origin }) => origin === "repack"));
    const other = await git(["rev-parse", "HEAD~20:d/file.txt"], { cwd: work });
    t.equal(
      await git(["cat-file", "-t", other], { cwd: early }),
      "blob",
      "an object that only folded packs hold is still found to be reachable",
    );
    const checkAll = async (name: string) => {
      const copy = join(await tempFolder(t), "copy");
      await git(["clone", "-q", "--mirror", url(), copy]);
      await checkFsck(t, copy);
      t.same(await objectSet(copy), await objectSet(work), name);
    };
    await checkAll("after folding");
    await git(["fetch", "-q"], { cwd: early });
    await pushes(work, url(), 100, 102);
    await checkAll("pushed upon");
    const verified = await lakepack(["verify", "ns/many", "--data", server.data]);
    t.equal(verified.code, 0, verified.err);
    await server.kill("SIGKILL");
    server = await startLakepack(t, { data: server.data });
    await checkAll("after a restart");
    t.same(await readdir(join(server.data, "incoming")), [], "nothing is left over");
  },
);

t.test("clones and pushes beside folding", { timeout: 240_000 }, async (t) => {
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", "-b", "main", work]);
  const server = await startLakepack(t);
  const url = `${server.url}/ns/many.git`;
  await pushes(work, url, 0, 2);
  let pushing = true;
  const cloning = async () => {
    for (let n = 0; pushing; n++) {
      const copy = join(await tempFolder(t), `copy-${n}`);
      await git(["clone", "-q", "--bare", ...(n % 2 === 0 ? ["--depth=3"] : []), url, copy]);
      await checkFsck(t, copy);
    }
  };
  const clones = cloning();
  try {
    await pushes(work, url, 2, 2 * LIMITS.foldPacksMin + 4);
  } finally {
    pushing = false;
    await clones;
  }
  await folded(t, server);
  const copy = join(await tempFolder(t), "copy");
  await git(["clone", "-q", "--mirror", url, copy]);
  t.same(await objectSet(copy), await objectSet(work));
});
