/**
 * Memory of a body's chunks, which a reader may give back: it is used again, and nobody else's ever
 * is.
 */
import { readdirSync, readlinkSync } from "node:fs";
import t, { type Test } from "tap";
import { LIMITS } from "../../src/base/limits.js";
import { BodyOverflow } from "../../src/transport/http/body-overflow.js";
import { tempFolder } from "../support/temp-folder.js";
import { seeded } from "../support/random.js";
import { RequestBody } from "../../src/transport/http/request-body.js";

const noFlow = { pause: () => undefined, resume: () => undefined };

t.test("what is given back is filled again", async (t) => {
  const body = new RequestBody(noFlow);
  const first = body.take(10_000).fill(1);
  body.push(first);
  t.equal(await body.read(), first);
  const second = body.take(10_000);
  t.not(second.buffer, first.buffer, "not before it is given back");
  body.release(first);
  const third = body.take(9_000);
  t.equal(third.buffer, first.buffer);
  t.equal(third.length, 9_000);
  t.not(body.take(9_000).buffer, first.buffer, "once");
  body.release(second);
  t.not(body.take(20_000).buffer, second.buffer, "where it is large enough");
  const large = body.take(20_000);
  body.release(large);
  t.equal(body.take(500_000).buffer, large.buffer, "which it is for what comes next");
});

t.test("memory that was made elsewhere is not taken, nor more than some", async (t) => {
  const body = new RequestBody(noFlow);
  const shared = Buffer.from("short texts lie in memory that all of Node shares");
  body.release(shared);
  t.not(body.take(10).buffer, shared.buffer);
  const made = Array.from({ length: 40 }, () => body.take(5_000));
  for (const chunk of made) body.release(chunk);
  const again = new Set(Array.from({ length: 40 }, () => body.take(5_000).buffer));
  const kept = made.filter(({ buffer }) => again.has(buffer)).length;
  t.ok(kept > 0 && kept <= 12, `${kept} were kept`);
});

t.test("memory that is too small for what comes gives its place to what is not", async (t) => {
  const body = new RequestBody(noFlow);
  for (const small of Array.from({ length: 20 }, () => body.take(300_000))) body.release(small);
  const large = Array.from({ length: 8 }, () => body.take(524_288));
  for (const chunk of large) body.release(chunk);
  const kept = new Set(large.map(({ buffer }) => buffer));
  for (let at = 0; at < 8; at++) t.ok(kept.has(body.take(524_288).buffer));
});

/** Files of a folder that this process has open, their names taken away. */
function openIn(folder: string): number {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(folder);
    } catch {
      return false;
    }
  }).length;
}

async function overflowing(t: Test): Promise<{
  body: RequestBody;
  overflow: BodyOverflow;
  folder: string;
  chunk: (at: number) => Buffer;
}> {
  const folder = await tempFolder(t);
  const overflow = new BodyOverflow(folder);
  const body = new RequestBody(noFlow, overflow);
  return { body, overflow, folder, chunk: (at) => Buffer.alloc(300_000, at % 251) };
}

t.test(
  "what comes although the front end was asked to pause waits in a file, in order",
  async (t) => {
    const { body, overflow, folder, chunk } = await overflowing(t);
    const random = seeded(7);
    const sent: Buffer[] = [];
    const got: Buffer[] = [];
    const push = () => {
      sent.push(chunk(sent.length));
      body.push(sent.at(-1) as Buffer);
    };
    const read = async () => void got.push(Buffer.from((await body.read()) as Uint8Array));
    for (let at = 0; at < 100; at++) push();
    t.ok(
      overflow.bytes > 100 * 300_000 - LIMITS.bodyBurstBytesMax - 300_000,
      `${overflow.bytes} bytes wait in the file`,
    );
    t.same(readdirSync(folder), [], "which has no name");
    t.equal(openIn(folder), 1);
    const bytes = (parts: readonly Buffer[]) => parts.reduce((sum, { length }) => sum + length, 0);
    for (let at = 0; at < 300; at++) {
      const reading = read();
      if (random.below(10) < 4 || bytes(got) === bytes(sent)) push();
      await reading;
    }
    body.end();
    for (let part = await body.read(); part !== undefined; part = await body.read())
      got.push(Buffer.from(part));
    t.ok(Buffer.concat(got).equals(Buffer.concat(sent)), `${sent.length} chunks`);
    t.equal(openIn(folder), 0, "the file is closed when all of it is read");
  },
);

t.test("a body that ends early leaves no file open, also in the middle of a read", async (t) => {
  for (const end of ["fail", "discard"] as const) {
    const { body, overflow, folder, chunk } = await overflowing(t);
    for (let at = 0; at < 60; at++) body.push(chunk(at));
    while (overflow.bytes > 20 * 300_000) await body.read();
    const reading = body.read().catch((error: unknown) => error);
    if (end === "fail") body.fail(new Error("the client has gone"));
    else body.discard();
    await reading;
    body.push(chunk(1));
    t.equal(openIn(folder), 0, end);
  }
});

t.test("a folder that takes nothing fails the body, and nothing else", async (t) => {
  const body = new RequestBody(noFlow, new BodyOverflow("/nonexistent"));
  for (let at = 0; at < 60; at++) body.push(Buffer.alloc(300_000));
  const all = async () => {
    while ((await body.read()) !== undefined);
  };
  await t.rejects(all(), { code: "store/failed" });
});

t.test("a client that is too far ahead is told to try again, and its file goes", async (t) => {
  const folder = await tempFolder(t);
  const body = new RequestBody(noFlow, new BodyOverflow(folder, 100_000));
  const inMemory = Buffer.alloc(LIMITS.bodyBurstBytesMax, 1);
  body.push(inMemory);
  body.push(Buffer.alloc(100_000, 2));
  t.equal(openIn(folder), 1);
  body.push(Buffer.alloc(1, 3));
  await t.rejects(body.read(), { code: "pool/saturated", facts: { putAside: 100_000 } });
  t.equal(openIn(folder), 0);
});
