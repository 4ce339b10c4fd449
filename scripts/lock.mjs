// Adds to package-lock.json every optional platform package that a registry did not serve when the
// lock was written: `npm ci` of npm 11 refuses a lock that lacks one of them, and `npm install`
// writes such a lock without a word. Run after each change of dependencies; `--check` only says
// whether something is missing.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./install.mjs";

const file = join(root, "package-lock.json");
const lock = JSON.parse(readFileSync(file, "utf8"));
const added = [];

/** Where npm would look for `name` from the package at `path`: innermost node_modules first. */
function find(path, name) {
  for (let at = path; ; ) {
    const place = `${at === "" ? "" : `${at}/`}node_modules/${name}`;
    if (lock.packages[place]) return lock.packages[place];
    if (at === "") return undefined;
    const cut = at.lastIndexOf("node_modules/");
    at = cut <= 0 ? "" : at.slice(0, cut - 1);
  }
}

for (const [path, entry] of Object.entries({ ...lock.packages })) {
  for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
    const version = range.replace(/^npm:[^@]*@?[^@]*@/, "").replace(/^[\^~]/, "");
    const found = find(path, name);
    if (found !== undefined) continue;
    const place = `node_modules/${name}`;
    const nested = lock.packages[place] !== undefined && lock.packages[place].version !== version;
    lock.packages[nested ? `${path}/${place}` : place] = {
      version,
      ...(entry.dev ? { dev: true } : {}),
      optional: true,
      ...platformOf(name),
    };
    added.push(`${name}@${version}`);
  }
}

/** "…-linux-x64-musl" → os and cpu, so that npm does not try it elsewhere. */
function platformOf(name) {
  const os = /(linux|darwin|win32|freebsd|openbsd|netbsd|sunos|aix|android|openharmony)/.exec(
    name,
  )?.[1];
  const cpu = /(x64|arm64|arm|ia32|ppc64|s390x|riscv64|mips64el|loong64|wasm32)/.exec(name)?.[1];
  return { ...(cpu ? { cpu: [cpu] } : {}), ...(os ? { os: [os] } : {}) };
}

if (added.length === 0) console.log("package-lock.json lists every optional platform package");
else if (process.argv.includes("--check")) {
  console.error(`package-lock.json lacks: ${added.join(" ")}; run node scripts/lock.mjs`);
  process.exit(1);
} else {
  lock.packages = Object.fromEntries(
    Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)),
  );
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
  console.log(`added: ${added.join(" ")}`);
}
