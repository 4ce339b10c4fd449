/**
 * Contract suite of stores (src/store/store.ts). Called by each implementation's test with a fresh,
 * empty store.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import { concat, utf8 } from "../../src/base/bytes.js";
import { Fault } from "../../src/base/fault.js";
import type { Store } from "../../src/store/store.js";

export function faultCode(error: unknown): string {
  return error instanceof Fault ? error.code : String(error);
}

/** The code of the fault `work` ends with, "none" if it succeeds. */
export function faultOf(work: Promise<unknown>): Promise<string> {
  return work.then(() => "none", faultCode);
}

const BYTES_MAX = 1_000_000;

/** A local file as a caller of `publish` has it. */
async function finishedFile(t: Test, content = "content"): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "lakepack-publish-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, "pack");
  await writeFile(file, content);
  return file;
}

export async function storeConformance(
  t: Test,
  make: () => Promise<Omit<Store, "touch" | "deleteOlder">>,
): Promise<void> {
  await t.test("what is put is what is got, with a tag", async (t) => {
    const store = await make();
    const tag = await store.putIfAbsent("a/b/c", utf8("hello"));
    const stored = await store.get("a/b/c", BYTES_MAX);
    t.same(Buffer.from(stored?.bytes ?? []).toString(), "hello");
    t.equal(stored?.tag, tag);
    t.equal(await store.size("a/b/c"), 5);
  });

  await t.test("absent is undefined, and never an empty blob", async (t) => {
    const store = await make();
    t.equal(await store.get("nothing", BYTES_MAX), undefined);
    t.equal(await store.size("nothing"), undefined);
    t.equal(await faultOf(store.readRange("nothing", 0, 1)), "store/missing");
    t.equal(await faultOf(store.localFile("nothing")), "store/missing");
    await store.putIfAbsent("empty", new Uint8Array(0));
    t.equal((await store.get("empty", BYTES_MAX))?.bytes.length, 0);
  });

  await t.test("what has not changed is told without its bytes", async (t) => {
    const store = await make();
    const first = await store.putIfMatch("c", utf8("1"), undefined);
    t.equal(await store.getIfChanged("c", first, BYTES_MAX), "unchanged");
    const second = await store.putIfMatch("c", utf8("22"), first);
    t.same(await store.getIfChanged("c", first, BYTES_MAX), await store.get("c", BYTES_MAX));
    t.equal(await store.getIfChanged("c", second, BYTES_MAX), "unchanged");
    t.equal(await faultOf(store.getIfChanged("c", first, 1)), "store/oversized");
    await store.delete("c");
    t.equal(await store.getIfChanged("c", second, BYTES_MAX), undefined);
  });

  await t.test("a local file holds what the key does, of any size", async (t) => {
    const store = await make();
    for (const size of [0, 1, 9 * 1024 * 1024 + 1]) {
      const bytes = Buffer.alloc(size, "0123456789");
      await store.putIfAbsent(`local/${size}`, bytes);
      const there = await readFile(await store.localFile(`local/${size}`));
      t.ok(there.equals(bytes), `${size} bytes`);
    }
  });

  await t.test("put-if-absent has one winner among many", async (t) => {
    const store = await make();
    const results = await Promise.all(
      Array.from({ length: 16 }, (_, n) => faultOf(store.putIfAbsent("one", utf8(`writer ${n}`)))),
    );
    t.equal(results.filter((result) => result === "none").length, 1);
    t.equal(results.filter((result) => result === "store/exists").length, 15);
    const winner = results.indexOf("none");
    t.equal(
      Buffer.from((await store.get("one", BYTES_MAX))?.bytes ?? []).toString(),
      `writer ${winner}`,
    );
  });

  await t.test("put-if-match replaces only what was seen", async (t) => {
    const store = await make();
    const first = await store.putIfMatch("m", utf8("1"), undefined);
    t.equal(
      await faultOf(store.putIfMatch("m", utf8("x"), undefined)),
      "store/conflict",
      "it exists meanwhile",
    );
    const second = await store.putIfMatch("m", utf8("2"), first);
    t.equal(
      await faultOf(store.putIfMatch("m", utf8("x"), first)),
      "store/conflict",
      "the tag is stale",
    );
    t.equal((await store.get("m", BYTES_MAX))?.tag, second);
    await store.delete("m");
    t.equal(
      await faultOf(store.putIfMatch("m", utf8("x"), second)),
      "store/conflict",
      "it is gone",
    );
  });

  await t.test("of many racing put-if-match exactly one wins each round", async (t) => {
    const store = await make();
    let tag = await store.putIfMatch("race", utf8("0"), undefined);
    for (let round = 0; round < 5; round++) {
      const results = await Promise.all(
        Array.from({ length: 8 }, (_, n) =>
          store.putIfMatch("race", utf8(`${round}.${n}`), tag).catch(faultCode),
        ),
      );
      const winners = results.filter((result) => result !== "store/conflict");
      t.equal(winners.length, 1);
      tag = winners[0] as string;
    }
  });

  await t.test("ranges are exact; one that ends beyond the blob is a fault", async (t) => {
    const store = await make();
    const bytes = concat(Array.from({ length: 1000 }, (_, n) => utf8(String(n % 10))));
    await store.putIfAbsent("range", bytes);
    t.same(Buffer.from(await store.readRange("range", 10, 20)).toString(), "0123456789");
    t.equal((await store.readRange("range", 5, 5)).length, 0);
    t.not(await faultOf(store.readRange("range", 990, 1001)), "none");
  });

  await t.test("a blob larger than the reader takes is a fault, not a part of it", async (t) => {
    const store = await make();
    await store.putIfAbsent("big", new Uint8Array(100));
    t.equal(await faultOf(store.get("big", 99)), "store/oversized");
  });

  await t.test("publish is put-if-absent for files, and repeating it is success", async (t) => {
    const store = await make();
    const file = await finishedFile(t);
    await store.publish("packs/p1", file);
    await store.publish("packs/p1", file);
    t.same(
      Buffer.from((await store.get("packs/p1", BYTES_MAX))?.bytes ?? []).toString(),
      "content",
    );
    t.equal(
      await faultOf(store.publish("packs/p1", await finishedFile(t, "another size"))),
      "store/conflict",
    );
  });

  await t.test("what is published is at once a local file too", async (t) => {
    const store = await make();
    await store.publish("packs/p2", await finishedFile(t));
    t.equal(await readFile(await store.localFile("packs/p2"), "utf8"), "content");
  });

  await t.test("list names everything below a prefix, sorted, and nothing else", async (t) => {
    const store = await make();
    for (const key of ["l/b", "l/a/2", "l/a/1", "l-other/x", "m"])
      await store.putIfAbsent(key, utf8(key));
    const keys: string[] = [];
    for await (const entry of store.list("l/")) keys.push(`${entry.key} ${entry.bytes}`);
    t.same(keys, ["l/a/1 5", "l/a/2 5", "l/b 3"]);
    for await (const entry of store.list("none/")) t.fail(`listed ${entry.key}`);
  });

  await t.test(
    "names are those directly below a prefix, sorted, folders with a slash",
    async (t) => {
      const store = await make();
      for (const key of ["n/b", "n/a/2", "n/a/1", "n/a-b/c/d", "n-other/x", "m"])
        await store.putIfAbsent(key, utf8(key));
      t.same(await store.names("n/"), ["a-b/", "a/", "b"]);
      t.same(await store.names("n/a/"), ["1", "2"]);
      t.same(await store.names("none/"), []);
      t.equal(await faultOf(store.names("n/", AbortSignal.abort())), "base/aborted");
    },
  );

  await t.test("delete is idempotent", async (t) => {
    const store = await make();
    await store.putIfAbsent("d", utf8("d"));
    await store.delete("d");
    await store.delete("d");
    t.equal(await store.size("d"), undefined);
  });

  await t.test(
    "all below a prefix goes, counted, and nothing else; absent is success",
    async (t) => {
      const store = await make();
      for (const key of ["p/one/a", "p/one/b/c", "p/one/b/d", "p/one-more", "p/ones/a"])
        await store.putIfAbsent(key, utf8("content"));
      t.same(await store.deleteAll("p/one/"), { files: 3, bytes: 21 });
      const left: string[] = [];
      for await (const { key } of store.list("p/")) left.push(key);
      t.same(left, ["p/one-more", "p/ones/a"]);
      t.same(await store.deleteAll("p/one/"), { files: 0, bytes: 0 });
      t.equal(await faultOf(store.deleteAll("p/", AbortSignal.abort())), "base/aborted");
      t.equal(await store.size("p/one-more"), 7);
    },
  );

  await t.test("a key that leads elsewhere is refused", async (t) => {
    const store = await make();
    for (const key of [
      "",
      "/a",
      "a/",
      "a//b",
      "..",
      "a/../b",
      ".",
      "a/./b",
      "a\0b",
      "a\\b",
      "ä",
      "a b",
      "x".repeat(1001),
    ]) {
      t.equal(
        await faultOf(store.putIfAbsent(key, utf8("x"))),
        "store/bad-key",
        JSON.stringify(key.slice(0, 20)),
      );
    }
  });

  await t.test("an aborted call does nothing", async (t) => {
    const store = await make();
    t.equal(await faultOf(store.putIfAbsent("ab", utf8("x"), AbortSignal.abort())), "base/aborted");
    t.equal(await store.size("ab"), undefined);
  });
}
