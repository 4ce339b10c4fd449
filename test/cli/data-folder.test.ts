/**
 * The data folder is its owner's alone, and a disk that takes no more writes keeps nobody from
 * reading.
 */
import { chmod, mkdir, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import Database from "libsql";
import t from "tap";
import { startGuarded } from "../support/accounts-rig.js";
import { commit, git, startLakepack } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { rawRequest } from "../support/raw-client.js";

async function modes(folder: string, name = "."): Promise<string[]> {
  const path = join(folder, name);
  const found = await stat(path);
  const own = `${(found.mode & 0o777).toString(8)} ${found.isDirectory() ? "folder" : "file"} ${name}`;
  return found.isDirectory()
    ? [
        own,
        ...(
          await Promise.all((await readdir(path)).map((each) => modes(folder, join(name, each))))
        ).flat(),
      ]
    : [own];
}

for (const auth of ["none", "token"] as const)
  t.test(`folders 0700 and files 0600, auth ${auth}`, { timeout: 60_000 }, async (t) => {
    const data = join(await tempFolder(t), "data");
    await mkdir(data, { mode: 0o755 });
    await chmod(data, 0o755);
    await writeFile(join(data, "lock"), "", { mode: 0o644 }); // as an older server left it
    await chmod(join(data, "lock"), 0o644);
    const guarded = auth === "token" ? await startGuarded(t, { data }) : undefined;
    const server = guarded ?? (await startLakepack(t, { data }));
    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", work]);
    await commit(work, "first", { "a.txt": "a\n" });
    const url = guarded?.at("admin/model", guarded.adminToken) ?? `${server.url}/admin/model.git`;
    await git(["push", "-q", url, "main"], { cwd: work });
    await git(["clone", "-q", "--depth=1", url, join(work, "copy")]); // a cached pack
    await new Promise((wake) => setTimeout(wake, 1_500)); // derived files
    const found = await modes(data);
    t.ok(found.length > 15, `${found.length} looked at`);
    t.same(
      found.filter((each) => !/^(700 folder|600 file) /.test(each)),
      [],
    );
  });

const ready = async (port: number) => {
  const { status, body } = await rawRequest(
    port,
    "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n",
  );
  return `${status} ${body.toString()}`;
};
/** Waits until a finding, which holds for five seconds, is made anew. */
const later = () => new Promise((wake) => setTimeout(wake, 5_200));

t.test(
  "/readyz says no where the store or the database cannot be written, and warns of the cache",
  { timeout: 120_000 },
  async (t) => {
    const server = await startGuarded(t);
    t.equal(await ready(server.port), "200 ready\n");
    const probe = join(server.data, "probe");
    await rename(probe, `${probe}-away`);
    await writeFile(probe, "in the way"); // what a full or broken disk is to whoever writes there; root may write anywhere
    await later();
    t.match(
      await ready(server.port),
      /^503 not ready: the store cannot be written: storage failed\n$|^503 not ready: the store cannot be written: /,
    );
    await rm(probe);
    await rename(`${probe}-away`, probe);
    const db = new Database(join(server.data, "lakepack.db"));
    db.exec(
      "CREATE TRIGGER no_probe BEFORE INSERT ON secrets WHEN NEW.name = 'write-probe' BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END",
    );
    await later();
    t.match(await ready(server.port), /^503 not ready: the database cannot be written: /);
    db.exec("DROP TRIGGER no_probe");
    db.close();
    await rename(join(server.data, "cache"), join(server.data, "cache-away"));
    await writeFile(join(server.data, "cache"), "in the way");
    await later();
    t.match(await ready(server.port), /^200 ready\nwarning: the cache cannot be written/);
    await rm(join(server.data, "cache"));
    await rename(join(server.data, "cache-away"), join(server.data, "cache"));
    await later();
    t.equal(await ready(server.port), "200 ready\n");
  },
);

t.test("a database that takes no writes refuses no sign-in", { timeout: 60_000 }, async (t) => {
  const server = await startGuarded(t);
  const token = await server.user("ada");
  const db = new Database(join(server.data, "lakepack.db"));
  db.exec(
    "CREATE TRIGGER no_touch BEFORE UPDATE OF last_used_at ON tokens BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END",
  );
  db.close();
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  await commit(work, "first", { "a.txt": "a\n" });
  await git(["push", "-q", server.at("ada/model", token), "main"], { cwd: work });
  t.equal((await git(["ls-remote", server.at("ada/model", token)])).split("\n").length, 2);
  t.match(server.log(), /"fault":"database\/failed".*a token's last use could not be noted/);
});
