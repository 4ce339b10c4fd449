import { createHash } from "node:crypto";
import t from "tap";
import { OidSet } from "../../src/git/oid-set.js";

const oid = (of: number | string) => createHash("sha1").update(String(of)).digest("hex");

t.test("a set holds what was added, once, and nothing else, while it grows", async (t) => {
  const set = new OidSet();
  for (let round = 0; round < 2; round++) for (let at = 0; at < 10_000; at++) set.add(oid(at));
  t.equal(set.size, 10_000);
  let wrong = 0;
  for (let at = 0; at < 20_000; at++) if (set.has(oid(at)) !== at < 10_000) wrong++;
  t.equal(wrong, 0);
});

t.test("ids that want one place, and that begin or end with zeros", async (t) => {
  const set = new OidSet();
  const ids = Array.from(
    { length: 700 },
    (_, at) => `${"0".repeat(32)}${String(at + 2).padStart(8, "0")}`,
  );
  ids.push(`1${"0".repeat(39)}`, `ff${"0".repeat(38)}`);
  for (const id of ids) set.add(id);
  t.ok(ids.every((id) => set.has(id)));
  t.equal(set.size, ids.length);
  t.notOk(set.has(`${"0".repeat(39)}1`));
});

t.test("ids that somebody chose to have one place", async (t) => {
  const chosen = (count: number, of: (at: number) => string) => {
    const started = process.cpuUsage();
    const set = new OidSet();
    for (let at = 0; at < count; at++) set.add(of(at));
    t.equal(set.size, count);
    return process.cpuUsage(started).user / 1_000;
  };
  const count = 60_000;
  const any = chosen(count, oid);
  // Equal but for four bytes, wherever those are: the first four alone decided once.
  for (const at of [0, 8, 16, 24, 32]) {
    const took = chosen(
      count,
      (value) => `${"7".repeat(at)}${value.toString(16).padStart(8, "0")}${"7".repeat(32 - at)}`,
    );
    t.ok(took < any * 10 + 500, `${took.toFixed(0)} ms where others take ${any.toFixed(0)} ms`);
  }
});

t.test("all ids, sorted", async (t) => {
  const set = new OidSet();
  t.equal(set.sorted().byteLength, 0);
  const oids = Array.from({ length: 5_000 }, (_, at) =>
    createHash("sha1").update(`${at}`).digest("hex"),
  );
  for (const oid of oids) set.add(oid);
  t.equal(Buffer.from(set.sorted()).toString("hex"), [...oids].sort().join(""));
});
