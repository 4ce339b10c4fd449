/**
 * `npm pack`, and the tarball installed elsewhere: what a user of the published package gets. Needs
 * the npm registry.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

function npm(args: readonly string[], cwd: string): string {
  const { status, stdout, stderr } = spawnSync("npm", [...args], {
    cwd,
    encoding: "utf8",
    timeout: 300_000,
  });
  if (status !== 0) throw new Error(`npm ${args.join(" ")}: ${stderr}`);
  return stdout;
}

/** Links of the installed documents that lead to no file, as "document: link". */
async function brokenLinks(folder: string): Promise<string[]> {
  const broken: string[] = [];
  const documents = (await readdir(folder, { recursive: true })).filter((name) =>
    name.endsWith(".md"),
  );
  for (const name of documents.sort()) {
    const text = await readFile(join(folder, name), "utf8");
    for (const [, link = ""] of text.matchAll(/\]\(([^)#]+)[^)]*\)/g)) {
      if (!/^\w+:/.test(link) && !existsSync(join(folder, dirname(name), link)))
        broken.push(`${name}: ${link}`);
    }
  }
  return broken;
}

const reachable =
  spawnSync("npm", ["ping"], { timeout: 20_000 }).status === 0 ||
  spawnSync("npm", ["view", "yaml", "version"], { timeout: 20_000 }).status === 0;

t.test(
  "the installed tarball serves",
  { timeout: 600_000, skip: reachable ? false : "the npm registry does not answer" },
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), "lakepack-package-"));
    t.teardown(() => rm(folder, { recursive: true, force: true }));
    npm(["pack", "--pack-destination", folder], ROOT);
    const tarball = (await readdir(folder)).find((name) => name.endsWith(".tgz")) as string;
    await writeFile(join(folder, "package.json"), '{"name":"user","private":true}');
    npm(["install", "--ignore-scripts", "--no-audit", "--no-fund", `./${tarball}`], folder);
    const installed = await readdir(join(folder, "node_modules/lakepack/dist"));
    t.same(installed.sort(), ["src", "wasm", "workers"], "no tests, no bench");
    t.same(
      await brokenLinks(join(folder, "node_modules/lakepack")),
      [],
      "all that its documents link to is there",
    );

    const server = spawn(join(folder, "node_modules/.bin/lakepack"), [
      "serve",
      "--listen",
      "127.0.0.1:0",
      "--data",
      join(folder, "data"),
      "--log-level",
      "silent",
    ]);
    t.teardown(() => server.kill("SIGKILL"));
    let url: string | undefined;
    for await (const chunk of server.stdout) {
      url = /serving (http:\S+)/.exec(String(chunk))?.[1];
      if (url !== undefined) break;
    }
    t.equal((await fetch(`${url}/healthz`)).status, 200);
  },
);
