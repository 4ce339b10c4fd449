/**
 * A fleet's backup as docs/operating.md describes it, made while pushes run: each push older than
 * the dump is restored, and what is newer and has no row is named by doctor.
 */
import { spawnSync } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { commit, git, tryGit } from "../support/harness.js";
import { Ledger, Pusher, skipFleet, startFleet } from "../support/fleet-rig.js";
import { lakepack as run } from "../support/lakepack-command.js";
import { tempFolder } from "../support/temp-folder.js";

t.setTimeout(600_000);

const SKIP =
  skipFleet ||
  (spawnSync("pg_dump", ["--version"]).status === 0 ? false : "pg_dump is not installed");

t.test("a dump and a copy of the bucket hold what is older", { skip: SKIP }, async (t) => {
  const fleet = await startFleet(t);
  const [a, b] = [await fleet.node(), await fleet.node()];
  const ledger = new Ledger();
  const pushers = [
    { pusher: await Pusher.begin(t, "one", ledger), url: `${a.url}/ns/model.git` },
    { pusher: await Pusher.begin(t, "two", ledger), url: `${b.url}/ns/model.git` },
  ];
  let isOver = false;
  const made: string[] = [];
  const pushing = [
    ...pushers.map(async ({ pusher, url }) => {
      while (!isOver) await pusher.push(url);
    }),
    (async () => {
      const work = join(await tempFolder(t), "work");
      await git(["init", "-q", work]);
      await commit(work, "first", { "a.txt": "a\n" });
      for (let n = 0; !isOver; n++) {
        const url = `${a.url}/ns/new-${n}.git`;
        if ((await tryGit(["push", url, "HEAD:refs/heads/main"], { cwd: work })).code === 0)
          made.push(`ns/new-${n}`);
      }
    })(),
  ];
  const shell = (script: string, env: Record<string, string>) => {
    const ran = spawnSync("bash", ["-e", "-c", script], {
      cwd: fleet.folder,
      env: { PATH: process.env["PATH"], ...env },
      encoding: "utf8",
    });
    t.equal(ran.status, 0, `${script}: ${ran.stderr}`);
  };
  const place = await tempFolder(t);
  const [dump, copy] = [join(place, "hub.dump"), join(place, "copy")];
  await mkdir(copy);
  const env = { DATABASE: fleet.env["LAKEPACK_DATABASE"] ?? "", DUMP: dump, COPY: copy };
  let older: readonly (typeof ledger.entries)[number][] = [];
  let madeBefore: readonly string[] = [];
  try {
    while (ledger.entries.filter(({ told }) => told === "ok").length < 6 || made.length < 3)
      await sleep(50);
    older = [...ledger.entries];
    madeBefore = [...made];
    shell('pg_dump --format=custom --file="$DUMP" "$DATABASE"', env);
    while (made.length < madeBefore.length + 2) await sleep(50); // newer than the dump
    shell('find . -path "*/git/manifest" -exec cp -a --parents {} "$COPY" ";"', env);
    await sleep(500); // packs, and manifests, that are newer than the copied ones
    shell('cp -a -n . "$COPY"', env);
  } finally {
    isOver = true;
    await Promise.all(pushing);
  }

  const other = await startFleet(t);
  shell(
    'pg_restore --no-owner --dbname "$DATABASE" "$DUMP"; mkdir -p "$TO"; cp -a "$COPY/." "$TO"',
    {
      ...env,
      DATABASE: other.env["LAKEPACK_DATABASE"] ?? "",
      TO: other.folder,
    },
  );
  const node = await other.node();
  const listed = await git(["ls-remote", `${node.url}/ns/model.git`]);
  for (const { pusher } of pushers) {
    const own = ledger.entries.filter(({ ref }) => ref === pusher.ref);
    const last = older.findLast(({ ref, told }) => ref === pusher.ref && told === "ok");
    const may = own.slice(own.findIndex(({ oid }) => oid === last?.oid)).map(({ oid }) => oid);
    const is = listed.split("\n").find((line) => line.endsWith(pusher.ref));
    t.ok(is && may.includes(is.slice(0, 40)), `${pusher.ref}: ${is}`);
  }
  for (const name of madeBefore)
    t.match(await git(["ls-remote", `${node.url}/${name}.git`]), "refs/heads/main", name);
  const data = join(place, "data");
  await mkdir(data, { mode: 0o700 });
  const doctor = await run(["doctor", "--data", data], other.env);
  t.match(doctor.out + doctor.err, /no name leads to repos\//, "newer than the dump, and named");
  t.notMatch(doctor.out + doctor.err, /the manifest is gone/);
  const names = [...madeBefore, "ns/model"];
  const verified = await run(["verify", ...names, "--data", data], other.env);
  t.equal(verified.code, 0, verified.out + verified.err);
});
