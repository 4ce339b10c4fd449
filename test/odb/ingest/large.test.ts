/**
 * Objects of several GiB and a pack beyond 4 GiB: bounded memory, 64-bit offsets. At full size with
 * `npm run test:large`, which writes 5 GB; small otherwise.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { deflateSync } from "node:zlib";
import t from "tap";
import { writeTypeAndSize } from "../../../src/git/pack-writer.js";
import { loadKernels } from "../../../src/cli/server/kernels.js";
import { WasmKernels } from "../../../src/kernels/wasm.js";
import { startIngest } from "../../../src/odb/index-pack/spool.js";
import { seeded } from "../../support/random.js";
import { ingestBench } from "../../support/ingest-harness.js";

const kernels = new WasmKernels(await loadKernels());
const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const sizes = process.env["TEST_LARGE"] ? [3 * GIB, 1.5 * GIB] : [48 * MIB, 24 * MIB];

/**
 * A zlib stream of stored blocks (RFC 1951 §3.2.4): as fast to make as to copy. `tell` hears the
 * content.
 */
function* streamOf(size: number, tell: (content: Uint8Array) => void): Generator<Uint8Array> {
  const content = Buffer.from(seeded(size % 1_000).bytes(65_535));
  let adler = 1;
  yield Uint8Array.from([0x78, 0x01]);
  for (let left = size; left > 0; ) {
    content.writeUInt32LE(left % 2 ** 32);
    const part = content.subarray(0, Math.min(left, content.length));
    left -= part.length;
    const head = Buffer.from([left === 0 ? 1 : 0, 0, 0, 0, 0]);
    head.writeUInt16LE(part.length, 1);
    head.writeUInt16LE(part.length ^ 0xffff, 3);
    adler = kernels.adler32(part, adler);
    tell(part);
    yield head;
    yield part;
  }
  const check = Buffer.alloc(4);
  check.writeUInt32BE(adler);
  yield check;
}

t.setTimeout(900_000);

t.test("blobs that fit in no memory", { timeout: 900_000 }, async (t) => {
  const bench = await ingestBench(t);
  const ingest = await startIngest(
    {
      folder: join(bench.folder, "large"),
      packs: [],
      closed: new Set(),
      fsck: true,
      packBytesMax: 2 ** 40,
      memoryBytes: 2 ** 28,
      signal: new AbortController().signal,
    },
    bench.pool,
  );
  t.teardown(() => ingest.discard());
  const hash = createHash("sha1");
  const before = process.memoryUsage().rss;
  let peak = 0;
  let bytes = 0;
  const put = async (part: Uint8Array) => {
    hash.update(part);
    await ingest.write(part);
    bytes += part.length;
    if (bytes % (64 * MIB) < part.length) {
      peak = Math.max(peak, process.memoryUsage().rss);
      await turn();
    }
  };
  const header = Buffer.from("PACK\0\0\0\x02\0\0\0\x04", "latin1");
  await put(header);
  const oids: string[] = [];
  const head = (size: number) => {
    const room = new Uint8Array(16);
    return room.subarray(0, writeTypeAndSize(room, 0, 3, size));
  };
  for (const size of sizes) {
    const id = createHash("sha1").update(`blob ${size}\0`);
    await put(head(size));
    for (const part of streamOf(size, (content) => id.update(content))) await put(part);
    oids.push(id.digest("hex"));
  }
  for (const text of ["behind", "the end"]) {
    await put(head(text.length));
    await put(deflateSync(text));
  }
  await ingest.write(hash.digest());
  const pack = await ingest.finish();
  peak = Math.max(peak, process.memoryUsage().rss);
  t.ok(peak - before < 300e6, `RSS grew by ${Math.round((peak - before) / 1e6)} MB`);
  for (const oid of oids) t.ok(pack.tips?.includes(oid), oid);
  const idx = join(bench.folder, "git.idx");
  execFileSync("git", ["index-pack", "-o", idx, pack.packPath], { stdio: "pipe" });
  t.ok(readFileSync(idx).equals(readFileSync(pack.idxPath)), "git makes the same idx");
});
