// Finds the unit tests: a test is one if neither it nor anything of test/ and bench/ that it
// imports names a way to start a process, a server, a thread or the pool, or reads a clock. So
// nobody keeps a list: a test that begins to use the harness leaves the unit run by itself.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { root } from "./install.mjs";

/** Modules that start or reach something outside the test's own thread. */
const IMPORTS =
  /^node:(child_process|cluster|dgram|http2?|https|net|timers(\/promises)?|tls|worker_threads)$|^(piscina|undici)$|^src\/(pool\/pool|cli\/server\/server|transport\/load)\.ts$/;
/** Clocks are globals. */
const CLOCKS = /\bDate\.now\(|\bnew Date\(\)|\bperformance\.now\(|\bhrtime\b/;
/** Folders whose files count as the test's own. */
const OWN = /^(test|bench)\//;

/** Why a source file makes a test more than a unit test, undefined if it does not. */
export function reasonAgainst(text, imports) {
  return imports.find((name) => IMPORTS.test(name)) ?? CLOCKS.exec(text)?.[0];
}

function importsOf(file, text) {
  const found = text.matchAll(
    /(?:^|\n)\s*(?:import|export)\s[^;]*?from\s+"([^"]+)"|import\(\s*"([^"]+)"\s*\)|(?:^|\n)import\s+"([^"]+)"/g,
  );
  return [...found]
    .filter(([statement]) => !/^\s*import type\s/.test(statement))
    .map(([, from, dynamic, bare]) => from ?? dynamic ?? bare)
    .map((name) => (name.startsWith(".") ? placeOf(file, name) : name));
}

function placeOf(file, name) {
  return relative(root, resolve(root, dirname(file), name)).replace(/\.js$/, ".ts");
}

/** Depth-first search through the test's own files; `seen` holds what was read already. */
function isUnit(file, seen = new Set()) {
  if (seen.has(file) || !existsSync(join(root, file))) return true;
  seen.add(file);
  const text = readFileSync(join(root, file), "utf8");
  const imports = importsOf(file, text);
  if (reasonAgainst(text, imports) !== undefined) return false;
  return imports.filter((name) => OWN.test(name)).every((name) => isUnit(name, seen));
}

/** Sources of all unit tests, as "test/base/bytes.test.ts". */
export function unitTests() {
  return readdirSync(join(root, "test"), { recursive: true })
    .map((name) => join("test", name).replaceAll("\\", "/"))
    .filter((file) => file.endsWith(".test.ts") && isUnit(file))
    .sort();
}
