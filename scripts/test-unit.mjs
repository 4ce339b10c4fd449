// `npm run test:unit [-- files]`: installs and builds if need be, runs the unit tests (see
// unit-tests.mjs), each in a process of its own, and prints how much of each room they ran.
// The last line reads "N passed, N failed in N s". `--list` prints their names only.
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { coverageOf } from "./coverage.mjs";
import { install, run } from "./install.mjs";
import { runFiles } from "./run-files.mjs";
import { unitTests } from "./unit-tests.mjs";

/** A test that waits for what never comes ends here. */
const FILE_SECONDS = 60;
const SLOWEST_SHOWN = 5;

const named = process.argv.slice(2).filter((arg) => !arg.startsWith("--"));
const tests = unitTests().filter((file) => named.length === 0 || named.includes(file));
if (process.argv.includes("--list")) {
  for (const file of tests) console.log(file);
  process.exit(0);
}
const others = named.filter((file) => !tests.includes(file));
if (others.length > 0) {
  console.error(`not unit tests: ${others.join(" ")} (npm run test:unit -- --list names them)`);
  process.exit(2);
}

install();
run("scripts/build.mjs");

const compiled = (file) => join("dist", file.replace(/\.ts$/, ".js"));
const coverage = mkdtempSync(join(tmpdir(), "lakepack-coverage-"));
process.on("exit", () => rmSync(coverage, { recursive: true, force: true }));

const started = performance.now();
const results = await runFiles(tests.map(compiled), availableParallelism(), {
  seconds: FILE_SECONDS,
  env: { NODE_V8_COVERAGE: coverage },
  args: ["--no-warnings"],
});
const seconds = ((performance.now() - started) / 1_000).toFixed(1);

const lines = results.flatMap(({ output }) => output.split("\n"));
const passed = lines.filter((line) => /^ok \d/.test(line) && !/# SKIP/i.test(line)).length;
const failing = results.filter(({ status }) => status !== 0);
const failed = lines.filter((line) => /^not ok \d/.test(line)).length;
for (const { file, output, errors, status } of failing)
  console.log(`FAILED: ${file} (exit ${status})\n${output}\n${errors}`);

results.sort((a, b) => b.seconds - a.seconds);
console.log(`${results.length} files; the slowest:`);
for (const { file, seconds } of results.slice(0, SLOWEST_SHOWN))
  console.log(`  ${seconds.toFixed(1).padStart(5)} s  ${file}`);
console.log("lines of code that ran:");
for (const { room, lines, covered } of coverageOf(coverage))
  console.log(
    `  ${room.padEnd(10)} ${String(Math.round((100 * covered) / lines)).padStart(3)} %  ${covered} of ${lines}`,
  );
console.log(`${passed} passed, ${Math.max(failed, failing.length)} failed in ${seconds} s`);
process.exitCode = failing.length === 0 ? 0 : 1;
