// `npm test [-- files or folders]`: installs and builds if need be, runs every test this machine
// can run, says what was skipped. The last line reads "N passed, N failed, N skipped". `--large`
// runs the sizes too big for every day (test/large) as well; with `--complete` a skipped test is a
// failed run, and so is a lakeFS test without the record of the real server it ran on.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { install, root, run } from "./install.mjs";
import { runFiles, tapLines } from "./run-files.mjs";
import { isBuilt, programHash, programPath } from "./servers.mjs";

const args = process.argv.slice(2).filter((arg) => !arg.startsWith("--"));
const large = process.argv.includes("--large");
const complete = process.argv.includes("--complete");

install();
run("scripts/build.mjs");
buildTap();

/**
 * Once after an installation: tap without its TypeScript plugin, which would load a compiler into
 * every test and every pool thread.
 */
function buildTap() {
  const stamp = join(root, "node_modules/.lakepack-tap-built");
  if (existsSync(stamp)) return;
  const built = spawnSync(
    process.execPath,
    [join(root, "node_modules/tap/dist/esm/run.mjs"), "build"],
    { cwd: root, stdio: "ignore" },
  );
  if (built.status === 0) writeFileSync(stamp, "");
}

function testFiles(path) {
  if (statSync(path).isFile()) return [path];
  return readdirSync(path)
    .flatMap((name) => testFiles(join(path, name)))
    .filter((file) => file.endsWith(".test.js"));
}

/**
 * Tests that start lakeFS (test/support/lakefs-servers.ts) and did not say, each time, that it was
 * the real one: its id and the hash of the program.
 */
function withoutRecord() {
  const starts = (name) => readFileSync(join(root, name), "utf8").includes("startLakefs(");
  if (!isBuilt()) return files.filter(starts);
  const program = programHash(programPath("lakefs"));
  const records = new Map();
  let file;
  for (const line of lines) {
    file = /^# Subtest: (.*)$/.exec(line)?.[1] ?? file;
    const hash = /# ran on lakeFS [0-9a-f-]{36} \(.*program ([0-9a-f]{16})\)$/.exec(line)?.[1];
    if (hash !== undefined) records.set(file, [...(records.get(file) ?? []), hash]);
  }
  return files
    .filter(starts)
    .filter((name) => !records.has(name) || records.get(name).some((hash) => hash !== program));
}

/**
 * What failed, by name and with its first details, for a reader who sees only the end of the
 * output: files that failed as a whole too (a time limit, a crash, a missing plan).
 */
function failureReports(lines) {
  const detailsMax = 40; // lines of one failure: message, place and the diff
  const reports = [];
  let file;
  let deepest;
  for (const [index, line] of lines.entries()) {
    file = /^# Subtest: (.*)$/.exec(line)?.[1] ?? file;
    const failed = /^( *)not ok \d+(?: - (.*))?$/.exec(line);
    if (failed === null || /# (SKIP|TODO)/i.test(line)) continue;
    // An enclosing test fails because of what failed in it, and is printed after it.
    if (deepest !== undefined && deepest.file === file && failed[1].length < deepest.indent) {
      reports.push(`FAILED: ${file}: ${failed[2] ?? ""}`);
      continue;
    }
    deepest = { file, indent: failed[1].length };
    const details = [];
    for (
      let at = index + 1;
      lines[at] !== undefined &&
      details.length < detailsMax &&
      !/^ *(not )?ok \d|^ *\.\.\.$/.test(lines[at]);
      at++
    )
      details.push(`  ${lines[at].trim()}`);
    reports.push([`FAILED: ${file}: ${failed[2] ?? ""}`, ...details].join("\n"));
  }
  return reports;
}

/** The files that took longest, and how long all take one after the other. */
function slowest(lines) {
  const shown = 12;
  const seconds = [];
  for (const line of lines) {
    const file = /^(?:not )?ok \d+ - (\S+\.test\.js) # time=([\d.]+)ms/.exec(line);
    if (file !== null) seconds.push([file[1], Number(file[2]) / 1_000]);
  }
  seconds.sort((a, b) => b[1] - a[1]);
  const all = seconds.reduce((sum, [, each]) => sum + each, 0);
  return [
    `${seconds.length} files, ${Math.round(all)} s one after the other; the slowest:`,
    ...seconds.slice(0, shown).map(([file, each]) => `  ${Math.round(each)} s  ${file}`),
  ];
}

/** Compiled tests whose source is gone do not count. */
const hasSource = (file) =>
  existsSync(join(root, relative(join(root, "dist"), file).replace(/\.js$/, ".ts")));
const wanted = args.length === 0 ? ["test"] : args.map((arg) => arg.replace(/\.ts$/, ".js"));
const isLarge = (file) => file.startsWith(join("dist", "test", "large"));
const found = wanted
  .flatMap((path) => testFiles(join(root, "dist", path)))
  .filter(hasSource)
  .map((file) => relative(root, file));
const files = found.filter((file) => large || !isLarge(file));
if (files.length < found.length) console.log("not run: test/large (npm run test:large)");
/** Files that measure this machine's memory or time: by themselves, when the others are done. */
const ALONE = new Set([
  "hostile/budgets-fetch",
  "hostile/budgets-push",
  "lakefs/memory",
  "pool/turns",
]);
/** Files that wait for clocks more than they compute: beside the others, one at a time. */
const WAITING = new Set([
  "conformance/transport-node",
  "conformance/transport-uws",
  "database/postgres-waits",
  "hostile/aborted",
  "hostile/requests",
  "hostile/slow-clients",
  "interop/fleet",
  "interop/fleet-kinds",
  "interop/front-ends",
  "interop/lakefs-away",
  "interop/lakefs-slow",
  "lakefs/hooks-slow",
  "lakefs/patience",
  "serve/upload-pack",
  "store/s3-faults",
]);
/**
 * Form and lint of the whole source, where the whole is tested. wasm/ has decorators in places that
 * the formatter does not parse.
 */
function isTidy() {
  if (args.length > 0) return true;
  const biome = spawnSync(
    process.execPath,
    [join(root, "node_modules/@biomejs/biome/bin/biome"), "ci", "--reporter=summary"],
    { cwd: root, stdio: "inherit" },
  );
  return biome.status === 0;
}
const tidy = isTidy();

const groups = { waiting: [], working: [], alone: [] };
for (const file of files) {
  const name = relative(join("dist", "test"), file).replace(/\.test\.js$/, "");
  groups[ALONE.has(name) ? "alone" : WAITING.has(name) ? "waiting" : "working"].push(file);
}
// More at once than there are cores: most of the time a test waits for a process to start or a disk
// to sync.
const runs = await Promise.all([runGroup("waiting", 1), runGroup("working", 3)]);
runs.push(await runGroup("alone", 1));
const lines = runs.flatMap((run) => run.lines);

/** Runs the files of a group, `jobs` at a time, and answers what they said. */
async function runGroup(group, jobs) {
  const options = large ? { seconds: 3_600, env: { TEST_LARGE: "1" } } : { seconds: 600 };
  const results = await runFiles(groups[group], jobs, options, ({ file, status }) => {
    if (status !== 0) console.log(`failed: ${file} (exit ${status}); more at the end`);
  });
  const lines = tapLines(results);
  writeFileSync(join(root, `dist/${group}.tap`), lines.join("\n"));
  return { good: results.every(({ status }) => status === 0), lines };
}

// One level in: the named tests of each file.
const results = lines.filter((line) => /^ {4}(not )?ok \d/.test(line));
const skipped = results.filter((line) => /# SKIP/i.test(line));
const failed = results.filter(
  (line) => line.startsWith("    not ok") && !/# (SKIP|TODO)/i.test(line),
);
for (const report of failureReports(lines)) console.log(report);
if (files.length > 1) for (const line of slowest(lines)) console.log(line);
for (const line of skipped) console.log(`SKIPPED: ${line.trim().replace(/^ok \d+ - /, "")}`);
if (complete && skipped.length > 0) console.log("FAILED: with --complete nothing may be skipped");
const standIns = complete ? withoutRecord() : [];
for (const file of standIns)
  console.log(
    `FAILED: ${file} left no record that it ran on the lakeFS that scripts/servers.mjs has built`,
  );
if (!tidy)
  console.log("FAILED: the source is not formatted, or has lint: npm run format, npm run lint");
const failures = Math.max(
  failed.length + standIns.length + (complete ? skipped.length : 0),
  runs.every((run) => run.good) && tidy ? 0 : 1,
);
console.log(
  `${results.length - skipped.length - failed.length} passed, ${failures} failed, ${skipped.length} skipped`,
);
process.exit(failures === 0 ? 0 : 1);
