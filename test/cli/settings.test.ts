import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { readSettings, SETTINGS } from "../../src/cli/server/settings.js";

const NO_FILE = "lakepack.yaml"; // none lies in the folder tests run in

function refusal(work: () => unknown): string {
  try {
    work();
    return "none";
  } catch (error) {
    return (error as Error).message;
  }
}

t.test("every default is allowed by its own setting", async (t) => {
  const settings = readSettings({}, {});
  t.same(Object.keys(settings), Object.keys(SETTINGS));
  t.same(settings.listen, { host: "127.0.0.1", port: 8080 });
  t.equal(settings.cache_bytes, 4 * 1024 ** 3);
});

t.test("an address of a database that cannot be is refused, and not shown", async (t) => {
  const database = "postgres://ada:sesame@db.example.com/hub?sslmode=verify-full";
  t.equal(readSettings({ database }, {}).database, database);
  for (const wrong of [
    `${database}&x=y`,
    "postgres://ada:sesame@db.example.com:port/hub",
    "mysql://ada:sesame@db.example.com/hub",
    "POSTGRES://ada:sesame@",
    "postgress://ada:sesame@db.example.com/hub",
  ]) {
    const said = refusal(() => readSettings({ database: wrong }, {}));
    t.match(said, /name: database, value: not shown, allowed: a file's path; .*postgres:/, wrong);
    t.notMatch(said, /sesame/);
  }
  t.match(
    refusal(() => readSettings({ database_connections: "0" }, {})),
    /1 to 1000/,
  );
});

t.test("the command line beats the environment, which beats the file", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "lakepack-settings-"));
  t.teardown(() => rm(folder, { recursive: true }));
  const file = join(folder, "my.yaml");
  await writeFile(file, "listen: 127.0.0.1:1\ndata: from-file\npool_threads: 3\n");
  const settings = readSettings(
    { listen: "127.0.0.1:3" },
    { LAKEPACK_LISTEN: "127.0.0.1:2", LAKEPACK_DATA: "from-environment" },
    file,
  );
  t.equal(settings.listen.port, 3);
  t.equal(settings.data, "from-environment");
  t.equal(settings.pool_threads, 3);
});

t.test(
  "a wrong or unknown setting stops the start with its name, its value and what is allowed",
  async (t) => {
    t.match(
      refusal(() => readSettings({ pool_threads: "0" }, {}, NO_FILE)),
      /name: pool_threads, value: 0, allowed: auto/,
    );
    t.match(
      refusal(() => readSettings({}, { LAKEPACK_LISTEN: "nowhere" }, NO_FILE)),
      /name: listen, value: nowhere, allowed: host:port/,
    );
    t.match(
      refusal(() => readSettings({}, { LAKEPACK_LISTNE: "x" }, NO_FILE)),
      /name: listne, reason: no such setting/,
    );
    t.match(
      refusal(() => readSettings({}, {}, "/nonexistent/lakepack.yaml")),
      /name: config/,
    );
    for (const [name, value] of [
      ["fsck", "yes"],
      ["cache_bytes", "10x"],
      ["auth", "password"],
      ["store", "tape"],
    ]) {
      t.match(
        refusal(() => readSettings({ [name as string]: value }, {}, NO_FILE)),
        new RegExp(`name: ${name}`),
      );
    }
  },
);

t.test("a file that is no YAML, and a secret of a wrong kind: named, and not shown", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "lakepack-settings-"));
  t.teardown(() => rm(folder, { recursive: true }));
  const file = join(folder, "my.yaml");
  const said = async (text: string) => {
    await writeFile(file, text);
    return refusal(() => readSettings({}, {}, file));
  };
  const broken = await said("data: x\nlakefs_secret_access_key: 'hunter2\n");
  t.match(broken, /not allowed \(name: config, value: .*my\.yaml, line: \d+, allowed: lines of/);
  t.notMatch(broken, "hunter2");
  const number = await said("lakefs_secret_access_key: 4711\n");
  t.match(
    number,
    /name: lakefs_secret_access_key, value: not shown, allowed: its secret; in the file within quotes/,
  );
  t.notMatch(number + (await said("lakefs_webhook_secret: 4711\n")), "4711");
  t.match(await said("- a\n- b\n"), /name: config/);
  t.match(await said("fsck: maybe\n"), /name: fsck, value: maybe, allowed: true or false/);
});

t.test(
  "keys of seals: hex or base64, at least 32 bytes each; a wrong one stops the start and is not shown",
  async (t) => {
    const [hex, base64] = ["5e".repeat(32), Buffer.alloc(40, "key").toString("base64")];
    t.same(
      readSettings({ seal_key: `${hex}, ${base64}` }, {}, NO_FILE).seal_key.map((key) =>
        Buffer.from(key).toString("hex"),
      ),
      [hex, Buffer.alloc(40, "key").toString("hex")],
    );
    t.same(readSettings({}, {}, NO_FILE).seal_key, []);
    t.equal(readSettings({}, { LAKEPACK_SEAL_KEY: base64 }, NO_FILE).seal_key.length, 1);
    for (const bad of [
      "5e".repeat(31),
      `${hex},short`,
      "with blanks in the middle of a rather long text",
      `${hex}!`,
    ]) {
      const said = refusal(() => readSettings({ seal_key: bad }, {}, NO_FILE));
      t.match(said, /name: seal_key, value: not shown, allowed: one or several keys/);
      t.notMatch(said, bad);
    }
  },
);

t.test("addresses and sizes", async (t) => {
  t.same(readSettings({ listen: "[::1]:0" }, {}, NO_FILE).listen, { host: "::1", port: 0 });
  t.equal(readSettings({ cache_bytes: "10m" }, {}, NO_FILE).cache_bytes, 10 * 1024 ** 2);
  t.same(readSettings({ cors_origins: "https://a, https://b" }, {}, NO_FILE).cors_origins, [
    "https://a",
    "https://b",
  ]);
});
