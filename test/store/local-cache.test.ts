/** Local copies of what lies in a store: here a disk store, slowed and counted. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  mkdir,
  open,
  readdir,
  readFile,
  stat,
  truncate,
  unlink,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { Fault } from "../../src/base/fault.js";
import { LocalCache, type LocalCacheOptions } from "../../src/store/cache/local-cache.js";
import type { ObjectStart, RangeSource } from "../../src/store/cache/download.js";
import { DiskStore, makeRoot } from "../../src/store/disk.js";
import { faultOf } from "../conformance/store.js";
import { tempFolder } from "../support/temp-folder.js";

const MIB = 1024 * 1024;

class SlowSource implements RangeSource {
  readonly store: DiskStore;
  /** Milliseconds that each request takes. */
  ms = 0;
  starts = 0;
  inFlight = 0;
  inFlightMax = 0;
  failing: Fault | undefined;

  constructor(store: DiskStore) {
    this.store = store;
  }

  async readStart(key: string, bytesMax: number): Promise<ObjectStart | undefined> {
    this.starts++;
    const total = await this.store.size(key);
    if (total === undefined) return undefined;
    return { total, bytes: await this.readRange(key, 0, Math.min(total, bytesMax)) };
  }

  async readRange(key: string, start: number, end: number): Promise<Uint8Array> {
    this.inFlightMax = Math.max(this.inFlightMax, ++this.inFlight);
    try {
      await new Promise((wake) => setTimeout(wake, this.ms));
      if (this.failing !== undefined) throw this.failing;
      return await this.store.readRange(key, start, end);
    } finally {
      this.inFlight--;
    }
  }
}

interface Scene {
  readonly source: SlowSource;
  readonly cache: LocalCache;
  readonly folder: string;
  readonly contents: ReadonlyMap<string, Buffer>;
  /** A cache on the same folder, as another process would open it. */
  again(): Promise<LocalCache>;
}

/** Objects "a", "b"… of these sizes, and a cache that is opened. */
async function scene(
  t: Test,
  sizes: readonly number[],
  more: Partial<LocalCacheOptions> = {},
): Promise<Scene> {
  const root = await tempFolder(t);
  await makeRoot(join(root, "store"));
  const store = new DiskStore(join(root, "store"));
  const contents = new Map(
    sizes.map((size, at) => [String.fromCharCode(97 + at), randomBytes(size)] as const),
  );
  for (const [key, bytes] of contents) await store.putIfAbsent(key, bytes);
  const source = new SlowSource(store);
  const folder = join(root, "store-cache");
  const again = async () => {
    const cache = new LocalCache({ folder, bytesMax: 1_000_000, source, holdMs: 0, ...more });
    await cache.open();
    return cache;
  };
  return { source, cache: await again(), folder, contents, again };
}

async function holds({ contents }: Scene, key: string, path: string): Promise<boolean> {
  return contents.get(key)?.equals(await readFile(path)) === true;
}

t.test("one download serves all who ask, several ranges of it in flight", async (t) => {
  const made = await scene(t, [60 * MIB + 1], { bytesMax: 100 * MIB });
  const { source, cache, folder } = made;
  source.ms = 20;
  const paths = await Promise.all(Array.from({ length: 16 }, () => cache.file("a")));
  t.equal(new Set(paths).size, 1);
  t.ok(await holds(made, "a", paths[0] as string));
  t.equal(source.starts, 1);
  t.equal(source.inFlightMax, 4);
  t.equal(await cache.file("a"), paths[0]);
  t.match(cache.figures, { files: 1, bytes: 60 * MIB + 1, downloads: 1, hits: 1 });
  t.equal((await readdir(folder)).length, 1);
  t.equal(await faultOf(cache.file("nothing")), "store/missing");
});

t.test("what was asked for longest ago goes first, and the bound holds", async (t) => {
  const made = await scene(t, [400, 400, 400, 300], { bytesMax: 1_000 });
  const { source, cache, folder } = made;
  await cache.file("a");
  await cache.file("b");
  await cache.file("a");
  const reader = await open(await cache.file("b"));
  t.teardown(() => reader.close());
  await cache.file("a");
  await cache.file("c");
  t.same(cache.figures.files, 2);
  t.ok(made.contents.get("b")?.equals(await reader.readFile()), "who has opened it reads on");
  source.starts = 0;
  await cache.file("a");
  await cache.file("c");
  t.equal(source.starts, 0, "these were kept");
  t.ok(await holds(made, "b", await cache.file("b")), "and this is read again");
  t.match(cache.figures, { files: 2, bytes: 800, evicted: 2 });
  t.equal((await readdir(folder)).length, 2);
});

t.test(
  "a path stays good while it is held or leased; who needs room waits, then is told",
  async (t) => {
    const made = await scene(t, [600, 600], { bytesMax: 1_000, holdMs: 500, roomMs: 200 });
    const { cache } = made;
    const path = await cache.file("a");
    await t.rejects(cache.file("b"), {
      code: "store/no-local-file",
      message: /all others are in use: raise store_cache_bytes/,
    });
    t.ok(await holds(made, "a", path));
    await new Promise((wake) => setTimeout(wake, 550));
    const lease = await cache.lease("b");
    t.notOk((await readdir(made.folder)).includes(path.split("/").at(-1) as string), "it went");
    await new Promise((wake) => setTimeout(wake, 550));
    t.equal(cache.figures.leased, 1);
    t.equal(await faultOf(cache.file("a")), "store/no-local-file", "a lease has no end of its own");
    t.ok(await holds(made, "b", lease.path));
    lease.release();
    lease.release();
    t.equal(cache.figures.leased, 0);
    t.ok(await holds(made, "a", await cache.file("a")));
  },
);

t.test("room that comes in time is taken", async (t) => {
  const made = await scene(t, [600, 600], { bytesMax: 1_000, holdMs: 300, roomMs: 5_000 });
  await made.cache.file("a");
  t.ok(await holds(made, "b", await made.cache.file("b")));
});

t.test("what is larger than all of the cache is told at once", async (t) => {
  const { cache, folder } = await scene(t, [2_000], { bytesMax: 1_000 });
  await t.rejects(cache.file("a"), {
    code: "store/no-local-file",
    message: /larger than all of the cache: raise store_cache_bytes/,
  });
  t.same(await readdir(folder), []);
  t.equal(cache.figures.bytes, 0);
});

t.test("a download that fails or is abandoned leaves nothing", async (t) => {
  const { cache, source, folder } = await scene(t, [30 * MIB], { bytesMax: 40 * MIB });
  source.failing = new Fault("store/throttled");
  t.equal(await faultOf(cache.file("a")), "store/throttled");
  source.failing = undefined;
  source.ms = 100;
  const abort = new AbortController();
  const first = faultOf(cache.file("a", abort.signal));
  setTimeout(() => abort.abort(new Fault("server/stopping")), 150);
  t.equal(await first, "server/stopping");
  for (let looks = 0; cache.figures.bytes > 0 && looks < 100; looks++)
    await new Promise((wake) => setTimeout(wake, 20));
  t.match(cache.figures, { files: 0, bytes: 0 });
  t.same(await readdir(folder), []);
  const abandoned = new AbortController();
  const one = faultOf(cache.file("a", abandoned.signal));
  const other = cache.file("a");
  setTimeout(() => abandoned.abort(), 50);
  t.equal(await one, "base/aborted");
  t.equal((await stat(await other)).size, 30 * MIB, "another waits for it yet");
});

t.test("a publication is kept without a download; with no room or place it is not", async (t) => {
  const made = await scene(t, [500, 500, 900], { bytesMax: 1_000, holdMs: 60_000 });
  const { cache, source } = made;
  const file = join(await tempFolder(t), "file");
  await writeFile(file, made.contents.get("a") as Buffer);
  await cache.adopt("a", file, 500);
  await cache.adopt("a", file, 500);
  t.ok(await holds(made, "a", await cache.file("a")));
  t.equal(source.starts, 0);
  await cache.adopt("c", file, 900);
  t.match(cache.figures, { files: 1, bytes: 500, adopted: 1 }, "what is in use stays");
  await cache.adopt("b", `${file}-absent`, 500);
  t.match(cache.figures, { files: 1, bytes: 500, failures: 1 });
  t.ok(await holds(made, "b", await cache.file("b")), "its room was given back");
});

t.test("a copy that comes by both ways is kept once", async (t) => {
  const made = await scene(t, [500], { bytesMax: 2_000 });
  const { cache, source, folder } = made;
  source.ms = 100;
  const path = join(await tempFolder(t), "file");
  await writeFile(path, made.contents.get("a") as Buffer);
  const downloaded = cache.file("a");
  await new Promise((wake) => setTimeout(wake, 20));
  await cache.adopt("a", path, 500);
  t.ok(await holds(made, "a", await downloaded));
  t.match(cache.figures, { files: 1, bytes: 500 });
  t.equal((await readdir(folder)).length, 1);
  await cache.forget("a");
  t.match(cache.figures, { files: 0, bytes: 0 });
  t.same(await readdir(folder), []);
});

t.test("a restart keeps what is whole, within the bound, and removes the rest", async (t) => {
  const made = await scene(t, [300, 400, 500]);
  const { cache, folder, source } = made;
  for (const key of ["a", "b", "c"]) await cache.file(key);
  const damaged = await cache.file("b");
  await truncate(damaged, 399);
  await writeFile(join(folder, "~0123456789abcdef"), "half");
  await writeFile(join(folder, "README"), "somebody's");
  source.starts = 0;
  const next = await made.again();
  t.match(next.figures, { files: 2, bytes: 800 });
  t.equal((await readdir(folder)).length, 3, "what is not ours stays");
  t.ok(await holds(made, "a", await next.file("a")));
  t.equal(source.starts, 0);
  t.ok(await holds(made, "b", await next.file("b")));
  t.equal(source.starts, 1);
  const small = new LocalCache({ folder, bytesMax: 700, source, holdMs: 0 });
  await small.open();
  t.ok(small.figures.bytes <= 700, "a bound that was lowered holds at once");
});

t.test("a copy that somebody removed is read again", async (t) => {
  const made = await scene(t, [300]);
  await unlink(await made.cache.file("a"));
  t.ok(await holds(made, "a", await made.cache.file("a")));
  t.match(made.cache.figures, { files: 1, bytes: 300, downloads: 2 });
});

t.test("kill -9 at any time leaves nothing that is taken for whole", async (t) => {
  const made = await scene(t, [20 * MIB, 20 * MIB, 20 * MIB], { bytesMax: 100 * MIB });
  const root = join(made.folder, "..");
  for (const afterMs of [20, 60, 100, 150, 250]) {
    const child = copier(root);
    await new Promise((resolve) => child.stdout?.once("data", resolve));
    await new Promise((wake) => setTimeout(wake, afterMs));
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("close", resolve));
    const next = await made.again();
    const names = await readdir(made.folder);
    t.same(
      names.filter((name) => name.startsWith("~")),
      [],
      `${afterMs} ms: temporary files are gone`,
    );
    t.equal(names.length, next.figures.files);
    for (const key of ["a", "b", "c"]) t.ok(await holds(made, key, await next.file(key)), key);
    for (const key of ["a", "b", "c"]) await next.forget(key);
  }
});

/** A process that copies objects until it is killed. */
function copier(root: string): ChildProcess {
  const module = (name: string) => JSON.stringify(new URL(`../../src/${name}`, import.meta.url));
  const code = `
    import { DiskStore } from ${module("store/disk.js")};
    import { LocalCache } from ${module("store/cache/local-cache.js")};
    const [folder, root] = process.argv.slice(1);
    const store = new DiskStore(root);
    const source = {
      readRange: (...args) => store.readRange(...args),
      readStart: async (key, max) => {
        const total = await store.size(key);
        return { total, bytes: await store.readRange(key, 0, Math.min(max, total)) };
      },
    };
    const cache = new LocalCache({ folder, bytesMax: 1e9, source, holdMs: 0 });
    await cache.open();
    console.log("begun");
    for (;;) for (const key of ["a", "b", "c"]) { await cache.file(key); await cache.forget(key); }`;
  const args = ["--input-type=module", "-e", code, join(root, "store-cache"), join(root, "store")];
  return spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
}

t.test("many who ask for more than there is room for read what they asked for", async (t) => {
  const sizes = Array.from({ length: 20 }, (_, at) => 100 + at);
  const made = await scene(t, sizes, { bytesMax: 700, holdMs: 100, roomMs: 20_000 });
  const { cache, folder } = made;
  const keys = [...made.contents.keys()];
  let most = 0;
  const ask = async (first: number): Promise<boolean[]> => {
    const right: boolean[] = [];
    for (let at = 0; at < 8; at++) {
      const key = keys[(first * 7 + at * 3) % keys.length] as string;
      right.push(await holds(made, key, await cache.file(key)));
      most = Math.max(most, cache.figures.bytes);
    }
    return right;
  };
  const all = await Promise.all(Array.from({ length: 10 }, (_, first) => ask(first)));
  t.ok(all.flat().every(Boolean));
  t.ok(most <= 700, `${most} bytes at most`);
  const names = await readdir(folder);
  t.equal(names.length, cache.figures.files);
  const bytes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size));
  t.equal(
    bytes.reduce((sum, size) => sum + size, 0),
    cache.figures.bytes,
  );
});

t.test("a folder that cannot be used is told for each copy, and nothing else fails", async (t) => {
  const root = await tempFolder(t);
  await makeRoot(join(root, "store"));
  const store = new DiskStore(join(root, "store"));
  await store.putIfAbsent("a", randomBytes(100));
  await writeFile(join(root, "file"), "no folder");
  const source = new SlowSource(store);
  const cache = new LocalCache({ folder: join(root, "file"), bytesMax: 1_000, source });
  await cache.open();
  await t.rejects(cache.file("a"), {
    code: "store/no-local-file",
    message: /^the local cache of object storage cannot take a file \(ENOTDIR in open\)$/,
  });
  await cache.adopt("a", join(root, "file"), 9);
  t.match(cache.figures, { files: 0, bytes: 0 });
});

t.test("a full disk takes a copy once ours that may go have gone, else says so", async (t) => {
  const made = await scene(t, [400, 400], { bytesMax: 1_000 });
  const { cache, folder } = made;
  await cache.file("a");
  // As long as there is another copy: it is that which fills the disk.
  const restore = await failWrites(t, folder, "ENOSPC", async () =>
    (await readdir(folder)).some((name) => !name.startsWith("~")),
  );
  t.ok(await holds(made, "b", await cache.file("b")));
  t.match(cache.figures, { files: 1, bytes: 400, evicted: 1 });
  restore();
  await failWrites(t, folder, "ENOSPC", async () => true);
  await t.rejects(cache.file("a"), {
    code: "store/no-local-file",
    message: /\(ENOSPC in write\)/,
  });
  t.same((await readdir(folder)).length, 0);
  t.match(cache.figures, { files: 0, bytes: 0 });
});

/** Makes writes to files fail as the kernel does, where `fails` says so. */
async function failWrites(
  t: Test,
  folder: string,
  code: string,
  fails: () => Promise<boolean>,
): Promise<() => void> {
  await mkdir(folder, { recursive: true });
  const handle = await open(folder);
  const prototype = Object.getPrototypeOf(handle) as { write: (...args: unknown[]) => unknown };
  await handle.close();
  const { write } = prototype;
  prototype.write = async function (this: unknown, ...args: unknown[]) {
    if (!(await fails())) return write.apply(this, args);
    throw Object.assign(new Error(`${code}: write`), { code, syscall: "write" });
  };
  const restore = () => {
    prototype.write = write;
  };
  t.teardown(restore);
  return restore;
}
