/** Ingest writes the same as stock git and the plain reference, for packs of every make. */
import t, { type Test } from "tap";
import {
  appending,
  blob,
  buildPack,
  delta,
  insert,
  oidOf,
  whole,
} from "../../support/pack-builder.js";
import { type Random, seeded } from "../../support/random.js";
import { createRepository, type StockRepository } from "../../support/stock-git.js";
import { gitIndex, ingestBench, plainTables } from "../../support/ingest-harness.js";

const bench = await ingestBench(t);

async function same(
  t: Test,
  pack: Uint8Array,
  options: Parameters<typeof bench.ingest>[1] = {},
): Promise<void> {
  const ours = await bench.ingest(pack, options);
  const plain = plainTables(pack);
  t.ok(ours.idx.equals(plain.idx), "idx of the plain reference");
  t.ok(ours.rev.equals(plain.rev), "rev of the plain reference");
  t.ok(ours.idx.equals(gitIndex(pack)), "idx of stock git");
  t.equal(ours.checksum, Buffer.from(pack.subarray(-20)).toString("hex"));
}

/** Some commits of files that grow and change. */
function history(random: Random, commits: number): StockRepository {
  const repository = createRepository();
  const files = new Map<string, string>();
  for (let commit = 0; commit < commits; commit++) {
    for (let change = 0; change < 4; change++) {
      const name = `dir${random.below(5)}/sub${random.below(3)}/file${random.below(12)}.txt`;
      const lines = (files.get(name) ?? "").split("\n");
      lines.splice(
        random.below(lines.length + 1),
        0,
        ...Array.from({ length: random.below(30) }, () => `line ${random.below(1_000)} of ${name}`),
      );
      files.set(name, lines.join("\n"));
      repository.write(name, lines.join("\n"));
    }
    if (commit === 3) repository.write("random.bin", Buffer.from(random.bytes(200_000)));
    if (commit === 5) repository.write(".gitattributes", "*.bin binary\n");
    if (commit === 6)
      repository.write(
        ".gitmodules",
        '[submodule "a"]\n\tpath = a\n\turl = https://example.com/a.git\n',
      );
    repository.commit(`commit ${commit}`);
  }
  repository.git(["tag", "-a", "-m", "a tag", "v1"]);
  return repository;
}

t.test("packs of stock git", async (t) => {
  const repository = history(seeded(1), 60);
  t.teardown(() => repository.remove());
  const list = repository.git(["rev-list", "--objects", "--all"]);
  for (const args of [
    [],
    ["--delta-base-offset"],
    ["--delta-base-offset", "--depth=4000", "--window=30"],
    ["--window=0"],
    ["--compression=0", "--delta-base-offset"],
  ]) {
    const pack = repository.gitBytes(["pack-objects", "--stdout", "-q", ...args], list);
    await t.test(args.join(" ") || "ref-deltas", async (t) => {
      await same(t, pack);
      await same(t, pack, { memoryBytes: 0 });
      await same(t, pack, { chunk: 977 });
      const { closed, selfContained, tips, openLinks } = await bench.ingest(pack);
      t.match(
        { closed, selfContained, openLinks },
        { closed: true, selfContained: true, openLinks: [] },
      );
      t.same(tips, [repository.git(["rev-parse", "v1"])]);
    });
  }
});

t.test("a pack cut into single bytes", async (t) => {
  const base = Buffer.from("x".repeat(300));
  await same(
    t,
    buildPack([blob(base), { type: 6, base: 0, data: appending(base, "tail") }, blob("")]),
    { chunk: 1 },
  );
});

t.test("an empty pack, an empty blob, version 3", async (t) => {
  await same(t, buildPack([]));
  await same(t, buildPack([blob("")]));
  const pack = buildPack([blob("one"), blob("two")], { version: 3 });
  const ours = await bench.ingest(pack);
  t.ok(ours.idx.equals(plainTables(pack).idx));
});

t.test("a chain of 5,000 ofs-deltas and one of 300 ref-deltas", async (t) => {
  for (const [length, kind] of [
    [5_000, "ofs"],
    [300, "ref"],
  ] as const) {
    let data = Buffer.from("start");
    const entries = [blob(data)];
    let oid = oidOf("blob", data);
    for (let link = 0; link < length; link++) {
      const tail = `${link % 10}`;
      entries.push({
        type: kind === "ofs" ? 6 : 7,
        data: appending(data, tail),
        ...(kind === "ofs" ? { base: link } : { baseOid: oid }),
      });
      data = Buffer.concat([data, Buffer.from(tail)]);
      oid = oidOf("blob", data);
    }
    const pack = buildPack(kind === "ofs" ? entries : entries.reverse());
    const ours = await bench.ingest(pack);
    t.ok(ours.idx.equals(plainTables(pack).idx), kind);
    t.equal(ours.deltaCount, length);
  }
});

t.test("generated packs: trees of deltas over objects of all sizes", async (t) => {
  const random = seeded(7);
  for (let round = 0; round < 12; round++) {
    const objects: Buffer[] = [];
    const entries = [];
    for (let at = 0; at < 150; at++) {
      const base = at === 0 || random.below(3) === 0 ? undefined : random.below(at);
      const grow = random.below(20) === 0 ? 40_000 : 60;
      const added = Buffer.concat([
        Buffer.from(`${at}:`),
        Buffer.from(random.bytes(random.below(grow))),
      ]);
      const data = base === undefined ? added : Buffer.concat([objects[base] as Buffer, added]);
      objects.push(data);
      if (base === undefined) entries.push(blob(data));
      else {
        const changed = appending(objects[base] as Buffer, added);
        entries.push(
          random.below(2) === 0
            ? { type: 6, data: changed, base }
            : { type: 7, data: changed, baseOid: oidOf("blob", objects[base] as Buffer) },
        );
      }
    }
    await same(t, buildPack(entries), {
      chunk: 1 + random.below(100_000),
      memoryBytes: random.below(2) * 2 ** 24,
    });
  }
});

t.test("entries larger than the window, compressed well and not at all", async (t) => {
  const random = seeded(3);
  const noise = Buffer.from(random.bytes(3_000_000));
  const zeros = Buffer.alloc(20_000_000);
  const pack = buildPack([
    blob(noise),
    blob(zeros),
    { ...blob(noise.subarray(1)), level: 0 },
    whole("tree", ""),
    blob("end"),
  ]);
  await same(t, pack);
  await same(t, pack, { chunk: 3_001 });
});

t.test("deltas on and to objects that no arena holds", { timeout: 120_000 }, async (t) => {
  const base = Buffer.alloc(18_000_000, "abcdefgh");
  const small = Buffer.from("small");
  const grown = Buffer.concat([base, Buffer.from("1")]);
  const pack = buildPack([
    blob(base),
    { type: 6, base: 0, data: appending(base, "1") },
    { type: 6, base: 1, data: appending(grown, "2") },
    { type: 6, base: 1, data: delta(grown.length, 5, [0x90, 5]) },
    blob(small),
    {
      type: 6,
      base: 4,
      data: delta(
        5,
        5 + 17_000_000,
        insert(small),
        ...Array.from({ length: 1_000 }, () => insert(Buffer.alloc(17_000, "z"))),
      ),
    },
    { type: 7, baseOid: oidOf("blob", grown), data: appending(grown, "3") },
  ]);
  await same(t, pack);
  await same(t, pack, { memoryBytes: 0 });
});

t.test(
  "frames that outgrow the arena go to a file and come back",
  { timeout: 120_000 },
  async (t) => {
    const base = Buffer.concat([Buffer.from(seeded(5).bytes(100)), Buffer.alloc(13_000_000, "q")]);
    const entries = [blob(base)];
    let data = base;
    // Each link has two children, so none is done when the next is begun.
    for (let link = 0; link < 6; link++) {
      const at = link === 0 ? 0 : 2 * link - 1;
      entries.push({ type: 6, base: at, data: appending(data, `l${link}`) });
      entries.push({ type: 6, base: at, data: appending(data, `r${link}`) });
      data = Buffer.concat([data, Buffer.from(`l${link}`)]);
    }
    await same(t, buildPack(entries), { memoryBytes: 0 });
  },
);
