/**
 * LFS objects in our own store: what is linked to is there, whatever removes, collects, dies or
 * pauses beside it, and what nothing links to goes.
 */
import { createHash, randomBytes } from "node:crypto";
import { cp, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { Fault } from "../../src/base/fault.js";
import { LIMITS } from "../../src/base/limits.js";
import { Database } from "../../src/database/database.js";
import { announce, takeInLinks } from "../../src/database/lfs.js";
import { takeInFormerLinks } from "../../src/lfs/former-links.js";
import { type OwnLfsPlaces, OwnLfsStore } from "../../src/lfs/own-store.js";
import { deleteDropped, dropStrays, removeLinks } from "../../src/lfs/remove-links.js";
import { verifyLfsObjects } from "../../src/lfs/verify-objects.js";
import { DiskStore } from "../../src/store/disk.js";
import type { Store } from "../../src/store/store.js";
import { onBoth } from "../support/databases.js";
import { inlinePool } from "../support/inline-pool.js";
import { tempFolder } from "../support/temp-folder.js";

const { signal } = new AbortController();
const DAY_MS = 86_400_000;

/** Told before each call of a store: what it throws, the call throws. */
type Before = (method: string, key: unknown) => Promise<void> | void;

class Rig {
  readonly data: string;
  readonly database: Database;
  readonly store: Store;
  /** Names of the calls of the store that have begun. */
  readonly calls: string[] = [];
  before: Before = () => undefined;
  readonly #pool: Awaited<ReturnType<typeof inlinePool>>;

  private constructor(
    data: string,
    database: Database,
    pool: Awaited<ReturnType<typeof inlinePool>>,
  ) {
    this.data = data;
    this.database = database;
    this.#pool = pool;
    this.store = this.#watched(new DiskStore(data));
  }

  static async open(t: Test, database: Database): Promise<Rig> {
    const folder = join(await tempFolder(t), "data");
    await mkdir(folder, { recursive: true });
    return new Rig(folder, database, await inlinePool());
  }

  /** On a data folder, with the database that lies there. */
  static async on(t: Test, data: string): Promise<Rig> {
    const database = await Database.open(join(data, "lakepack.db"));
    t.teardown(() => database.close());
    return new Rig(data, database, await inlinePool());
  }

  get places(): OwnLfsPlaces {
    return { store: this.store, database: this.database };
  }

  of(repository: string): OwnLfsStore {
    const incoming = join(this.data, "incoming");
    return new OwnLfsStore({ ...this.places, pool: this.#pool, incoming }, repository);
  }

  async upload(repository: string, content: Uint8Array): Promise<string> {
    const object = objectOf(content);
    const upload = await this.of(repository).beginUpload(object, signal);
    try {
      await upload.write(content);
      await upload.finish();
    } finally {
      await upload.discard();
    }
    return object.oid;
  }

  /** The object as a download gets it; undefined: the repository does not have it. */
  async download(repository: string, content: Uint8Array): Promise<Buffer | undefined> {
    const lfs = this.of(repository);
    const object = objectOf(content);
    const size = await lfs.size(object, signal);
    if (size === undefined) return undefined;
    const pieces: Uint8Array[] = [];
    for await (const piece of lfs.read(object, 0, size, signal)) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  async files(): Promise<string[]> {
    return (await readdir(join(this.data, "lfs"), { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map(({ name }) => name)
      .sort();
  }

  /** Removes a repository as if it had been set aside long ago, and all that is due. */
  async remove(repository: string, graceMs: number): Promise<number> {
    const removed = await removeLinks(this.places, repository, graceMs === 0, signal);
    return removed.files + (await deleteDropped(this.places, graceMs, signal)).files;
  }

  /** Sets every time in the tables back. */
  async age(ms: number): Promise<void> {
    const then = new Date(Date.now() - ms).toISOString();
    await this.database.query(async (db) => {
      await db.updateTable("lfs_objects").set({ created_at: then }).execute();
      await db.updateTable("lfs_links").set({ created_at: then }).execute();
      await db
        .updateTable("lfs_objects")
        .set({ dropped_at: then })
        .where("dropped_at", "is not", null)
        .execute();
    });
  }

  #watched(store: Store): Store {
    const told = async (name: string, key: unknown) => {
      this.calls.push(name);
      await this.before(name, key);
    };
    return new Proxy(store, {
      get: (target, name: keyof Store & string) => {
        const value = target[name];
        if (typeof value !== "function") return value;
        const call = (value as (...args: unknown[]) => unknown).bind(target);
        if (name === "list") return call;
        return async (...args: unknown[]) => {
          await told(name, args[0]);
          return call(...args);
        };
      },
    });
  }
}

function objectOf(content: Uint8Array) {
  return { oid: createHash("sha256").update(content).digest("hex"), size: content.length };
}

onBoth("bytes are stored once, and shown to those who brought them", async (t, open) => {
  const rig = await Rig.open(t, await open());
  const content = randomBytes(3_000);
  const oid = await rig.upload("a", content);
  t.equal(await rig.download("b", content), undefined, "knowing the oid proves nothing");
  await t.rejects(rig.of("b").read(objectOf(content), 0, 1, signal).next(), {
    code: "lfs/missing",
  });
  await rig.upload("b", content);
  const [file, ...more] = await rig.files();
  t.match(file, new RegExp(`^${oid}-[0-9a-f]{32}$`));
  t.same(more, []);
  t.equal(rig.calls.filter((call) => call === "publish").length, 1, "the second is not written");
  for (const one of ["a", "b"]) t.same(await rig.download(one, content), content);
  t.same(await verifyLfsObjects(rig.places, "b", signal), { objects: 1, findings: [] });
});

onBoth(
  "an object goes with its last link, when the grace is over; brought again it has another name",
  async (t, open) => {
    const rig = await Rig.open(t, await open());
    const content = randomBytes(1_000);
    for (const one of ["a", "b"]) await rig.upload(one, content);
    const [first] = await rig.files();
    t.equal(await rig.remove("a", 0), 0);
    t.same(await rig.download("b", content), content);
    t.equal(await rig.remove("b", DAY_MS), 0, "dropped, and whoever reads it reads on");
    t.same(await rig.files(), [first]);
    await rig.upload("c", content);
    const names = await rig.files();
    t.equal(names.length, 2, "a dropped name is not used again");
    await rig.age(DAY_MS + 1);
    t.equal(await rig.remove("none", DAY_MS), 1);
    t.same(
      await rig.files(),
      names.filter((name) => name !== first),
    );
    t.same(await rig.download("c", content), content);
  },
);

onBoth("removing costs in proportion to the repository's links", async (t, open) => {
  const rig = await Rig.open(t, await open());
  for (let n = 0; n < 2 * LIMITS.lfsLinksAtOnce + 5; n += 1)
    await takeInLinks(
      rig.database,
      "other",
      [{ ...objectOf(Buffer.from(`${n}`)), publication: "", bytes: 1 }],
      "2026",
    );
  for (let n = 0; n < 3; n++) await rig.upload("a", Buffer.from(`a${n}`));
  rig.calls.length = 0;
  t.equal(await rig.remove("a", 0), 3);
  t.same(rig.calls, ["delete", "delete", "delete"], "nothing is listed");
  t.equal(await rig.remove("other", 0), 2 * LIMITS.lfsLinksAtOnce + 5, "by pages");
});

onBoth(
  "a collection paused before its delete takes nothing that was published meanwhile",
  async (t, open) => {
    const rig = await Rig.open(t, await open());
    const content = randomBytes(2_000);
    await rig.upload("a", content);
    let resume = () => {};
    let paused = () => {};
    const isPaused = new Promise<void>((resolve) => {
      paused = resolve;
    });
    rig.before = async (method) => {
      if (method !== "delete") return;
      rig.before = () => undefined;
      paused();
      await new Promise<void>((resolve) => {
        resume = resolve;
      });
    };
    const slow = rig.remove("a", 0);
    await isPaused;
    await rig.upload("b", content); // the same bytes, while the delete of the first is on its way
    t.same(await rig.download("b", content), content);
    await rig.age(2 * DAY_MS); // the grace is long over
    const other = await rig.remove("none", DAY_MS); // and another collection has done its work
    t.equal(other, 1);
    await rig.upload("c", content);
    resume();
    t.equal(await slow, 0, "another one has removed it");
    for (const one of ["b", "c"]) t.same(await rig.download(one, content), content, one);
    t.equal((await rig.files()).length, 1);
  },
);

onBoth(
  "killed before each call of the store: nothing half done is shown, and it goes by itself",
  async (t, open) => {
    const content = randomBytes(500);
    const rig = await Rig.open(t, await open());
    rig.before = (method) => {
      if (method === "publish") throw new Fault("store/failed");
    };
    await t.rejects(rig.upload("a", content), { code: "store/failed" });
    rig.before = () => undefined;
    t.equal(await rig.download("a", content), undefined);
    const { oid, size: bytes } = objectOf(content);
    const publication = randomBytes(16).toString("hex");
    await announce(rig.database, { oid, publication, bytes }, new Date().toISOString());
    await writeFileAt(rig, `${oid}-${publication}`, content); // published, and killed before the link
    t.equal(await rig.download("a", content), undefined);
    await rig.remove("none", 0);
    t.equal((await rig.files()).length, 1, "its upload may be under way, without a grace too");
    await rig.age(LIMITS.lfsUnfinishedMs + 1_000);
    await rig.upload("a", content);
    t.ok((await rig.remove("none", 0)) >= 1);
    t.equal((await rig.files()).length, 1);
    t.same(await rig.download("a", content), content);
    rig.before = (method) => {
      if (method === "delete") throw new Fault("store/failed");
    };
    await t.rejects(rig.remove("a", 0), { code: "store/failed" });
    rig.before = () => undefined;
    t.equal(await rig.download("a", content), undefined);
    t.equal(await rig.remove("none", 0), 1, "the row says what is to go");
    t.same(await rig.files(), []);
  },
);

onBoth("an upload whose name was given up meanwhile takes another", async (t, open) => {
  const rig = await Rig.open(t, await open());
  const content = randomBytes(400);
  let given = 0;
  rig.before = async (method) => {
    if (method !== "publish" || given++ > 1) return;
    await rig.age(LIMITS.lfsUnfinishedMs + 1_000); // it stood still for days
    await deleteDropped(rig.places, 0, signal);
  };
  await rig.upload("a", content);
  t.equal(given, 3);
  t.same(await rig.download("a", content), content);
  rig.before = async (method) => {
    if (method !== "publish") return;
    await rig.age(LIMITS.lfsUnfinishedMs + 1_000);
    await deleteDropped(rig.places, 0, signal);
  };
  await t.rejects(rig.upload("a", randomBytes(401)), { code: "store/conflict" }, "not for ever");
});

onBoth("bytes that the store has lost or cut short may be brought again", async (t, open) => {
  const rig = await Rig.open(t, await open());
  const content = randomBytes(3_000);
  await rig.upload("a", content);
  await rig.upload("b", content);
  const [name = ""] = await rig.files();
  for (const harm of [
    () => rm(pathOf(rig, name)),
    () => writeFileAt(rig, name, content.subarray(1)),
  ]) {
    await harm();
    t.not(await rig.of("a").size(objectOf(content), signal), content.length);
    t.match((await verifyLfsObjects(rig.places, "b", signal)).findings, [{ file: /-/ }]);
    await rig.upload("a", content);
    t.same(await rig.download("b", content), content);
  }
  await writeFileAt(rig, name, randomBytes(3_000));
  t.match((await verifyLfsObjects(rig.places, "a", signal)).findings, [
    { problem: "its SHA-256 is not its name" },
  ]);
});

onBoth(
  "20 uploads of one object beside removals and collections without a grace",
  async (t, open) => {
    const rig = await Rig.open(t, await open());
    const content = randomBytes(50_000);
    const pause = () => new Promise<void>((wake) => setTimeout(wake, Math.random() * 4));
    rig.before = pause;
    for (let round = 0; round < 6; round++) {
      let uploading = true;
      const missing: string[] = [];
      const uploads = Array.from({ length: 20 }, async (_, n) => {
        await pause();
        const repository = `r${round}-${n}`;
        await rig.upload(repository, content);
        if (!(await rig.download(repository, content))?.equals(content)) missing.push(repository);
        if (n % 2 === 0) return;
        await pause();
        await rig.remove(repository, 0);
      });
      const collections = (async () => {
        while (uploading) {
          await rig.remove("none", 0);
          await dropStrays(rig.places, 0, signal);
          await pause();
        }
      })();
      await Promise.all(uploads);
      uploading = false;
      await collections;
      t.same(missing, [], "what was linked to was there");
      for (let n = 0; n < 20; n++) {
        const got = await rig.download(`r${round}-${n}`, content);
        if (n % 2 === 0) t.ok(got?.equals(content), `r${round}-${n}`);
        else t.equal(got, undefined);
      }
      for (let n = 0; n < 20; n += 2) await rig.remove(`r${round}-${n}`, 0);
      rig.before = () => undefined;
      await rig.remove("none", 0);
      t.same(await rig.files(), [], "and nothing stays behind");
      rig.before = pause;
    }
  },
);

onBoth(
  "files that no row stands for are dropped, then removed; what is not ours stays",
  async (t, open) => {
    const rig = await Rig.open(t, await open());
    const [kept, stray, former] = [randomBytes(10), randomBytes(20), randomBytes(30)];
    await rig.upload("a", kept);
    const { oid } = objectOf(stray);
    await writeFileAt(rig, `${oid}-${"0".repeat(32)}`, stray);
    await writeFileAt(rig, objectOf(former).oid, former);
    await writeFileAt(rig, `${oid}.bak`, stray);
    await mkdir(join(rig.data, "lfs/own/of"), { recursive: true });
    await writeFile(join(rig.data, "lfs/own/of/somebody"), "");
    await dropStrays(rig.places, DAY_MS, signal);
    t.equal(await rig.remove("none", DAY_MS), 0, "not before the grace");
    await rig.age(DAY_MS + 1);
    t.equal(await rig.remove("none", DAY_MS), 2);
    t.same(
      (await rig.files()).map((name) => name.replace(/-.*/, "")).sort(),
      [objectOf(kept).oid, `${oid}.bak`, "somebody"].sort(),
    );
    t.same(await rig.download("a", kept), kept);
  },
);

onBoth(
  "an object that was linked to when its repository was gone goes after a day",
  async (t, open) => {
    const rig = await Rig.open(t, await open());
    const content = randomBytes(10);
    await rig.upload("gone", content);
    const sweep = () => dropStrays(rig.places, 0, signal);
    await sweep();
    t.same(await rig.download("gone", content), content, "it may be about to be recovered");
    await rig.age(LIMITS.lfsUnfinishedMs + 1_000);
    await sweep();
    t.equal(await rig.remove("none", 0), 1);
    t.same(await rig.files(), []);
  },
);

// The layout before -------------------------------------------------------------------------------

/** A data folder as the version before left it: repositories by what they have. */
async function formerFolder(
  t: Test,
  has: Readonly<Record<string, readonly Uint8Array[]>>,
): Promise<string> {
  const data = join(await tempFolder(t), "former");
  for (const [repository, contents] of Object.entries(has)) {
    for (const content of contents) {
      const { oid, size } = objectOf(content);
      const folder = join(data, "lfs", oid.slice(0, 2), oid.slice(2, 4));
      const links = join(data, "lfs/links/repos", repository, oid.slice(0, 2));
      await mkdir(folder, { recursive: true });
      await mkdir(links, { recursive: true });
      await writeFile(join(folder, oid), content);
      await writeFile(join(links, oid), String(size));
    }
  }
  return data;
}

t.test(
  "a folder of the layout before, killed at every step of being taken in, has every object",
  async (t) => {
    const contents = Array.from({ length: 8 }, (_, n) => randomBytes(100 + n));
    const has = { one: contents, two: contents.slice(0, 3), three: contents.slice(6) };
    const made = await formerFolder(t, has);
    let steps = 1;
    for (let killedAt = 0; killedAt < steps; killedAt++) {
      const data = join(await tempFolder(t), "data");
      await cp(made, data, { recursive: true });
      const first = await Rig.on(t, data);
      let step = 0;
      first.before = async (method, key) => {
        if (step++ !== killedAt) return;
        if (method === "deleteAll") await rm(await someFileBelow(join(data, String(key))));
        throw new Fault("store/failed");
      };
      await takeInFormerLinks(first.places, signal).catch(() => undefined);
      steps = Math.max(steps, step + 1);
      await first.database.close();

      const rig = await Rig.on(t, data);
      const before = await verifyLfsObjects(rig.places, "one", signal);
      t.same(before.findings, [], "what is not taken in yet is found as well");
      await takeInFormerLinks(rig.places, signal);
      t.equal(await takeInFormerLinks(rig.places, signal), 0, "once");
      for (const [repository, own] of Object.entries(has)) {
        for (const content of contents) {
          const got = await rig.download(repository, content);
          if (own.includes(content)) t.ok(got?.equals(content), `${killedAt} ${repository}`);
          else t.equal(got, undefined);
        }
        t.same(await verifyLfsObjects(rig.places, repository, signal), {
          objects: own.length,
          findings: [],
        });
      }
      await dropStrays(rig.places, 0, signal);
      await rig.remove("one", 0);
      t.equal((await rig.files()).length, 5, "what two and three have");
      await rig.upload("one", contents[5] as Uint8Array);
      t.same(
        await rig.download("one", contents[5] as Uint8Array),
        contents[5],
        "beside the old place",
      );
    }
    t.ok(steps > 15, `${steps} steps`);
  },
);

t.test("a damaged link of the layout before is taken in by what lies there", async (t) => {
  const [content, lost] = [randomBytes(64), randomBytes(65)];
  const data = await formerFolder(t, { one: [content, lost] });
  const linkOf = (bytes: Uint8Array) => {
    const { oid } = objectOf(bytes);
    return join(data, "lfs/links/repos/one", oid.slice(0, 2), oid);
  };
  await writeFile(linkOf(content), "");
  const rig = await Rig.on(t, data);
  await rm(pathOf(rig, objectOf(lost).oid));
  t.equal(await takeInFormerLinks(rig.places, signal), 2);
  t.same(await rig.download("one", content), content);
  t.match(await verifyLfsObjects(rig.places, "one", signal), {
    objects: 2,
    findings: [{ problem: "missing" }],
  });
});

/** One of the files that a removal of the folder comes to first. */
async function someFileBelow(folder: string): Promise<string> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const file = entries.find((entry) => entry.isFile());
  return join(file?.parentPath ?? "", file?.name ?? "");
}

function pathOf(rig: Rig, name: string): string {
  return join(rig.data, "lfs", name.slice(0, 2), name.slice(2, 4), name);
}

async function writeFileAt(rig: Rig, name: string, content: Uint8Array): Promise<void> {
  await mkdir(join(pathOf(rig, name), ".."), { recursive: true });
  await rm(pathOf(rig, name), { force: true });
  await writeFile(pathOf(rig, name), content);
}
