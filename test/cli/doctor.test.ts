/**
 * `lakepack doctor` without a repository: what it looks at, what it says, and with which code it
 * ends.
 */
import { chmod, mkdir, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { frontEnds } from "../support/everyday.js";
import { checkAll } from "../../src/cli/doctor/checks.js";
import { readSettings } from "../../src/cli/server/settings.js";
import { startLakepack } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { settingsFor } from "../support/lakefs-rig.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { lakepack } from "../support/lakepack-command.js";

interface Checked {
  readonly name: string;
  readonly good: boolean;
  readonly advice?: string;
}

t.test("a folder that is well", async (t) => {
  const data = join(await tempFolder(t), "data");
  await mkdir(data, { mode: 0o700 });
  const run = await lakepack(["doctor", "--data", data]);
  t.match(run, { code: 0, out: /^good {2}settings/ });
  for (const name of ["data", "permissions", "disk", "clock"])
    t.match(run.out, new RegExp(`^good  ${name}: `, "m"));
  t.match(await lakepack(["doctor", "--help"]), { code: 0, out: /Exit code 0/ });
});

t.test("what is wrong is named, with what to do, and ends with 1", async (t) => {
  const folder = await tempFolder(t);
  t.match(await lakepack(["doctor", "--data", join(folder, "none")]), {
    code: 1,
    out: /^BAD {3}data: .*none.*\n +what to do: make the folder/m,
    err: /checks: data/,
  });
  await writeFile(join(folder, "file"), "");
  t.match(await lakepack(["doctor", "--data", join(folder, "file")]), {
    code: 1,
    out: /is no folder/,
  });
  const open = join(folder, "open");
  await mkdir(open);
  await chmod(open, 0o777);
  for (const mode of [0o777, 0o755, 0o710]) {
    await chmod(open, mode);
    t.match(await lakepack(["doctor", "--data", open]), {
      code: 1,
      out: /BAD {3}permissions: .*open to other users.*\n +what to do: chmod 700/,
    });
  }
  const late = join(folder, "late");
  await mkdir(join(late, "probe"), { recursive: true, mode: 0o700 }); // so that the probe does not touch the folder's time
  const future = Date.now() / 1_000 + 86_400;
  await utimes(late, future, future);
  t.match(await lakepack(["doctor", "--data", late]), {
    code: 1,
    out: /BAD {3}clock: files .* in the future/,
  });
});

t.test("settings that do not go together, and a database that others may read", async (t) => {
  const data = join(await tempFolder(t), "data");
  await mkdir(data, { mode: 0o700 });
  const found = async (given: Readonly<Record<string, string>>, name: string) =>
    (await checkAll(readSettings({ data, ...given }, {}), AbortSignal.timeout(60_000))).find(
      (check) => check.name === name,
    );
  t.match(await found({}, "settings"), { good: true });
  for (const [given, says] of [
    [{ listen: "192.0.2.1:80" }, /name: listen.*with auth none only a loopback host/],
    [{ auth: "token", listen: "192.0.2.1:80" }, /tls_cert and tls_key, or behind trusted_proxies/],
    [{ auth: "token", tls_cert: "/nonexistent" }, /name: tls_key/],
    [{ auth: "token", tls_cert: "/nonexistent", tls_key: "/nonexistent" }, /\/nonexistent/],
    [{ naming: "kohakuhub" }, /name: naming/],
    [{ trusted_proxies: "proxy.example" }, /name: trusted_proxies/],
  ] as const)
    t.match(await found(given, "settings"), { good: false, found: says, advice: /will not start/ });
  const file = join(data, "lakepack.db");
  await writeFile(file, "");
  await chmod(file, 0o644);
  t.match(await found({}, "permissions"), {
    good: false,
    found: /lakepack\.db is open to other users/,
    advice: /chmod 600/,
  });
  await chmod(file, 0o600);
  t.match(await found({}, "permissions"), { good: true });
});

t.test(
  "a wrong or unknown setting is 2, with its name, its value and what is allowed",
  async (t) => {
    t.match(await lakepack(["doctor"], { LAKEPACK_POOL_THREADS: "none" }), {
      code: 2,
      err: /name: pool_threads, value: none, allowed: auto/,
    });
    t.match(await lakepack(["doctor"], { LAKEPACK_POOL_TREADS: "1" }), {
      code: 2,
      err: /pool_treads/,
    });
    t.equal((await lakepack(["doctor", "--nonsense"])).code, 2);
  },
);

t.test(
  "lakeFS: one that answers, one that does not, a wrong key",
  { skip: skipLakefs },
  async (t) => {
    const data = join(await tempFolder(t), "data");
    await mkdir(data, { mode: 0o700 });
    const lakefs = await startLakefs(t);
    const run = await lakepack(["doctor", "--json", "--data", data], settingsFor(lakefs));
    t.equal(run.code, 0, run.err);
    t.match(
      (JSON.parse(run.out) as Checked[]).find(({ name }) => name === "lakefs"),
      { good: true },
    );
    t.match(await lakepack(["doctor", "--data", data], settingsFor(lakefs, "http://127.0.0.1:9")), {
      code: 1,
      out: /BAD {3}lakefs: .*\n +what to do: see lakefs_endpoint/,
    });
    const wrong = { ...settingsFor(lakefs), LAKEPACK_LAKEFS_SECRET_ACCESS_KEY: "not-the-secret" };
    const denied = await lakepack(["doctor", "--data", data], wrong);
    t.match(denied, { code: 1, out: /BAD {3}lakefs: .*\n +what to do: see lakefs_access_key_id/ });
    t.notMatch(denied.out + denied.err, "not-the-secret");
  },
);

for (const kind of frontEnds)
  t.test(`the front end of a running server, ${kind}`, { timeout: 60_000 }, async (t) => {
    const server = await startLakepack(t, { args: ["--transport", kind] });
    const settings = (more: Readonly<Record<string, string>> = {}) => ({
      LAKEPACK_LISTEN: `127.0.0.1:${server.port}`,
      ...more,
    });
    const found = await lakepack(["doctor", "--data", server.data], settings());
    const says =
      kind === "node"
        ? /good {2}front end: .* serves HTTP\/1\.1 and HTTP\/1\.0\n/
        : /good {2}front end: .* refuses HTTP\/1\.0 and absolute-form targets in compiled code/;
    t.match(found.out, says);
    t.match(
      (
        await lakepack(
          ["doctor", "--data", server.data],
          settings({ LAKEPACK_PUBLIC_URL: server.url }),
        )
      ).out,
      /good {2}front end: .*leads to it/,
    );
    const closed = await lakepack(
      ["doctor", "--data", server.data],
      settings({ LAKEPACK_PUBLIC_URL: "http://127.0.0.1:9" }),
    );
    t.match(closed, {
      code: 1,
      out: /BAD {3}front end: .* does not lead to it.*\n +what to do: set `proxy_http_version 1\.1`/,
    });
    await server.stop();
    t.notMatch(
      (await lakepack(["doctor", "--data", server.data], settings())).out,
      /front end/,
      "nobody listens: nothing is tried",
    );
  });
