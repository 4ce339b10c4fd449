/** Pointers of Git LFS: one form is written, and every form is read that git-lfs reads. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { latin1, lossyText, utf8 } from "../../src/base/bytes.js";
import {
  formatPointer,
  parseCanonicalPointer,
  parsePointer,
  parseSecondPointer,
} from "../../src/git/lfs-pointer.js";
import { tempFolder } from "../support/temp-folder.js";
import { seeded } from "../support/random.js";

const POINTER = { sha256: "0123456789abcdef".repeat(4), size: 12_345 };
const TEXT = `version https://git-lfs.github.com/spec/v1\noid sha256:${POINTER.sha256}\nsize 12345\n`;
const EXTENSION = `ext-0-foo sha256:${"cd".repeat(32)}\n`;

t.test("the canonical form, and nothing else", async (t) => {
  t.equal(lossyText(formatPointer(POINTER)), TEXT);
  t.same(parseCanonicalPointer(utf8(TEXT)), POINTER);
  for (let cut = 0; cut < TEXT.length; cut++)
    t.equal(parseCanonicalPointer(utf8(TEXT.slice(0, cut))), undefined);
  const others = [
    `${TEXT}\n`,
    TEXT.replace("size 12345", "size 012345"),
    TEXT.replaceAll("\n", "\r\n"),
    TEXT.replace("size 12345", `size ${"9".repeat(17)}`),
  ];
  for (const other of others)
    t.equal(parseCanonicalPointer(utf8(other)), undefined, JSON.stringify(other));
});

t.test("mapping 2 reads from metadata what it has always read", async (t) => {
  const crlf = TEXT.replaceAll("\n", "\r\n");
  for (const text of [TEXT, crlf, TEXT.slice(0, -1), TEXT.replace("oid", `${EXTENSION}oid`)])
    t.same(parseSecondPointer(utf8(text)), POINTER);
  for (const text of [
    `${TEXT}\n`,
    ` ${TEXT}`,
    TEXT.replace("https://git-lfs.github.com/spec/v1", "http://git-media.io/v/2"),
  ]) {
    t.equal(parseSecondPointer(utf8(text)), undefined, JSON.stringify(text));
  }
});

/** Texts near to pointers: what a form may have, put together by chance. */
function nearPointer(random: ReturnType<typeof seeded>): string {
  /** The first mostly, and one of the others now and then. */
  const odd = <T>(usual: T, ...others: readonly T[]): T =>
    random.below(5) === 0 ? random.pick(others) : usual;
  const end = odd("\n", "\r\n", "\n\n", "\r\n\n", "\r\r\n", " \n");
  const version = odd(
    "https://git-lfs.github.com/spec/v1",
    "https://hawser.github.com/spec/v1",
    "http://git-media.io/v/2",
    "http://git-lfs.github.com/spec/v1",
  );
  const oid = odd(
    POINTER.sha256,
    POINTER.sha256.toUpperCase(),
    `${POINTER.sha256}0`,
    `${POINTER.sha256} `,
    "zz".repeat(32),
  );
  const size = odd(
    "12345",
    "0",
    "+7",
    "007",
    "-0",
    "-1",
    "1_0",
    "1 2",
    "9".repeat(15),
    "9".repeat(20),
    "",
    "1 ",
  );
  const lines = [
    `version ${version}`,
    `${odd("oid", "OID")} ${odd("sha256:", "md5:", "")}${oid}`,
    `size ${size}`,
  ];
  for (let count = odd(0, 1, 1, 2); count > 0; count--) {
    const key = random.pick([
      "ext-0-foo",
      "ext-0-foo",
      "ext-1-bar",
      "ext-9-a.b-c",
      "ext-10-x",
      "ext-0--",
      "x",
    ]);
    lines.splice(
      random.below(lines.length),
      0,
      `${key} ${odd("sha256:", "md5:")}${"cd".repeat(32)}`,
    );
  }
  if (random.below(20) === 0) lines.reverse();
  const around = () =>
    odd("", "\n", " \t", "\u00a0", "\u0085", "\u3000", "\v\f", "\0", "\ufeff", "x");
  const text = around() + lines.join(end) + random.pick(["", "\n", "\r\n", "\n\n \n"]) + around();
  const length = odd(0, 1_022, 1_023, 1_024, 1_100);
  return text + "\n".repeat(Math.max(0, length - utf8(text).length));
}

t.test(
  "every form that git-lfs reads",
  { skip: spawnSync("git", ["lfs", "version"]).status === 0 ? false : "git-lfs is not installed" },
  async (t) => {
    const folder = await tempFolder(t);
    await mkdir(folder, { recursive: true });
    execFileSync("git", ["init", "-q", folder]);
    const random = seeded(12);
    const forms = [
      TEXT,
      TEXT.replaceAll("\n", "\r\n"),
      TEXT.slice(0, -1),
      `${TEXT}\n`,
      `${TEXT}\n \t\n`,
      `\n${TEXT}`,
      TEXT.replace("\noid", "\n\r\noid"),
      TEXT.replace("https://git-lfs.github.com/spec/v1", "http://git-media.io/v/2"),
      TEXT.replace("git-lfs", "hawser"),
      EXTENSION + TEXT,
      TEXT.replace("oid", `${EXTENSION}oid`),
      TEXT + EXTENSION,
      TEXT.replace("oid", `${EXTENSION}${EXTENSION}oid`),
      TEXT.replace("size 12345", "size 0"),
      TEXT + "\n".repeat(1_023 - TEXT.length),
      TEXT + "\n".repeat(1_024 - TEXT.length),
      ...Array.from({ length: 80 }, () => nearPointer(random)),
    ];
    const file = join(folder, "file");
    let pointers = 0;
    for (const form of forms) {
      await writeFile(file, form);
      // What clean hands on as it came is a pointer: of others, and of what is too long, it makes
      // one.
      const clean = spawnSync("git", ["lfs", "clean", "--", "file"], { cwd: folder, input: form });
      const isPointer = clean.status === 0 && clean.stdout.equals(Buffer.from(form));
      const parsed = parsePointer(utf8(form));
      if (isPointer !== (parsed !== undefined))
        t.equal(parsed !== undefined, isPointer, JSON.stringify(form));
      if (isPointer) pointers++;
      if (parsed !== undefined && parsed.sha256 !== POINTER.sha256) t.fail(JSON.stringify(form));
    }
    t.ok(
      pointers > 20 && pointers < forms.length - 20,
      `${pointers} of ${forms.length} are pointers`,
    );
    t.same(parsePointer(utf8(TEXT.replace("size 12345", "size +007"))), { ...POINTER, size: 7 });
    t.same(parsePointer(utf8(TEXT.replace("size 12345", "size -0"))), { ...POINTER, size: 0 });
    t.equal(latin1(utf8(TEXT)).length, TEXT.length);
  },
);
