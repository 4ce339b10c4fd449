/** Objects out of packs: what git cat-file says, however deep the chains, and damage is named. */
import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deflateSync } from "node:zlib";
import t, { type Test } from "tap";
import { Fault } from "../../src/base/fault.js";
import { PackWriter } from "../../src/git/pack-writer.js";
import type { Kernels } from "../../src/kernels/kernels.js";
import { plainKernels } from "../../src/kernels/plain.js";
import { WasmKernels } from "../../src/kernels/wasm.js";
import { createReaderCaches, ObjectReader } from "../../src/odb/packs/reader.js";
import { NONE } from "../../src/odb/packs/numbering.js";
import { PackLookup } from "../../src/odb/packs/lookup.js";
import type { PackHandle } from "../../src/odb/packs/handle.js";
import { createRepository, packHandle, type StockRepository } from "../support/stock-git.js";

const KERNELS: readonly Kernels[] = [
  plainKernels,
  new WasmKernels(
    new WebAssembly.Module(readFileSync(new URL("../../wasm/kernels.wasm", import.meta.url))),
  ),
];

function sample(t: Test): StockRepository {
  const repository = createRepository();
  t.teardown(() => repository.remove());
  for (let version = 0; version < 30; version++) {
    repository.write("log.txt", "a line of text\n".repeat(500 + version));
    repository.write(`folder/${version}.txt`, `${version}\n`);
    repository.commit(`version ${version}`);
  }
  repository.write("random.bin", randomBytes(300_000));
  repository.write("empty", "");
  repository.commit("binary");
  repository.git(["tag", "-a", "-m", "annotated", "v1"]);
  return repository;
}

/** The same bytes in every run. */
function randomBytes(length: number): Buffer {
  let state = 1;
  const next = () => {
    state = (state * 48_271) % 2_147_483_647;
    return state & 0xff;
  };
  return Buffer.from(Uint8Array.from({ length }, next));
}

function temporary(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), "lakepack-reader-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function checkAll(t: Test, repository: StockRepository, reader: ObjectReader): void {
  const listed = repository
    .git([
      "cat-file",
      "--batch-all-objects",
      "--batch-check=%(objectname) %(objecttype) %(objectsize)",
    ])
    .split("\n");
  for (const line of listed) {
    const [oid = "", type, size] = line.split(" ");
    const number = reader.locate(oid);
    if (number === NONE) return void t.fail(`${oid} was not found`);
    const object = reader.read(number);
    const same =
      object.type === type &&
      reader.type(number) === type &&
      reader.size(number) === Number(size) &&
      object.data.length === Number(size);
    if (!same || reader.space.oid(number) !== oid)
      t.fail(
        `${line}: ${object.type} ${object.data.length}, ${reader.type(number)} ${reader.size(number)}`,
      );
    if (
      execFileSync("git", ["hash-object", "--stdin", "-t", object.type], {
        input: object.data,
        cwd: repository.path,
      })
        .toString()
        .trim() !== oid
    )
      t.fail(`${oid}: content differs`);
  }
  t.pass(`${listed.length} objects`);
}

for (const kernels of KERNELS) {
  t.test(`every object as git has it, from one pack, ${kernels.name} kernels`, async (t) => {
    const repository = sample(t);
    checkAll(t, repository, new ObjectReader(repository.packs(), kernels));
  });

  t.test(
    `every object as git has it, from many packs with doubles, ${kernels.name} kernels`,
    async (t) => {
      const repository = sample(t);
      repository.packs();
      for (let more = 0; more < 3; more++) {
        repository.write("log.txt", "a line of text\n".repeat(600 + more));
        repository.commit(`more ${more}`);
        repository.packs({ incremental: true });
        // Objects that lie in several packs.
        const some = repository.git([
          "rev-list",
          "--objects",
          "--no-object-names",
          `HEAD~${more + 2}..HEAD`,
        ]);
        repository.git(["pack-objects", "-q", ".git/objects/pack/pack"], some);
      }
      const packs = repository.packs({ incremental: true });
      t.ok(packs.length > 3);
      checkAll(t, repository, new ObjectReader(packs, kernels));
    },
  );
}

t.test("offsets of 64 bits are read from the far table", async (t) => {
  const repository = sample(t);
  const [pack] = repository.packs() as [PackHandle];
  const copy = join(temporary(t), "pack-far.pack");
  copyFileSync(pack.path, copy);
  execFileSync("git", ["index-pack", "--index-version=2,0x100", copy], { cwd: repository.path });
  const far = packHandle(copy);
  t.ok(far.idx.byteLength > pack.idx.byteLength, "there is a far table");
  const [near, there] = [new PackLookup(pack), new PackLookup(far)];
  for (let rank = 0; rank < pack.objectCount; rank++) {
    const position = near.positionAt(rank);
    if (
      there.offset(position) !== near.offset(position) ||
      there.rankOf(near.offset(position)) !== rank
    )
      t.fail(`rank ${rank}`);
  }
  checkAll(t, repository, new ObjectReader([far], plainKernels));
});

t.test("ids beside those held are not found", async (t) => {
  const repository = sample(t);
  const [pack] = repository.packs() as [PackHandle];
  const lookup = new PackLookup(pack);
  for (let position = 0; position < pack.objectCount; position++) {
    const id = Buffer.from(lookup.oidView(position));
    if (lookup.find(id, 0) !== position) t.fail(`position ${position}`);
    for (const byte of [0, 4, 19]) {
      const other = Buffer.from(id);
      other[byte] = (other[byte] as number) ^ 1;
      if (lookup.find(other, 0) !== -1) t.fail(`position ${position}, byte ${byte}`);
    }
  }
  t.equal(lookup.findOid("0".repeat(40)), -1);
  t.equal(lookup.findOid("f".repeat(40)), -1);
});

/** A pack of one blob and a chain of `links` deltas, each adding a byte at the end. */
function chainPack(path: string, links: number): void {
  const pieces: Buffer[] = [];
  const writer = new PackWriter(
    links + 1,
    1 << 16,
    (piece) => void pieces.push(Buffer.from(piece)),
  );
  let before = writer.offset;
  writer.header(3, 1);
  writer.bytes(deflateSync("x"));
  for (let size = 1; size <= links; size++) {
    // Copy all of the base (offset 0, two bytes of size), insert one byte.
    const delta = Buffer.from([
      ...number(size),
      ...number(size + 1),
      0xb0,
      size & 0xff,
      size >> 8,
      1,
      size % 251,
    ]);
    const at = writer.offset;
    writer.header(6, delta.length, at - before);
    writer.bytes(deflateSync(delta, { level: 1 }));
    before = at;
  }
  writer.finish();
  writeFileSync(path, Buffer.concat(pieces));
}

function number(value: number): number[] {
  return value < 128 ? [value] : [(value & 0x7f) | 0x80, ...number(value >> 7)];
}

t.test("a chain of 10,000 deltas is read without recursion", async (t) => {
  const path = join(temporary(t), "pack-chain.pack");
  chainPack(path, 10_000);
  execFileSync("git", ["index-pack", path], { cwd: t.testdir({}) });
  const handle = packHandle(path);
  const reader = new ObjectReader([handle], plainKernels);
  const last = new PackLookup(handle).positionAt(10_000);
  t.equal(reader.read(last).data.length, 10_001);
  t.equal(reader.type(last), "blob");
  t.equal(new ObjectReader([handle], plainKernels).size(last), 10_001);
});

function faultOf(work: () => unknown): Fault | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return error as Fault;
  }
}

t.test(
  "any byte that goes bad in a pack is noticed or does not matter, and damage names the pack",
  async (t) => {
    const repository = createRepository();
    t.teardown(() => repository.remove());
    repository.write("a", "some text that is long enough to be worth a delta\n".repeat(20));
    repository.commit("one");
    repository.write("a", "some text that is long enough to be worth a delta\n".repeat(21));
    repository.commit("two");
    const [pack] = repository.packs() as [PackHandle];
    const good = readFileSync(pack.path);
    const path = join(temporary(t), "pack-bad.pack");
    const lookup = new PackLookup(pack);
    const whole = new ObjectReader([pack], plainKernels);
    const contents = Array.from({ length: pack.objectCount }, (_, position) =>
      Buffer.from(whole.read(position).data),
    );
    let noticed = 0;
    for (let at = 12; at < good.length - 20; at++) {
      const bad = Buffer.from(good);
      bad[at] = (bad[at] as number) ^ (1 << (at % 8));
      writeFileSync(path, bad);
      const reader = new ObjectReader([{ ...pack, path }], plainKernels, createReaderCaches());
      for (let position = 0; position < lookup.count; position++) {
        const fault = faultOf(() => {
          const { data } = reader.read(position);
          // A flipped type bit gives another type of the same content: the id would not match,
          // which nobody recomputes here.
          if (!contents[position]?.equals(data))
            t.fail(`byte ${at} changed object ${position} unnoticed`);
        });
        if (fault === undefined) continue;
        noticed++;
        if (!(fault instanceof Fault) || !["odb/damaged", "pack/too-large"].includes(fault.code))
          t.fail(`byte ${at}: ${fault}`);
      }
    }
    t.ok(noticed > 100, `${noticed} reads failed as they should`);
  },
);

t.test("a file that is too short or gone is damage, never an absent object", async (t) => {
  const repository = sample(t);
  const [pack] = repository.packs() as [PackHandle];
  const path = join(temporary(t), "pack-cut.pack");
  copyFileSync(pack.path, path);
  truncateSync(path, statSync(path).size - 200_000);
  const cut = new ObjectReader([{ ...pack, path }], plainKernels, createReaderCaches());
  const last = new PackLookup(pack).positionAt(pack.objectCount - 1);
  t.match(
    faultOf(() => cut.read(last)),
    { code: "odb/damaged", facts: { pack: pack.checksum } },
  );
  const gone = new ObjectReader(
    [{ ...pack, path: `${path}.none` }],
    plainKernels,
    createReaderCaches(),
  );
  t.match(
    faultOf(() => gone.read(0)),
    { code: "odb/damaged" },
  );
  t.match(
    faultOf(() => new ObjectReader([{ ...pack, objectCount: pack.objectCount - 1 }], plainKernels)),
    { code: "odb/damaged" },
  );
  t.match(
    faultOf(() => new ObjectReader([pack], plainKernels).readOid("0".repeat(40))),
    { code: "odb/missing" },
  );
});

t.test(
  "the size of a delta whose first block has large tables, or empty blocks before it",
  async (t) => {
    const repository = createRepository();
    t.teardown(() => repository.remove());
    const base = randomBytes(60_000);
    // Bytes of 230 kinds, some often and most seldom: the tables before the first byte take
    // hundreds.
    let state = 7;
    const skewed = Buffer.from(
      Uint8Array.from({ length: 30_000 }, () => {
        state = (state * 48_271) % 2_147_483_647;
        return (89 * Math.floor(251 * (state / 2_147_483_647) ** 3)) % 251; // neighbours have codes of other lengths, which tables cannot fold
      }),
    );
    repository.write("a.bin", base);
    repository.commit("base");
    repository.write("a.bin", Buffer.concat([base, skewed]));
    repository.commit("with more");
    const [pack] = repository.packs() as [PackHandle];
    const reader = new ObjectReader([pack], plainKernels);
    checkAll(t, repository, reader);
    // By hand: a delta behind four hundred blocks that hold nothing.
    const path = join(temporary(t), "pack-hand.pack");
    const pieces: Buffer[] = [];
    const writer = new PackWriter(2, 65_536, (piece) => void pieces.push(Buffer.from(piece)));
    const before = writer.offset;
    writer.header(3, base.length);
    writer.bytes(deflateSync(base));
    const inserts = Array.from({ length: 160 }, (_, at) =>
      Buffer.concat([Buffer.from([125]), skewed.subarray(at * 125, at * 125 + 125)]),
    );
    const delta = Buffer.concat([
      Buffer.from([...number(base.length), ...number(20_000)]),
      ...inserts,
    ]);
    const stored = Buffer.concat([
      Buffer.from([0x78, 0x01]),
      Buffer.from("000000ffff".repeat(400), "hex"),
      deflateSync(delta).subarray(2),
    ]);
    const at = writer.offset;
    writer.header(6, delta.length, at - before);
    writer.bytes(stored);
    writer.finish();
    writeFileSync(path, Buffer.concat(pieces));
    execFileSync("git", ["index-pack", path], { cwd: t.testdir({}) });
    const handle = packHandle(path);
    t.equal(
      new ObjectReader([handle], plainKernels).size(new PackLookup(handle).positionAt(1)),
      20_000,
    );
  },
);
