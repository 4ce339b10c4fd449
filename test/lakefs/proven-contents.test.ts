/**
 * Memory of small contents: kept over a restart, bounded, and made again where the note is damaged.
 */
import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { LIMITS } from "../../src/base/limits.js";
import { ProvenContents, ProvenNotes } from "../../src/lakefs/trees/proven-contents.js";
import { LakeNotes } from "../../src/lakefs/read/lake-notes.js";
import { DiskStore } from "../../src/store/disk.js";
import { tempFolder } from "../support/temp-folder.js";
import { signal } from "../support/lakefs-reading.js";

const hash = (text: string) => createHash("sha256").update(text).digest("hex");
const key = (at: number) => hash(`key ${at}`);
const content = (at: number) => hash(`content ${at}`);

function tell(proven: ProvenContents, from: number, to: number): void {
  const notes = new ProvenNotes((ids) => proven.add(ids));
  for (let at = from; at < to; at++) notes.add(key(at), content(at));
  notes.flush();
}

t.test("a content counts with its own bytes at its own address, over a restart", async (t) => {
  const folder = await tempFolder(t);
  const records = new LakeNotes(new DiskStore(folder), "repos/a/b");
  const open = () => new ProvenContents(records, (error) => t.fail(String(error)));
  const first = open();
  tell(first, 0, 700);
  t.ok(await first.has(key(0), content(0), signal));
  t.ok(await first.has(key(699), content(699), signal));
  t.notOk(await first.has(key(0), content(1), signal), "other bytes");
  t.notOk(await first.has(key(1), content(0), signal), "another address");
  await first.save(signal);
  const second = open();
  t.ok(await second.has(key(500), content(500), signal));
  tell(second, 700, 701);
  await second.save(signal);
  const third = open();
  t.ok(await third.has(key(700), content(700), signal), "one more is kept at once");
  tell(third, 900, 901); // told before what is known was read
  await third.save(signal);
  t.ok(await open().has(key(1), content(1), signal), "and takes nothing away");
  await writeFile(join(folder, "repos/a/b/git/lake-proven"), "lakepack sealed 1\nnonsense");
  const damaged = open();
  t.notOk(await damaged.has(key(0), content(0), signal));
  tell(damaged, 0, 1);
  await damaged.save(signal);
  t.ok(await open().has(key(0), content(0), signal));
});

t.test(
  "of more than there is room for the older half is forgotten, and what is written can be read",
  async (t) => {
    const max = LIMITS.provenContentsMax;
    const records = new LakeNotes(new DiskStore(await tempFolder(t)), "repos/a/b");
    const proven = new ProvenContents(records, (error) => t.fail(String(error)));
    tell(proven, 0, 2 * max + 10);
    t.notOk(await proven.has(key(0), content(0), signal));
    t.ok(await proven.has(key(max), content(max), signal));
    t.ok(await proven.has(key(2 * max + 9), content(2 * max + 9), signal));
    await proven.save(signal);
    const again = new ProvenContents(records, (error) => t.fail(String(error)));
    t.ok(await again.has(key(2 * max + 9), content(2 * max + 9), signal));
  },
);

t.test("a store that takes nothing loses nothing but the note", async (t) => {
  const errors: unknown[] = [];
  const failing = {
    proven: async () => new Uint8Array(0),
    putProven: async () => {
      throw new Error("no room");
    },
  };
  const proven = new ProvenContents(failing, (error) => void errors.push(error));
  tell(proven, 0, 10);
  await proven.save(signal);
  t.equal(errors.length, 1);
  t.ok(await proven.has(key(3), content(3), signal));
});
