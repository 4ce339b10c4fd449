/**
 * The managed block as Git merges it: two branches' blocks come together without a conflict, and
 * cover what both had.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { lossyText, utf8 } from "../../src/base/bytes.js";
import { managedBlock, withBlock, withoutBlock } from "../../src/lakefs/rules/managed-block.js";
import { DEFAULT_MAPPING } from "../../src/lakefs/agreed/mapping.js";
import { tempFolder } from "../support/temp-folder.js";
import { seeded } from "../support/random.js";

const ENV = {
  PATH: process.env["PATH"],
  HOME: "/nonexistent",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_AUTHOR_NAME: "a",
  GIT_AUTHOR_EMAIL: "a@b",
  GIT_COMMITTER_NAME: "a",
  GIT_COMMITTER_EMAIL: "a@b",
};
/**
 * Each of a suffix of its own: where one side drops the last file of a suffix, its line goes though
 * the other has brought another file of it.
 */
const PATHS = [
  "a.bin",
  "b.ot",
  "c.pt",
  "d.h5",
  "e/f.npz",
  "model one",
  "g.safetensors",
  "h.onnx",
  "z",
  "0.ckpt",
];

t.test("two branches with different blocks merge in Git without a conflict", async (t) => {
  const random = seeded(4);
  const folder = await tempFolder(t);
  const run = (...args: string[]) =>
    execFileSync("git", args, {
      cwd: folder,
      env: ENV,
      stdio: ["ignore", "pipe", "pipe"],
    }).toString();
  const file = join(folder, ".gitattributes");
  const blockOf = (pointers: readonly string[]) =>
    managedBlock(
      { pointers: [...pointers].sort(), plain: new Map() },
      () => false,
      DEFAULT_MAPPING,
    );
  const some = () => PATHS.filter(() => random.below(2) === 0);
  execFileSync("git", ["init", "-q", "-b", "main", folder]);
  for (let round = 0; round < 12; round++) {
    run("checkout", "-q", "--orphan", `base-${round}`);
    const own = random.pick(["", "*.txt text\n", "*.txt text\n*.md text"]);
    const [base, left, right] = [
      random.below(2) === 0 ? [] : some(),
      [...some(), "left.x"],
      [...some(), "right.y"],
    ];
    const commit = async (pointers: readonly string[]) => {
      const text = withBlock(utf8(own), blockOf(pointers)) ?? utf8("");
      await writeFile(file, text);
      run("add", "-A");
      run("commit", "-q", "--allow-empty", "-m", "x");
    };
    await commit(base);
    run("checkout", "-q", "-b", `left-${round}`);
    await commit(left);
    run("checkout", "-q", "-b", `right-${round}`, `base-${round}`);
    await commit(right);
    const merge = spawnSync("git", ["merge", "-q", "-m", "merged", `left-${round}`], {
      cwd: folder,
      env: ENV,
      encoding: "utf8",
    });
    if (merge.status !== 0) t.fail(`${merge.stdout}${merge.stderr}${await readFile(file, "utf8")}`);
    const merged = await readFile(file);
    // A file of the base that either side has removed is gone.
    const files = [...new Set([...left, ...right])].filter(
      (path) => !base.includes(path) || (left.includes(path) && right.includes(path)),
    );
    const out = execFileSync("git", ["check-attr", "--stdin", "filter"], {
      cwd: folder,
      env: ENV,
      input: files.join("\n"),
    }).toString();
    if (/unspecified/.test(out)) t.fail(`${out}${merged.toString()}`);
    // What the server makes of it next is one block, sorted, in its place.
    const next = blockOf(files);
    const again = lossyText(withBlock(merged, next) as Uint8Array);
    if (again.split("# lakepack: begin").length !== 2 || !again.includes(next as string))
      t.fail(again);
    if (lossyText(withoutBlock(merged)).replace(/\n$/, "") !== own.replace(/\n$/, ""))
      t.fail(`${lossyText(withoutBlock(merged))} is not ${own}`);
  }
  t.pass("12 merges");
});
