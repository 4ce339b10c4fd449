/**
 * `npm run pack` of a clean clone, and the tarball in another project: what a user of the published
 * package gets. Offline: the tarball is unpacked beside the production dependencies that are
 * installed here, and beside no others.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import {
  chmod,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { UWS_PLATFORM } from "../../src/transport/uws-binary.js";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(program: string, args: readonly string[], cwd: string): Ran {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(npm_|NODE_|TAP_|LAKEPACK_)/i.test(name)),
  );
  return spawnSync(program, [...args], { cwd, env, encoding: "utf8", timeout: 300_000 });
}

/** Folders of a checkout that are no sources. */
const NO_SOURCES: ReadonlySet<string> = new Set([".git", "node_modules", "dist", "data"]);

/**
 * Copies the files that Git has or would take in, and nothing that is built. Sources that are in no
 * Git repository (an archive) are taken as they lie there.
 */
async function cloneSources(folder: string): Promise<void> {
  const listed = run("git", ["ls-files", "--cached", "--others", "--exclude-standard"], ROOT);
  if (listed.status !== 0) {
    for (const name of await readdir(ROOT))
      if (!NO_SOURCES.has(name))
        await cp(join(ROOT, name), join(folder, name), { recursive: true });
    return;
  }
  for (const name of listed.stdout.split("\n").filter(Boolean))
    if (existsSync(join(ROOT, name))) await cp(join(ROOT, name), join(folder, name));
}

/** node_modules/ with links to what a production installation has. */
async function linkDependencies(folder: string): Promise<void> {
  const lock = JSON.parse(await readFile(join(ROOT, "package-lock.json"), "utf8")) as {
    readonly packages: Readonly<Record<string, { readonly dev?: boolean }>>;
  };
  for (const [path, { dev }] of Object.entries(lock.packages)) {
    const isTop = /^node_modules\/(@[^/]+\/)?[^/]+$/.test(path);
    if (!isTop || dev === true || !existsSync(join(ROOT, path))) continue;
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await symlink(join(ROOT, path), join(folder, path));
  }
}

/** Links of the installed documents that lead to no file, as "document: link". */
async function brokenLinks(folder: string): Promise<string[]> {
  const broken: string[] = [];
  const documents = (await readdir(folder, { recursive: true })).filter((name) =>
    name.endsWith(".md"),
  );
  for (const name of documents.sort()) {
    const text = await readFile(join(folder, name), "utf8");
    for (const [, link = ""] of text.matchAll(/\]\(([^)#\s]+)[^)]*\)|src(?:set)?="([^"]+)"/g)) {
      if (!/^\w+:/.test(link) && !existsSync(join(folder, dirname(name), link)))
        broken.push(`${name}: ${link}`);
    }
  }
  return broken;
}

const scratch = await mkdtemp(join(tmpdir(), "lakepack-package-"));
t.teardown(() => rm(scratch, { recursive: true, force: true }));
const clone = join(scratch, "clone");
const user = join(scratch, "user");
const installed = join(user, "node_modules/lakepack");

t.test("a bare `npm pack` of an unbuilt clone fails and says what to run", async (t) => {
  await cloneSources(clone);
  for (const args of [["pack"], ["pack", "--ignore-scripts=false"], ["pack", "--ignore-scripts"]]) {
    const packed = run("npm", args, clone);
    t.not(packed.status, 0, args.join(" "));
    t.match(packed.stderr, /npm run pack/);
  }
  t.same(
    (await readdir(clone)).filter((name) => name.endsWith(".tgz")),
    [],
  );
});

t.test("`npm run pack` of a clean clone builds and packs", { timeout: 300_000 }, async (t) => {
  await symlink(join(ROOT, "node_modules"), join(clone, "node_modules"));
  const packed = run("npm", ["run", "pack", "--", scratch], clone);
  t.equal(packed.status, 0, packed.stderr);
  const tarball = (await readdir(scratch)).find((name) => name.endsWith(".tgz")) as string;
  await linkDependencies(user);
  await mkdir(installed);
  t.equal(
    run("tar", ["xzf", join(scratch, tarball), "--strip-components=1", "-C", installed], user)
      .status,
    0,
  );
  await mkdir(join(user, "node_modules/.bin"));
  // As npm installs what `bin` names: executable, and linked to.
  await chmod(join(installed, "dist/src/cli/main.js"), 0o755);
  await symlink("../lakepack/dist/src/cli/main.js", join(user, "node_modules/.bin/lakepack"));
  await writeFile(join(user, "package.json"), '{"name":"user","private":true,"type":"module"}');

  const compiled = await readdir(join(installed, "dist"));
  t.same(compiled.sort(), ["src", "types", "wasm", "workers"], "no tests, no bench");
  t.same(await brokenLinks(installed), [], "all that its documents link to is there");
  const manifest = JSON.parse(await readFile(join(installed, "package.json"), "utf8")) as object;
  t.hasOwnProps(manifest, ["exports", "repository", "keywords", "license", "engines"]);
  for (const name of ["private", "scripts", "devDependencies", "tap"])
    t.notOk(name in manifest, `no ${name}`);
  const map = JSON.parse(
    await readFile(join(installed, "dist/src/library/index.js.map"), "utf8"),
  ) as { readonly sourcesContent: readonly string[] };
  t.match(map.sourcesContent[0], /export async function serve/, "source maps bring their sources");
});

/** `npx lakepack serve`, resolved with its first words. */
async function serve(t: Test, args: readonly string[]): Promise<{ said: string; errors: string }> {
  const server = spawn(
    "npx",
    ["--no-install", "lakepack", "serve", "--listen", "127.0.0.1:0", ...args],
    { cwd: user, detached: true },
  );
  const ended = new Promise((resolve) => server.once("close", resolve));
  t.teardown(() => {
    try {
      process.kill(-(server.pid as number), "SIGTERM"); // the group we made: npx and what it started
    } catch {
      // ended by itself
    }
    return ended;
  });
  let said = "";
  let errors = "";
  server.stderr.on("data", (chunk) => {
    errors += String(chunk);
  });
  for await (const chunk of server.stdout) {
    said += String(chunk);
    if (/serving http:\S+/.test(said)) return { said, errors };
  }
  await ended;
  return { said, errors };
}

t.test("`npx lakepack serve` serves from the tarball", { timeout: 120_000 }, async (t) => {
  const { said } = await serve(t, ["--data", join(scratch, "data")]);
  const url = /serving (http:\S+)/.exec(said)?.[1];
  t.equal((await fetch(`${url}/healthz`)).status, 200);
  t.equal((await fetch(`${url}/readyz`)).status, 200, "kernels and workers are there");
});

t.test(
  "a TypeScript project imports it with types, and its code runs",
  { timeout: 120_000 },
  async (t) => {
    const program = `
import { Fault, type Served, serve, type ServeSettings, VERSION } from "lakepack";
import { formatTree, isRefName, objectId, type Oid, parseCommit } from "lakepack/git";
import { type Packet, packet, readPacket } from "lakepack/wire";

const settings: ServeSettings = { listen: "127.0.0.1:0", data: "library-data", log_level: "silent" };
// @ts-expect-error no such setting
const wrong: ServeSettings = { lisen: "127.0.0.1:0" };
const served: Served = await serve(settings);
const { status } = await fetch(served.url + "/healthz");
await served.stop(1_000);
const refused = await serve(wrong).catch((error: unknown) => (error instanceof Fault ? error.code : ""));
const empty: Oid = objectId("tree", formatTree([]));
const read: Packet | undefined = readPacket(packet(new Uint8Array([104, 105])), 0)?.packet;
const size: number = read?.kind === "data" ? read.payload.length : 0;
const tree: Oid = parseCommit(new TextEncoder().encode("tree " + empty + "\\n\\nx")).tree;
console.log(VERSION, status, refused, empty, size, isRefName("refs/heads/main"), tree === empty);
`;
    await writeFile(join(user, "program.ts"), program);
    // lib "DOM" has fetch and console; no types of Node.js: none are needed to use the package
    const options = {
      strict: true,
      module: "NodeNext",
      target: "ES2023",
      lib: ["ES2023", "DOM"],
      types: [],
      skipLibCheck: false,
    };
    await writeFile(
      join(user, "tsconfig.json"),
      JSON.stringify({ compilerOptions: options, files: ["program.ts"] }),
    );
    const compiler = join(ROOT, "node_modules/typescript/bin/tsc");
    const compiled = run(process.execPath, [compiler, "-p", "."], user);
    t.equal(compiled.stdout + compiled.stderr, "");
    const ran = run(process.execPath, ["program.js"], user);
    const version = (
      JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")) as { version: string }
    ).version;
    t.equal(
      ran.stdout.trim(),
      `${version} 200 settings/bad-value 4b825dc642cb6eb9a060e54bf8d69288fbee4904 2 true true`,
      ran.stderr,
    );
  },
);

t.test(
  "a changed binary of uWebSockets.js is not loaded: node:http serves, or the start is refused",
  { timeout: 120_000 },
  async (t) => {
    const library = join(user, "node_modules/uWebSockets.js");
    const platform = join(user, "node_modules/@uwsjs", UWS_PLATFORM);
    if (!existsSync(platform)) {
      t.pass("the start", { skip: "npm has not installed the binary" });
      return;
    }
    // Copies in place of the links: npm's files stay as they are.
    for (const folder of [library, platform]) {
      const copy = `${folder}.copy`;
      await cp(folder, copy, { recursive: true, dereference: true });
      await rm(folder);
      await cp(copy, folder, { recursive: true });
      await rm(copy, { recursive: true });
    }
    const binary = join(platform, "uws.node");
    await writeFile(binary, Buffer.concat([await readFile(binary), Buffer.from("x")]));
    const data = join(scratch, "changed");
    const auto = await serve(t, ["--data", data]);
    t.match(auto.said, /serving \S+ \(node\)/);
    t.match(auto.errors, /"node:http serves in place of uWebSockets.js"/);
    t.match(auto.errors, /has SHA-256 [0-9a-f]{64} and not [0-9a-f]{64}.*npm ci/);
    const insisted = await serve(t, ["--data", `${data}-2`, "--transport", "uws"]);
    t.notMatch(insisted.said, /serving/);
    t.match(insisted.errors, /transport.*uws.*SHA-256/);
  },
);
