/**
 * `node scripts/servers.mjs start` where it cannot: it says so, ends with 1 and leaves nothing
 * running.
 */
import { spawn } from "node:child_process";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { tempFolder } from "../support/temp-folder.js";

const SCRIPT = fileURLToPath(new URL("../../../scripts/servers.mjs", import.meta.url));
const { programFolder, programPath } = (await import(SCRIPT)) as {
  programFolder(): string;
  programPath(name: string): string;
};

t.test(
  "another lakeFS takes the place of the one that was built, as far as its programs are there",
  async (t) => {
    const folder = await tempFolder(t);
    const before = process.env["LAKEPACK_TEST_LAKEFS"];
    t.teardown(() => {
      if (before === undefined) delete process.env["LAKEPACK_TEST_LAKEFS"];
      else process.env["LAKEPACK_TEST_LAKEFS"] = before;
    });
    process.env["LAKEPACK_TEST_LAKEFS"] = folder;
    t.throws(() => programPath("lakefs"), /LAKEPACK_TEST_LAKEFS: .*lakefs is not there/);
    await writeFile(join(folder, "lakefs"), "");
    t.same(["lakefs", "versitygw"].map(programPath), [
      join(folder, "lakefs"),
      join(programFolder(), "versitygw"),
    ]);
    process.env["LAKEPACK_TEST_LAKEFS"] = "";
    t.equal(programPath("lakefs"), join(programFolder(), "lakefs"));
  },
);

/**
 * Programs that do what these shell lines say, where the real ones would be; a first port; and a
 * folder for `start`.
 */
async function setUp(t: Test, programs: Readonly<Record<string, string>>) {
  const folder = await tempFolder(t);
  const cache = join(folder, "cache");
  const place = join(cache, basename(programFolder()));
  await mkdir(place, { recursive: true });
  for (const name of ["lakefs", "lakectl", "versitygw", "acl"]) {
    await writeFile(join(place, name), `#!/bin/sh\n${programs[name] ?? "exec sleep 60"}\n`);
    await chmod(join(place, name), 0o755);
  }
  const data = join(folder, "data");
  const start = (port: number) =>
    run(["start", data], { SERVERS_CACHE: cache, SERVERS_PORT: String(port) });
  t.teardown(() => run(["stop", data], { SERVERS_CACHE: cache }));
  return { data, start, port: 20_000 + Math.floor(Math.random() * 10_000) };
}

async function run(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<{ code: number | null; err: string }> {
  const child = spawn(process.execPath, [SCRIPT, ...args], {
    env: { PATH: process.env["PATH"], ...env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let err = "";
  child.stderr.on("data", (chunk: Buffer) => {
    err += String(chunk);
  });
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, err };
}

t.test("a port that is taken, each of the seven", async (t) => {
  const { start, port, data } = await setUp(t, {});
  for (const at of [0, 3, 6]) {
    const other = createServer();
    await new Promise<void>((resolve) => void other.listen(port + at, "127.0.0.1", resolve));
    t.match(await start(port), {
      code: 1,
      err: new RegExp(`not started: port ${port + at} is taken \\(EADDRINUSE\\).*SERVERS_PORT`),
    });
    await new Promise((resolve) => other.close(resolve));
  }
  await t.rejects(readFile(join(data, "pids")), "nothing was started");
});

t.test("a server that ends", async (t) => {
  const { start, port, data } = await setUp(t, { lakefs: "echo no room; exit 3" });
  const { code, err } = await start(port);
  t.equal(code, 1);
  t.match(err, /not started: lakefs-local has ended \(exit code 3\): see .*lakefs-local\.log/);
  t.equal(await readFile(join(data, "lakefs-local.log"), "utf8"), "no room\n");
  await t.rejects(readFile(join(data, "pids")), "the others were ended");
});
