import t from "tap";
import {
  compareBytes,
  concat,
  fromHex,
  fromLatin1,
  latin1,
  lossyText,
  strictText,
  toHex,
  utf8,
} from "../../src/base/bytes.js";
import { asFault, FAULTS, Fault } from "../../src/base/fault.js";

t.test("hex there and back for every byte; what is not hex is undefined", async (t) => {
  const all = Uint8Array.from({ length: 256 }, (_, n) => n);
  t.same(fromHex(toHex(all)), all);
  t.same(fromHex("ABcd"), Uint8Array.of(0xab, 0xcd));
  for (const text of ["a", "zz", "0g", "0x", "  "]) t.equal(fromHex(text), undefined, text);
});

t.test("latin1 text keeps every byte and its order", async (t) => {
  const all = Uint8Array.from({ length: 256 }, (_, n) => n);
  t.same(new Uint8Array(fromLatin1(latin1(all))), all);
  t.equal(latin1(all.subarray(250)).length, 6, "a view is read from where it starts");
});

t.test("text: strict refuses what is not UTF-8, lossy marks it", async (t) => {
  t.equal(strictText(utf8("ä€")), "ä€");
  t.equal(strictText(Uint8Array.of(0xff)), undefined);
  t.equal(strictText(utf8("\ufeffx")), "\ufeffx", "a byte order mark is a character like others");
  t.equal(lossyText(Uint8Array.of(0x61, 0xff)), "a\ufffd");
});

t.test("concat, compare, equal", async (t) => {
  t.same(concat([utf8("a"), new Uint8Array(0), utf8("bc")]), utf8("abc"));
  t.ok(
    compareBytes(utf8("a"), utf8("b")) < 0 &&
      compareBytes(utf8("ab"), utf8("a")) > 0 &&
      compareBytes(utf8("a"), utf8("a")) === 0,
  );
});

t.test("every row of the fault table can be told to a client", async (t) => {
  for (const [code, row] of Object.entries(FAULTS)) {
    t.ok(row.http >= 400 && row.http < 600 && row.says.length > 0 && !/\.$/.test(row.says), code);
  }
});

t.test(
  "a fault says its facts; unknown errors are internal and say nothing of themselves",
  async (t) => {
    t.equal(
      new Fault("store/missing", { key: "a/b", left: undefined }).message,
      "storage holds nothing under this key (key: a/b)",
    );
    t.notMatch(asFault(new Error("secret")).message, /secret/);
    t.equal(asFault(Object.assign(new Error("x"), { code: "ENOSPC" })).code, "store/full");
    t.equal(asFault(new DOMException("x", "AbortError")).code, "base/aborted");
  },
);
