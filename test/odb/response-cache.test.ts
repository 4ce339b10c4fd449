/**
 * The response cache: one generation for all, files that outlive their eviction while they are
 * read, nothing trusted unseen.
 */
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { Fault } from "../../src/base/fault.js";
import type { PackStream } from "../../src/odb/pack-objects/pack-stream.js";
import {
  type Growth,
  type PackMaker,
  ResponseCache,
} from "../../src/odb/pack-objects/response-cache.js";

const KEY = "a".repeat(64);
const OTHER = "b".repeat(64);
const never = new AbortController().signal;

function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), "lakepack-cache-"));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

interface Run {
  readonly path: string;
  readonly growth: Growth;
  readonly signal: AbortSignal;
  /** Appends to the file and says so. */
  write(text: string): void;
  finish(): void;
  fail(error: unknown): void;
}

/** A maker that does what the test tells it to, step by step. */
class StepMaker implements PackMaker {
  readonly runs: Run[] = [];
  readonly checked: string[] = [];
  sound = true;

  generate(path: string, growth: Growth, signal: AbortSignal): Promise<{ bytes: number }> {
    let bytes = 0;
    writeFileSync(path, "");
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(new Fault("base/aborted")));
      this.runs.push({
        path,
        growth,
        signal,
        write(text) {
          appendFileSync(path, text);
          bytes += text.length;
          growth.written(bytes, 0);
        },
        finish: () => resolve({ bytes }),
        fail: reject,
      });
    });
  }

  async check(path: string, _signal: AbortSignal): Promise<boolean> {
    this.checked.push(path);
    return this.sound;
  }
}

async function readAll(stream: PackStream): Promise<string> {
  const view = Buffer.alloc(7);
  let text = "";
  for (
    let bytes = await stream.read([view.subarray(0, 3), view.subarray(3)], never);
    bytes > 0;
    bytes = await stream.read([view.subarray(0, 3), view.subarray(3)], never)
  )
    text += view.toString("latin1", 0, bytes);
  return text;
}

const settled = () => new Promise((resolve) => setTimeout(resolve, 30));

t.test("readers follow one generation from the start, the middle and after it", async (t) => {
  const cache = await ResponseCache.open({ folder: folder(t) });
  const maker = new StepMaker();
  const first = await cache.stream(KEY, maker, never);
  const run = maker.runs[0] as Run;
  run.write("PACK and ");
  const second = await cache.stream(KEY, maker, never);
  const reading = [readAll(first), readAll(second)];
  await settled();
  run.write("so on");
  run.finish();
  t.same(await Promise.all(reading), ["PACK and so on", "PACK and so on"]);
  const third = await cache.stream(KEY, maker, never);
  t.equal(await readAll(third), "PACK and so on");
  await Promise.all([first, second, third].map((stream) => stream.close()));
  t.equal(maker.runs.length, 1);
  t.match(cache.figures, { generated: 1, shared: 1, hits: 1 });
});

t.test("a generation stops when the last reader goes, and not before", async (t) => {
  const path = folder(t);
  const cache = await ResponseCache.open({ folder: path });
  const maker = new StepMaker();
  const [one, two] = [await cache.stream(KEY, maker, never), await cache.stream(KEY, maker, never)];
  const run = maker.runs[0] as Run;
  run.write("PA");
  await one.close();
  await one.close(); // again: does nothing
  t.notOk(run.signal.aborted);
  await two.close();
  t.ok(run.signal.aborted);
  await settled();
  t.same(readdirSync(path), [], "nothing is left");
  const again = await cache.stream(KEY, maker, never);
  t.equal(maker.runs.length, 2, "who comes later begins anew");
  maker.runs[1]?.write("PACK");
  maker.runs[1]?.finish();
  t.equal(await readAll(again), "PACK");
  await again.close();
});

t.test("a failed generation fails every reader with its reason and is tried again", async (t) => {
  const path = folder(t);
  const cache = await ResponseCache.open({ folder: path });
  const maker = new StepMaker();
  const [one, two] = [await cache.stream(KEY, maker, never), await cache.stream(KEY, maker, never)];
  maker.runs[0]?.write("PACK");
  writeFileSync(`${maker.runs[0]?.path}.3`, "a batch of a thread that died");
  maker.runs[0]?.fail(new Fault("odb/damaged", { pack: "x" }));
  for (const stream of [one, two]) {
    await t.rejects(readAll(stream), { code: "odb/damaged" });
    await stream.close();
  }
  await settled();
  t.same(readdirSync(path), []);
  t.equal(cache.count, 0);
  await (await cache.stream(KEY, maker, never)).close();
  t.equal(maker.runs.length, 2);
});

async function put(
  cache: ResponseCache,
  maker: StepMaker,
  key: string,
  text: string,
): Promise<void> {
  const stream = await cache.stream(key, maker, never);
  const run = maker.runs.at(-1) as Run;
  run.write(text);
  run.finish();
  await readAll(stream);
  await stream.close();
}

t.test(
  "bounded by bytes: what was used longest ago goes, and stays readable for who has it open",
  async (t) => {
    const path = folder(t);
    const cache = await ResponseCache.open({ folder: path, bytesMax: 25 });
    const maker = new StepMaker();
    await put(cache, maker, KEY, "0123456789");
    await put(cache, maker, OTHER, "abcdefghij");
    const open = await cache.stream(KEY, maker, never); // now the other one is older
    const view = Buffer.alloc(3);
    await open.read([view], never);
    await put(cache, maker, "c".repeat(64), "ABCDEFGHIJ");
    await settled();
    t.same(
      readdirSync(path)
        .map((name) => name[0])
        .sort(),
      ["a", "c"],
    );
    t.equal(cache.bytes, 20);
    await put(cache, maker, "d".repeat(64), "ABCDEFGHIJKLMNOP");
    await settled();
    t.notOk(existsSync(join(path, `${KEY}.pack`)));
    t.equal(await readAll(open), "3456789", "the file is gone, its bytes are not");
    await open.close();
    t.equal(cache.figures.evicted, 3);
  },
);

t.test("a pack larger than the whole cache is sent and not kept", async (t) => {
  const path = folder(t);
  const cache = await ResponseCache.open({ folder: path, bytesMax: 5 });
  const maker = new StepMaker();
  const stream = await cache.stream(KEY, maker, never);
  maker.runs[0]?.write("0123456789");
  maker.runs[0]?.finish();
  await settled();
  t.equal(await readAll(stream), "0123456789");
  await stream.close();
  t.same([cache.bytes, cache.count], [0, 0]);
  t.same(readdirSync(path), []);
});

t.test("after a restart each file is checked once, then by its length; leftovers go", async (t) => {
  const path = folder(t);
  const maker = new StepMaker();
  await put(await ResponseCache.open({ folder: path }), maker, KEY, "0123456789");
  writeFileSync(join(path, `${OTHER}.0123.part`), "left by a crash");
  writeFileSync(join(path, `${OTHER}.0123.part.7`), "left by a crash");
  const cache = await ResponseCache.open({ folder: path });
  t.same(readdirSync(path), [`${KEY}.pack`]);
  t.equal(cache.bytes, 10);
  for (let time = 0; time < 3; time++) {
    const stream = await cache.stream(KEY, maker, never);
    t.equal(await readAll(stream), "0123456789");
    await stream.close();
  }
  t.equal(maker.checked.length, 1);
  truncateSync(join(path, `${KEY}.pack`), 9);
  const stream = await cache.stream(KEY, maker, never);
  t.equal(maker.runs.length, 2, "made again");
  maker.runs[1]?.write("new");
  maker.runs[1]?.finish();
  t.equal(await readAll(stream), "new");
  await stream.close();
  t.equal(cache.bytes, 3);
});

t.test("two readers share a check and the first one goes: the other reads on", async (t) => {
  const path = folder(t);
  const maker = new StepMaker();
  await put(await ResponseCache.open({ folder: path }), maker, KEY, "0123456789");
  const cache = await ResponseCache.open({ folder: path });
  const checking: { resolve(sound: boolean): void; signal: AbortSignal }[] = [];
  maker.check = (_path, signal) =>
    new Promise((resolve, reject) => {
      checking.push({ resolve, signal });
      signal.addEventListener("abort", () => reject(new Fault("base/aborted")));
    });
  const abort = new AbortController();
  const first = cache.stream(KEY, maker, abort.signal);
  const second = cache.stream(KEY, maker, never);
  await settled();
  abort.abort();
  await t.rejects(first, { code: "base/aborted" });
  t.equal(checking.length, 1);
  t.notOk(checking[0]?.signal.aborted, "the check goes on");
  checking[0]?.resolve(true);
  const stream = await second;
  t.equal(await readAll(stream), "0123456789");
  await stream.close();
});

t.test("a file whose checksum does not hold is made again", async (t) => {
  const path = folder(t);
  const maker = new StepMaker();
  await put(await ResponseCache.open({ folder: path }), maker, KEY, "0123456789");
  const cache = await ResponseCache.open({ folder: path });
  maker.sound = false;
  const stream = await cache.stream(KEY, maker, never);
  t.equal(maker.runs.length, 2);
  maker.runs[1]?.write("good");
  maker.runs[1]?.finish();
  t.equal(await readAll(stream), "good");
  await stream.close();
  t.equal(cache.figures.rejected, 1);
});

t.test("who gives up waiting is let go, the others go on", async (t) => {
  const cache = await ResponseCache.open({ folder: folder(t) });
  const maker = new StepMaker();
  const [one, two] = [await cache.stream(KEY, maker, never), await cache.stream(KEY, maker, never)];
  const abort = new AbortController();
  const waiting = one.read([Buffer.alloc(5)], abort.signal);
  abort.abort();
  await t.rejects(waiting, { code: "base/aborted" });
  await one.close();
  maker.runs[0]?.write("PACK");
  maker.runs[0]?.finish();
  t.equal(await readAll(two), "PACK");
  await two.close();
});
