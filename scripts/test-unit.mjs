// `npm run test:unit [-- files]`: installs and builds if need be, runs the unit tests (see
// unit-tests.mjs), each in a process of its own, and prints how much of each room they ran.
// The last line reads "N passed, N failed in N s". `--list` prints their names only.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { coverageOf } from "./coverage.mjs";
import { install, root, run } from "./install.mjs";
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

const coverage = mkdtempSync(join(tmpdir(), "lakepack-coverage-"));
process.on("exit", () => rmSync(coverage, { recursive: true, force: true }));

/** Runs one file; answers what it said and how long it took. */
function runFile(file) {
  const started = performance.now();
  const child = spawn(
    process.execPath,
    ["--no-warnings", join("dist", file.replace(/\.ts$/, ".js"))],
    {
      cwd: root,
      env: { ...process.env, NODE_V8_COVERAGE: coverage, TAP_TIMEOUT: String(FILE_SECONDS) },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let output = "";
  const hear = (chunk) => {
    output += chunk;
  };
  child.stdout.setEncoding("utf8").on("data", hear);
  child.stderr.setEncoding("utf8").on("data", hear);
  const limit = setTimeout(() => child.kill("SIGKILL"), 2 * FILE_SECONDS * 1_000);
  return new Promise((resolve) => {
    child.on("close", (status, signal) => {
      clearTimeout(limit);
      const seconds = (performance.now() - started) / 1_000;
      resolve({ file, output, seconds, status: signal ?? status });
    });
  });
}

/** Runs all files, as many at once as there are cores. */
async function runAll() {
  const waiting = [...tests];
  const results = [];
  const worker = async () => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift())
      results.push(await runFile(file));
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return results;
}

const started = performance.now();
const results = await runAll();
const seconds = ((performance.now() - started) / 1_000).toFixed(1);

const lines = results.flatMap(({ output }) => output.split("\n"));
const passed = lines.filter((line) => /^ok \d/.test(line) && !/# SKIP/i.test(line)).length;
const failing = results.filter(({ status }) => status !== 0);
const failed = lines.filter((line) => /^not ok \d/.test(line)).length;
for (const { file, output, status } of failing)
  console.log(`FAILED: ${file} (exit ${status})\n${output}`);

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
