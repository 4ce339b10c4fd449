/** Thin packs are completed with their bases; links say what a pack needs from elsewhere. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import {
  appending,
  blob,
  buildPack,
  copy,
  delta,
  oidOf,
  whole,
} from "../../support/pack-builder.js";
import { createRepository, packHandle } from "../../support/stock-git.js";
import { gitIndex, ingestBench, plainTables } from "../../support/ingest-harness.js";

const bench = await ingestBench(t);

/** A pack in a folder of its own, as a live pack of a repository is. */
function stored(pack: Buffer, name: string) {
  const path = join(bench.folder, `${name}.pack`);
  writeFileSync(path, pack);
  execFileSync("git", ["index-pack", path], { stdio: "pipe" });
  return packHandle(path);
}

t.test("a thin push of stock git", async (t) => {
  const repository = createRepository();
  t.teardown(() => repository.remove());
  for (let file = 0; file < 30; file++)
    repository.write(
      `f${file}.txt`,
      Array.from({ length: 200 }, (_, line) => `${file} ${line * 7919}`).join("\n"),
    );
  const first = repository.commit("first");
  const packs = repository.packs();
  for (let file = 0; file < 30; file += 3)
    repository.write(
      `f${file}.txt`,
      Array.from({ length: 201 }, (_, line) => `${file} ${line * 7919}`).join("\n"),
    );
  const second = repository.commit("second");
  const thin = repository.gitBytes(
    ["pack-objects", "--thin", "--stdout", "-q", "--revs", "--delta-base-offset"],
    `${second}\n^${first}\n`,
  );

  t.equal(await bench.refuse(thin), "pack/base-missing", "without its bases");

  const ours = await bench.ingest(thin, {
    packs,
    closed: new Set(packs.map((pack) => pack.checksum)),
  });
  t.ok(ours.appendedCount > 0, `${ours.appendedCount} bases appended`);
  const plain = plainTables(ours.packBytes);
  t.ok(ours.idx.equals(plain.idx));
  t.ok(ours.rev.equals(plain.rev));
  t.ok(
    ours.idx.equals(gitIndex(ours.packBytes)),
    "git reads the completed pack and makes the same idx",
  );
  t.equal(ours.bytes, ours.packBytes.length);
  t.equal(ours.checksum, ours.packBytes.subarray(-20).toString("hex"));
  t.match(
    { closed: ours.closed, selfContained: ours.selfContained, openLinks: ours.openLinks },
    { closed: true, selfContained: false, openLinks: [] },
  );
  t.ok(ours.tips?.includes(second));

  const open = await bench.ingest(thin, { packs });
  t.equal(open.closed, false, "the packs it needs are not closed");
  t.ok(open.openLinks.includes(first));
});

t.test("a base that is here and in the pack is not appended", async (t) => {
  const root = Buffer.from("a base that both have, long enough to be one");
  const made = appending(root, "!");
  const middle = Buffer.concat([root, Buffer.from("!")]);
  const packs = [stored(buildPack([blob(middle)]), "both")];
  // The middle object comes as a delta here, and another delta names it by its id.
  const pack = buildPack([
    blob(root),
    { type: 6, base: 0, data: made },
    { type: 7, baseOid: oidOf("blob", middle), data: appending(middle, "?") },
  ]);
  const ours = await bench.ingest(pack, { packs });
  t.equal(ours.appendedCount, 0);
  t.ok(ours.idx.equals(plainTables(pack).idx));
});

t.test("what an appended tree links to is needed too", async (t) => {
  const names = Array.from({ length: 40 }, (_, at) =>
    Buffer.concat([
      Buffer.from(`100644 file${at + 10}\0`),
      Buffer.from(oidOf("blob", at === 0 ? "first" : "content"), "hex"),
    ]),
  );
  const old = Buffer.concat(names);
  const open = stored(buildPack([whole("tree", old)]), "tree-only");
  // The new tree keeps only the first entry; the others are needed by its base alone.
  const pack = buildPack([
    { type: 7, baseOid: oidOf("tree", old), data: delta(old.length, 34, copy(0, 34)) },
  ]);
  const ours = await bench.ingest(pack, { packs: [open], closed: new Set() });
  t.equal(ours.appendedCount, 1);
  t.same([...ours.openLinks].sort(), [oidOf("blob", "content"), oidOf("blob", "first")].sort());
  t.match(ours, { closed: false, selfContained: false });
});

t.test("a base too large to be kept is read again", async (t) => {
  const large = Buffer.alloc(17_000_000, "0123456789");
  const packs = [stored(buildPack([blob(large), blob("other")]), "large")];
  const pack = buildPack([
    { type: 7, baseOid: oidOf("blob", large), data: appending(large, "+") },
    { type: 7, baseOid: oidOf("blob", "other"), data: appending(Buffer.from("other"), "+") },
  ]);
  for (const memoryBytes of [0, 2 ** 26]) {
    const ours = await bench.ingest(pack, { packs, memoryBytes });
    t.equal(ours.appendedCount, 2);
    t.ok(ours.idx.equals(plainTables(ours.packBytes).idx));
  }
});

t.test("what a pack's links need", async (t) => {
  const file = blob("content");
  const oid = Buffer.from(oidOf("blob", "content"), "hex");
  const tree = Buffer.concat([
    Buffer.from("100644 a\0"),
    oid,
    Buffer.from("160000 module\0"),
    Buffer.alloc(20, 7),
  ]);
  const head = `tree ${oidOf("tree", tree)}\n`;
  const who = "author A <a@example.com> 1 +0000\ncommitter A <a@example.com> 1 +0000\n\nmessage\n";
  const parent = "1".repeat(40);

  await t.test("a submodule's commit is no link; the commit is the only tip", async (t) => {
    const pack = buildPack([whole("commit", head + who), whole("tree", tree), file]);
    t.match(await bench.ingest(pack), {
      closed: true,
      selfContained: true,
      openLinks: [],
      tips: [oidOf("commit", head + who)],
    });
  });
  await t.test("a missing parent and a missing blob are open links", async (t) => {
    const pack = buildPack([
      whole("commit", `${head}parent ${parent}\n${who}`),
      whole("tree", tree),
    ]);
    const ours = await bench.ingest(pack);
    t.match(ours, { closed: false, selfContained: false });
    t.same([...ours.openLinks].sort(), [parent, oidOf("blob", "content")].sort());
  });
  await t.test("a link to a blob as if it were a tree is refused", async (t) => {
    const wrong = `tree ${oidOf("blob", "content")}\n${who}`;
    t.equal(await bench.refuse(buildPack([whole("commit", wrong), file])), "pack/link-type");
  });
  await t.test("links of an object nobody can read are not known", async (t) => {
    const pack = buildPack([whole("tree", "no tree at all"), file]);
    t.equal(await bench.refuse(pack), "pack/fsck");
    t.match(await bench.ingest(pack, { fsck: false }), { closed: false, selfContained: false });
  });
});
