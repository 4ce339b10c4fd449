import { gzipSync } from "node:zlib";
import t from "tap";
import { Fault } from "../../src/base/fault.js";
import type { ByteSource } from "../../src/base/flow.js";
import { gunzip } from "../../src/transport/http/gunzip.js";
import { seeded } from "../support/random.js";

const MIB = 1024 * 1024;

/** A source of `bytes` in pieces of `step`, which counts how often it is asked. */
function source(bytes: Uint8Array, step: number): ByteSource & { reads: number } {
  let at = 0;
  return {
    reads: 0,
    async read() {
      this.reads++;
      if (at >= bytes.length) return undefined;
      at += step;
      return bytes.subarray(at - step, at);
    },
  };
}

async function drain(body: ByteSource): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for (let chunk = await body.read(); chunk !== undefined; chunk = await body.read())
    parts.push(chunk.slice());
  return Buffer.concat(parts);
}

async function faultOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "none",
    (error: unknown) => (error instanceof Fault ? error.code : String(error)),
  );
}

t.test("gzip of any size, cut at any byte", async (t) => {
  const random = seeded(5);
  for (const size of [0, 1, 1_000, 200_000]) {
    const data = random.bytes(size);
    const zipped = gzipSync(data);
    for (const step of size === 1_000 ? [1, 7, 100, zipped.length] : [4_096, zipped.length])
      t.ok(
        (await drain(gunzip(source(zipped, step), 10 * MIB))).equals(Buffer.from(data)),
        `${size} by ${step}`,
      );
  }
  const two = Buffer.concat([gzipSync("one "), gzipSync("two")]);
  t.equal(
    (await drain(gunzip(source(two, 5), 100))).toString(),
    "one two",
    "members end to end are one body. RFC 1952, 2.2",
  );
});

t.test("what is not gzip, broken or cut short is a fault", async (t) => {
  const zipped = gzipSync(seeded(6).bytes(5_000));
  t.equal(
    await faultOf(drain(gunzip(source(Buffer.from("0011want ..."), 100), MIB))),
    "wire/bad-encoding",
    "plain text",
  );
  for (const length of [0, 1, 10, 2_000, zipped.length - 1])
    t.equal(
      await faultOf(drain(gunzip(source(zipped.subarray(0, length), 999), MIB))),
      "wire/bad-encoding",
      `cut at ${length}`,
    );
  const broken = Buffer.from(zipped);
  broken.writeUInt8((broken[broken.length - 5] ?? 0) ^ 1, broken.length - 5); // the checksum at the end
  t.equal(
    await faultOf(drain(gunzip(source(broken, 999), MIB))),
    "wire/bad-encoding",
    "bad checksum",
  );
});

t.test("a bomb is refused at its limit, and is not read on", async (t) => {
  const bomb = gzipSync(Buffer.alloc(256 * MIB));
  const body = source(bomb, 4_096);
  const before = process.memoryUsage().rss;
  const inflating = gunzip(body, MIB);
  t.equal(await faultOf(drain(inflating)), "wire/too-much");
  inflating.close();
  t.ok(body.reads < 40, `${body.reads} reads of ${Math.ceil(bomb.length / 4_096)}`);
  t.ok(process.memoryUsage().rss - before < 64 * MIB);
});

t.test("a fault of the body itself comes through", async (t) => {
  const body: ByteSource = { read: () => Promise.reject(new Fault("base/aborted")) };
  t.equal(await faultOf(drain(gunzip(body, MIB))), "base/aborted");
});

t.test("nothing is inflated that nobody reads", async (t) => {
  const body = source(gzipSync(seeded(8).bytes(8 * MIB)), 65_536);
  const inflating = gunzip(body, 16 * MIB);
  await inflating.read();
  await new Promise((resolve) => setTimeout(resolve, 100));
  t.ok(body.reads < 12, `${body.reads} reads after one chunk was taken`);
  inflating.close();
});
