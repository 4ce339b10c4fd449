// Runs test files, each in a Node.js process of its own, several at once. In place of tap's runner,
// which takes 0.7 s of CPU a file for what is not used here (a loader, a process log).
import { spawn } from "node:child_process";
import { root } from "./install.mjs";

/** A file that did not end at its own limit is ended so many seconds later. */
const GRACE_SECONDS = 60;
/** Lines of standard error that are kept of a file that failed. */
const LAST_WORDS = 20;

/**
 * Runs one file. Answers its TAP, what it said on standard error, its exit code or signal and how
 * many seconds it took. `seconds`: its limit.
 */
export function runFile(file, { seconds, env = {}, args = [] }) {
  const began = performance.now();
  const child = spawn(process.execPath, [...args, file], {
    cwd: root,
    env: { ...process.env, TAP_TIMEOUT: String(seconds), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said = { output: "", errors: "" };
  child.stdout.setEncoding("utf8").on("data", (text) => {
    said.output += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text) => {
    said.errors += text;
  });
  const limit = setTimeout(() => child.kill("SIGKILL"), (seconds + GRACE_SECONDS) * 1_000);
  return new Promise((resolve) => {
    child.on("close", (code, signal) => {
      clearTimeout(limit);
      const took = (performance.now() - began) / 1_000;
      // A file that ended in its middle, or tests nothing, has no plan.
      const ended = code === 0 && !/^1\.\.\d+/m.test(said.output) ? "without a plan" : code;
      resolve({ file, ...said, status: signal ?? ended, seconds: took });
    });
  });
}

/** Runs all files in their order, `jobs` at once; answers as they end. `onEnd` hears of each. */
export async function runFiles(files, jobs, options, onEnd = () => undefined) {
  const waiting = [...files];
  const results = [];
  const worker = async () => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const result = await runFile(file, options);
      results.push(result);
      onEnd(result);
    }
  };
  await Promise.all(Array.from({ length: jobs }, worker));
  return results;
}

/** The results as the lines of one TAP document, each file a subtest. */
export function tapLines(results) {
  return results.flatMap(({ file, output, errors, status, seconds }, at) => {
    const isGood = status === 0;
    const end = `${isGood ? "ok" : "not ok"} ${at + 1} - ${file} # time=${(seconds * 1_000).toFixed(1)}ms`;
    const words = errors.trimEnd().split("\n").slice(-LAST_WORDS);
    return [
      `# Subtest: ${file}`,
      ...output.split("\n").map((line) => (line === "" ? "" : `    ${line}`)),
      end,
      ...(isGood
        ? []
        : ["  ---", `  exit: ${status}`, ...words.map((line) => `  ${line}`), "  ..."]),
    ];
  });
}
