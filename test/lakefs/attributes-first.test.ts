/**
 * A commit's own .gitattributes decide which of its files are pointers, before size: read from
 * lakeFS in every way, and kept by what Git pushes on top. Stock Git's check-attr is the judge.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { latin1, utf8 } from "../../src/base/bytes.js";
import { PassingAttributes } from "../../src/lakefs/rules/commit-attributes.js";
import { AttributeRules, filterOf } from "../../src/git/gitattributes.js";
import { formatPointer, parsePointer } from "../../src/git/lfs-pointer.js";
import type { LakeEntry } from "../../src/lakefs/rules/path-rules.js";
import { seeded } from "../support/random.js";
import { freshView, newWork, rigNode } from "../support/landing-rig.js";
import {
  createSource,
  openNode,
  refsOf,
  signal,
  type Source,
  testPool,
} from "../support/lakefs-reading.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";

t.setTimeout(300_000);

type Chance = ReturnType<typeof seeded>;
const MAIN = "refs/heads/main";
const MAPPING = { version: 3, threshold: 200, suffixes: ["big"] } as const;
const LINES = [
  "*.bin filter=lfs -text",
  "*.bin -filter",
  "*.bin !filter",
  "lfs.* weights",
  "/a/** filter=lfs",
  "*.txt filter=other",
  "[attr]weights filter=lfs",
  "* filter=lfs",
  "* -filter",
  "x.* filter=lfs",
];
const NAMES = ["x.bin", "y.bin", "lfs.txt", "c.txt", "-x.bin", ".env", ".a.bin", "z.big", "é.bin"];
const FOLDERS = ["a", "b", "-c", ".d", "a/b"];

const pointerTo = (bytes: Uint8Array) =>
  Buffer.from(
    formatPointer({ sha256: createHash("sha256").update(bytes).digest("hex"), size: bytes.length }),
  ).toString();

function randomChange(random: Chance, commit: number): Record<string, string> {
  const files: Record<string, string> = {};
  for (let count = 1 + random.below(6); count > 0; count--) {
    const path = [random.pick(["", "", ...FOLDERS]), random.pick(NAMES)]
      .filter((part) => part !== "")
      .join("/");
    files[path] =
      random.below(8) === 0
        ? ""
        : `${commit} ${random.below(1_000)} ${"x".repeat(random.below(4) === 0 ? 250 : random.below(50))}`;
  }
  if (random.below(2) === 0) {
    const at = random.pick(["", "", ...FOLDERS]);
    files[`${at === "" ? "" : `${at}/`}.gitattributes`] = Array.from(
      { length: random.below(4) },
      () => `${random.pick(LINES)}\n`,
    ).join("");
  }
  return files;
}

/**
 * Files of a clone that are pointers where Git's attributes do not say lfs, or no pointers where
 * they do.
 */
async function wronglyFormed(folder: string): Promise<string[]> {
  const env = { PATH: process.env["PATH"], HOME: "/nonexistent", GIT_CONFIG_NOSYSTEM: "1" };
  const paths = execFileSync("git", ["ls-files", "-z"], { cwd: folder, env, encoding: "utf8" })
    .split("\0")
    .filter((path) => path !== "");
  const out = execFileSync("git", ["check-attr", "-z", "--stdin", "filter"], {
    cwd: folder,
    env,
    input: paths.join("\0"),
    encoding: "utf8",
  }).split("\0");
  const wrong: string[] = [];
  for (const [at, path] of paths.entries()) {
    const content = await readFile(join(folder, path));
    const isException = content.length === 0 || path.endsWith(".gitattributes");
    const isPointer = parsePointer(content) !== undefined;
    if (isPointer !== (out[at * 3 + 2] === "lfs" && !isException))
      wrong.push(`${path}: ${out[at * 3 + 2]}, ${isPointer ? "a pointer" : "plain"}`);
  }
  return wrong;
}

t.test("as a listing passes, in batches of any size", async (t) => {
  const random = seeded(3);
  let asked = 0;
  for (let round = 0; round < 150; round++) {
    const texts = new Map<string, string>();
    const entry = (path: string): LakeEntry => ({
      path: latin1(utf8(path)),
      size: 1,
      checksum: "c",
      address: undefined,
      metadata: {},
    });
    for (let files = 1 + random.below(30); files > 0; files--) {
      for (const [path, text] of Object.entries(randomChange(random, 0)))
        texts.set(latin1(utf8(path)), text);
    }
    const rules = new Map(
      [...texts].flatMap(([path, text]) =>
        path.endsWith(".gitattributes")
          ? [[path.slice(0, -15), new AttributeRules(utf8(text))] as const]
          : [],
      ),
    );
    const listing = [...texts.keys()].sort().map((path) => ({ ...entry("x"), path }));
    const passing = new PassingAttributes({
      find: async (paths) => {
        asked += paths.length;
        return listing.filter(({ path }) => paths.includes(path));
      },
      read: async (entries) =>
        entries.map(({ path }) => ({
          oid: createHash("sha1")
            .update(texts.get(path) ?? "")
            .digest("hex"),
          text: utf8(texts.get(path) ?? ""),
        })),
    });
    const batches: LakeEntry[][] = [];
    for (let at = 0; at < listing.length; ) {
      const size = 1 + random.below(8);
      batches.push(listing.slice(at, at + size));
      at += size;
    }
    const said = (await Promise.all(batches.map((batch) => passing.of(batch)))).flat();
    const expected = listing.map(({ path }) => filterOf(path, (folder) => rules.get(folder)));
    if (JSON.stringify(said) !== JSON.stringify(expected))
      t.same(said, expected, JSON.stringify([...texts]));
  }
  t.ok(asked > 100, `${asked} files were asked for ahead of their place`);
});

t.test("attributes before size", { skip: skipLakefs, timeout: 300_000 }, async (t) => {
  const server = await startLakefs(t);
  const pool = await testPool(t);

  const known = new Map<string, string>();
  const lfs = { address: async (sha256: string) => known.get(sha256) };
  const landing = (t: Test, source: Source) =>
    rigNode(t, server, pool, source.name, { lfs, mappingSeed: MAPPING });
  /** As a fresh node has it, which lists everything; both must agree. */
  const fresh = async (
    t: Test,
    source: Source,
    follower: { readonly refs: { read(): Promise<unknown> } },
    says: string,
  ) => {
    const node = await openNode(t, server, pool, source.name);
    t.same(await refsOf(node), await refsOf(follower as never), `${says}: the same ids`);
    t.same(
      await wronglyFormed(await node.clone()),
      [],
      `${says}: a pointer where Git's attributes say so, and nowhere else`,
    );
    return node;
  };

  await t.test(
    "files of lakeFS users, small and large, under random attributes in any folder",
    async (t) => {
      for (const seed of [1, 2]) {
        const random = seeded(seed);
        const source = await createSource(server);
        const follower = await openNode(t, server, pool, source.name, {
          mappingSeed: MAPPING,
          pagesOnly: seed === 2,
        });
        for (let commit = 0; commit < 6; commit++) {
          await source.put(randomChange(random, commit));
          if (commit === 4)
            await source.remove([random.pick(["a/.gitattributes", ".gitattributes"])]);
          await source.commit();
          await follower.refs.read();
          if (commit % 3 === 2) await fresh(t, source, follower, `seed ${seed}, commit ${commit}`);
        }
        await fresh(t, source, follower, `seed ${seed}`);
      }
    },
  );

  await t.test(
    "a push that changes attributes alone lands, and what stood there keeps its form",
    async (t) => {
      const source = await createSource(server);
      const large = "l".repeat(300);
      await source.put({
        "small.bin": "small",
        "d/small.bin": "also small",
        "d/keep.txt": "text",
        "large.dat": large,
        "empty.bin": "",
      });
      await source.commit("native");
      const node = await landing(t, source);
      const work = await newWork(t);
      work.git("fetch", "-q", await node.git("rev-parse", "--absolute-git-dir"), "main");
      work.git("reset", "-q", "--hard", "FETCH_HEAD");
      const push = async (says: string) => {
        t.same(await node.push(work, [[MAIN, work.tip()]]), [{ name: MAIN, ok: true }], says);
        const view = await freshView(t, server, pool, source.name);
        t.equal(view.refs[MAIN], work.tip(), `${says}: reads back`);
        return view.node;
      };
      await work.commit("track", (folder) =>
        writeFile(join(folder, "d/.gitattributes"), "*.bin filter=lfs\n"),
      );
      await push("what was plain is plain");
      await work.commit("untrack large", async (folder) =>
        writeFile(
          join(folder, ".gitattributes"),
          `*.dat -filter\n${await readFile(join(folder, ".gitattributes"), "utf8")}`,
        ),
      );
      const last = await push("what was a pointer is one");
      t.equal(`${await last.git("show", "main:large.dat")}\n`, pointerTo(Buffer.from(large)));
      t.equal(
        Buffer.from(
          await server.client
            .in(source.name)
            .readObject(await source.head(), "large.dat", 1_000, signal),
        ).toString(),
        large,
        "lakeFS shows the real bytes",
      );
      await source.put({ "d/new.bin": "new", "new.dat": large });
      await source.commit("native on top");
      const now = await freshView(t, server, pool, source.name);
      const shown = async (path: string) => now.node.git("show", `main:${path}`);
      t.equal(
        `${await shown("d/new.bin")}\n`,
        pointerTo(Buffer.from("new")),
        "a new file follows what Git has pushed",
      );
      t.equal(await shown("new.dat"), large, "in either way");
      t.equal(await shown("d/small.bin"), "also small");
      t.equal(
        (await node.refs.read()).byName.get(MAIN)?.oid,
        now.refs[MAIN],
        "the same ids on both nodes",
      );
    },
  );

  await t.test(
    "a push that flips attributes of many files asks lakeFS for pages, not for each",
    async (t) => {
      const source = await createSource(server);
      const many = 120;
      await source.put(
        Object.fromEntries(
          Array.from({ length: many }, (_, at) => [`d${at % 7}/f${at}.dat`, `file ${at}`]),
        ),
      );
      await source.commit("native");
      const node = await landing(t, source);
      const work = await newWork(t);
      work.git("fetch", "-q", await node.git("rev-parse", "--absolute-git-dir"), "main");
      work.git("reset", "-q", "--hard", "FETCH_HEAD");
      await work.commit("attributes", (folder) =>
        writeFile(join(folder, ".gitattributes"), "*.dat filter=lfs\n"),
      );
      const calls = (name: string) => node.client.http.figures.get(name)?.calls ?? 0;
      const before = {
        stat: calls("statObject"),
        list: calls("listObjects"),
        stage: calls("stageObject"),
      };
      t.same(await node.push(work, [[MAIN, work.tip()]]), [{ name: MAIN, ok: true }]);
      t.equal(calls("stageObject") - before.stage, many);
      t.ok(
        calls("statObject") - before.stat <= 4,
        `${calls("statObject") - before.stat} single look-ups`,
      );
      t.ok(calls("listObjects") - before.list <= 6, `${calls("listObjects") - before.list} pages`);
      t.equal((await freshView(t, server, pool, source.name)).refs[MAIN], work.tip());
    },
  );

  await t.test("a twin of another branch that reads otherwise here is not taken", async (t) => {
    const source = await createSource(server);
    await source.put({ "raw.bin": "raw" });
    await source.commit("native");
    await server.client
      .in(source.name)
      .createBranch({ name: "other", source: await source.head() }, signal);
    const node = await landing(t, source);
    const work = await newWork(t);
    work.git("fetch", "-q", await node.git("rev-parse", "--absolute-git-dir"), "main");
    work.git("reset", "-q", "--hard", "FETCH_HEAD");
    await work.commit("gone", () => work.git("rm", "-q", "raw.bin"));
    t.match(await node.push(work, [[MAIN, work.tip()]]), [{ ok: true }]);
    await work.commit("back, under a pattern", async (folder) => {
      await writeFile(join(folder, ".gitattributes"), "*.bin filter=lfs\n");
      await writeFile(join(folder, "raw.bin"), "raw");
    });
    t.same(await node.push(work, [[MAIN, work.tip()]]), [{ name: MAIN, ok: true }]);
    t.equal((await freshView(t, server, pool, source.name)).refs[MAIN], work.tip());
  });

  await t.test(
    "a text that git-lfs takes for a pointer is no LFS file's content: left out and named",
    async (t) => {
      const source = await createSource(server);
      const text = pointerTo(Buffer.from("gone"));
      await source.put({
        ".gitattributes": "*.bin filter=lfs\n",
        "a.bin": text,
        "b.bin": text.replaceAll("\n", "\r\n"),
        "c.txt": text,
        "d.bin": `${text}x`,
      });
      const { id } = await source.commit();
      const node = await openNode(t, server, pool, source.name, { mappingSeed: MAPPING });
      t.same((await node.git("ls-tree", "-r", "--name-only", "main")).split("\n"), [
        ".gitattributes",
        "c.txt",
        "d.bin",
      ]);
      t.equal(`${await node.git("show", "main:d.bin")}\n`, pointerTo(Buffer.from(`${text}x`)));
      const refusals = ["a.bin", "b.bin"].map(
        (path) =>
          `${path}: its content is the text of a Git LFS pointer, which git-lfs does not take for a file's`,
      );
      t.match(await node.commits.listing(id, signal), { refused: 2, refusals });
      await source.put({ "e.bin": "e" });
      await source.commit();
      t.same(
        await refsOf(await openNode(t, server, pool, source.name)),
        await refsOf(node),
        "and so on every node",
      );
    },
  );

  await t.test("attributes of endless work are refused in words", async (t) => {
    const source = await createSource(server);
    await source.put({ fine: "fine" });
    await source.commit();
    await server.client
      .in(source.name)
      .createBranch({ name: "fine", source: await source.head() }, signal);
    const lines = Array.from(
      { length: 4_000 },
      (_, at) => `${"*a".repeat(200)}*c*${at}* filter=lfs\n`,
    );
    await source.put({
      ".gitattributes": lines.join(""),
      ...Object.fromEntries(Array.from({ length: 8 }, (_, at) => [`${at}${"a".repeat(240)}`, "x"])),
    });
    const { id } = await source.commit();
    const node = await openNode(t, server, pool, source.name, { mappingSeed: MAPPING });
    const started = process.cpuUsage();
    t.same(
      (await node.refs.read()).refs.map(({ name }) => name),
      ["refs/heads/fine"],
      "others are served",
    );
    await t.rejects(node.commits.resolve([id], signal), {
      code: "lakefs/too-many-attributes",
      message: /take more work than is done for one; make their patterns fewer, or plainer/,
    });
    t.ok(
      process.cpuUsage(started).user < 15_000_000,
      "three attempts, each of some seconds at most",
    );
    const own = await createSource(server);
    const pushed = await landing(t, own);
    const work = await newWork(t);
    await work.commit("endless", async (folder) => {
      await writeFile(join(folder, ".gitattributes"), lines.join(""));
      for (let at = 0; at < 8; at++) await writeFile(join(folder, `${at}${"a".repeat(240)}`), "x");
    });
    t.match(
      await pushed.push(work, [[MAIN, work.tip()]]),
      [{ ok: false, reason: /take more work than is done for one/ }],
      "and so is a push of them",
    );
  });
});
