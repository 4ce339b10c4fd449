// Adds to package-lock.json every optional platform package that a registry did not serve when the
// lock was written: `npm ci` of npm 11 refuses a lock that lacks one of them, and `npm install`
// writes such a lock without a word. Then it asks the registry for the integrity of each package
// that has none, and takes packages out that the registry does not serve: a package without
// integrity could be replaced unnoticed. Run after each change of dependencies; `--check` only says
// whether something is missing, and asks nobody.
import { spawnSync } from "node:child_process";
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

/** The name the registry knows a package by: aliases ("npm:…") have one of their own. */
const nameOf = (path, entry) => entry.name ?? path.slice(path.lastIndexOf("node_modules/") + 13);
const withoutIntegrity = () =>
  Object.entries(lock.packages).filter(
    ([path, entry]) => path !== "" && !entry.link && entry.integrity === undefined,
  );

/** The registry's integrity of a package; undefined if it does not serve that version. */
function published(name, version) {
  const { status, stdout, stderr } = spawnSync(
    "npm",
    ["view", `${name}@${version}`, "dist.integrity", "--json"],
    { encoding: "utf8", shell: process.platform === "win32" },
  );
  if (status === 0 && stdout.trim() !== "") return JSON.parse(stdout);
  if (/E404/.test(stderr + stdout)) return undefined;
  throw new Error(`npm view ${name}@${version}: ${stderr}`);
}

/**
 * Takes a package out of the lock, and its name from who lists it there: `npm ci` goes by the
 * lock's lists and not by those of the packages. On its platform the parent then does without it.
 */
function leaveOut(path, name) {
  delete lock.packages[path];
  for (const entry of Object.values(lock.packages)) {
    if (entry.optionalDependencies?.[name] === undefined) continue;
    delete entry.optionalDependencies[name];
  }
}

if (process.argv.includes("--check")) {
  const faults = [
    ...added.map((each) => `${each} is missing`),
    ...withoutIntegrity().map(([path]) => `${path} has no integrity`),
  ];
  if (faults.length > 0) {
    console.error(`package-lock.json: ${faults.join(", ")}; run node scripts/lock.mjs`);
    process.exit(1);
  }
  console.log("package-lock.json lists every optional platform package, each with its integrity");
} else {
  const removed = [];
  for (const [path, entry] of withoutIntegrity()) {
    const name = nameOf(path, entry);
    const integrity = published(name, entry.version);
    if (integrity === undefined) {
      leaveOut(path, name);
      removed.push(`${name}@${entry.version}`);
      continue;
    }
    const { version, ...rest } = entry;
    lock.packages[path] = { version, integrity, ...rest };
  }
  lock.packages = Object.fromEntries(
    Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)),
  );
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
  console.log(`added: ${added.join(" ")}\nnot served, left out: ${removed.join(" ")}`);
}
