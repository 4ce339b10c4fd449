/**
 * Several nodes on one bucket and one database: what one has acknowledged every other one serves at
 * once, and no race, crash or outage loses it. A real S3 server, a real PostgreSQL, stock git.
 */
import { cp, readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { checkFsck, commit, git, objectSet, startLakepack, tryGit } from "../support/harness.js";
import { Ledger, Pusher, skipFleet, startFleet, storeCalls } from "../support/fleet-rig.js";
import { tempFolder } from "../support/temp-folder.js";

t.setTimeout(600_000);

/** Folder of the repository for which files of stock git were made; undefined: of none so far. */
async function derived(folder: string): Promise<string | undefined> {
  const names = await readdir(folder, { recursive: true });
  const head = names.find((name) => name.endsWith("/git/HEAD"));
  return head && join(folder, dirname(head));
}

t.test("a push on one node is there on the other at once", { skip: skipFleet }, async (t) => {
  const fleet = await startFleet(t);
  const [a, b] = [await fleet.node(), await fleet.node()];
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", "-b", "main", work]);
  const url = (node: typeof a) => `${node.url}/ns/one.git`;
  for (let round = 0; round < 4; round++) {
    const [here, there] = round % 2 === 0 ? [a, b] : [b, a];
    const oid = await commit(work, `round ${round}`, {
      [`f${round}.txt`]: `${round}\n`.repeat(99),
    });
    await git(["push", "-q", url(here), "HEAD:refs/heads/main"], { cwd: work });
    t.equal((await git(["ls-remote", url(there), "refs/heads/main"])).slice(0, 40), oid);
    const copy = join(await tempFolder(t), "copy");
    await git(["clone", "-q", "--mirror", url(there), copy]);
    await checkFsck(t, copy);
    t.same(await objectSet(copy), await objectSet(work));
  }
  await git(["push", "-q", url(a), ":refs/heads/main", "HEAD:refs/heads/next"], {
    cwd: work,
    env: { GIT_CONFIG_COUNT: "0" },
  }).catch(() => undefined);

  await t.test("a node that has lost its folder serves all of it", async (t) => {
    const fresh = await fleet.node();
    const copy = join(await tempFolder(t), "copy");
    await git(["clone", "-q", "--mirror", url(fresh), copy]);
    t.same(await objectSet(copy), await objectSet(work));
    const before = await storeCalls(fresh);
    for (let n = 0; n < 5; n++) await git(["ls-remote", url(fresh)]);
    const calls = (await storeCalls(fresh)) - before;
    t.ok(calls <= 5, `five warm lists of refs: ${calls} requests to the store`);
    await rm(join(fresh.data, "store-cache"), { recursive: true, force: true });
    await fresh.stop();
    const again = await fleet.node(fresh.data);
    const other = join(await tempFolder(t), "other");
    await git(["clone", "-q", "--mirror", url(again), other]);
    t.same(await objectSet(other), await objectSet(work));
  });

  await t.test("the prefix copied to a disk is a repository that stock git takes", async (t) => {
    const folder = await tempFolder(t);
    for (let attempt = 0; attempt < 50 && !(await derived(fleet.folder)); attempt++)
      await sleep(200); // a moment after the push
    await cp(fleet.folder, folder, { recursive: true });
    const root = (await derived(folder)) as string;
    await checkFsck(t, root);
    const copy = join(await tempFolder(t), "copy");
    await git(["clone", "-q", "--mirror", root, copy]);
    t.same(await objectSet(copy), await objectSet(work));
    await git(["gc", "-q", "--prune=now"], { cwd: root });
    await checkFsck(t, root);
  });
});

t.test("many pushers on three nodes: each is told the truth", { skip: skipFleet }, async (t) => {
  const fleet = await startFleet(t);
  const nodes = [await fleet.node(), await fleet.node(), await fleet.node()];
  const ledger = new Ledger();
  const urls = nodes.map(({ url }) => `${url}/ns/race.git`);
  const first = await Pusher.begin(t, "main", ledger);
  t.ok(await first.push(urls[0] as string));
  const pushers = await Promise.all(
    Array.from({ length: 6 }, (_, at) => Pusher.begin(t, `b${at}`, ledger)),
  );
  const taken = await Promise.all(
    pushers.map(async (pusher, at) => {
      let count = 0;
      for (let round = 0; round < 4; round++)
        if (await pusher.push(urls[(at + round) % urls.length] as string)) count++;
      return count;
    }),
  );
  t.same(
    taken,
    pushers.map(() => 4),
    "different refs all land",
  );
  for (const url of urls) await ledger.check(t, url);

  await t.test("one ref: one winner a round, and the others are refused", async (t) => {
    const folder = await tempFolder(t);
    for (let round = 0; round < 3; round++) {
      const runs = await Promise.all(
        urls.map(async (url, at) => {
          const work = join(folder, `${round}-${at}`);
          await git(["clone", "-q", "-b", "main", url, work]);
          const oid = await commit(work, `r${round} n${at}`, { "f.txt": `${round} ${at}\n` });
          return { work, oid };
        }),
      );
      const told = await Promise.all(
        runs.map(({ work }) => tryGit(["push", "origin", "HEAD:refs/heads/main"], { cwd: work })),
      );
      const winners = told.flatMap(({ code }, at) => (code === 0 ? [runs[at]?.oid] : []));
      t.equal(winners.length, 1, told.map(({ stderr }) => stderr).join("\n"));
      for (const { code, stderr } of told)
        if (code !== 0) t.match(stderr, /rejected|moved to|fetch first/, stderr);
      for (const url of urls)
        t.equal((await git(["ls-remote", url, "refs/heads/main"])).slice(0, 40), winners[0]);
    }
  });
});

t.test("nodes die and come back while others push", { skip: skipFleet }, async (t) => {
  const fleet = await startFleet(t);
  const steady = await fleet.node();
  let mortal = await fleet.node();
  const ledger = new Ledger();
  const name = "ns/crash";
  const first = await Pusher.begin(t, "main", ledger);
  t.ok(await first.push(`${steady.url}/${name}.git`));
  const pushers = await Promise.all(
    Array.from({ length: 4 }, (_, at) => Pusher.begin(t, `b${at}`, ledger)),
  );
  let isOver = false;
  const working = pushers.map(async (pusher, at) => {
    while (!isOver) await pusher.push(`${(at % 2 === 0 ? steady : mortal).url}/${name}.git`);
  });
  for (let round = 0; round < 3; round++) {
    await sleep(700 + Math.random() * 800);
    await mortal.kill("SIGKILL");
    mortal = await fleet.node(mortal.data);
  }
  isOver = true;
  await Promise.all(working);
  for (const node of [steady, mortal]) await ledger.check(t, `${node.url}/${name}.git`);
  const copy = join(await tempFolder(t), "copy");
  await git(["clone", "-q", "--mirror", `${mortal.url}/${name}.git`, copy]);
  await checkFsck(t, copy);
  t.ok(
    ledger.entries.filter(({ told }) => told === "ok").length > 10,
    "there was something to lose",
  );
});

t.test("the object store goes away for a while", { skip: skipFleet }, async (t) => {
  const fleet = await startFleet(t, { LAKEPACK_S3_TIMEOUT_SECONDS: "2" });
  const node = await fleet.node();
  const url = `${node.url}/ns/away.git`;
  const ledger = new Ledger();
  const pusher = await Pusher.begin(t, "main", ledger);
  t.ok(await pusher.push(url));
  fleet.line.cut();
  const asked = await tryGit(["ls-remote", url]);
  t.not(asked.code, 0, "never an empty repository");
  t.match(asked.stderr, /object storage does not answer|error: 503/, asked.stderr);
  t.notOk(await pusher.push(url));
  t.equal((await fetch(`${node.url}/readyz`)).status, 503);
  fleet.line.mend();
  t.ok(await pusher.push(url), "back by itself");
  await ledger.check(t, url);
  let ready = 0;
  for (let attempt = 0; attempt < 50 && ready !== 200; attempt++) {
    await sleep(200); // it looks once in a few seconds
    ready = (await fetch(`${node.url}/readyz`)).status;
  }
  t.equal(ready, 200);
  t.same(
    (await readdir(join(node.data, "incoming"))).filter((name) => !name.startsWith(".")),
    [],
  );
});

t.test("an object store that says nothing is told in words", { skip: skipFleet }, async (t) => {
  const fleet = await startFleet(t, { LAKEPACK_S3_TIMEOUT_SECONDS: "1" });
  const node = await fleet.node();
  const url = `${node.url}/ns/silent.git`;
  const ledger = new Ledger();
  const pusher = await Pusher.begin(t, "main", ledger);
  t.ok(await pusher.push(url));
  fleet.line.stall();
  for (const version of [0, 2] as const) {
    const asked = await tryGit(["ls-remote", url], { version });
    t.match(asked.stderr, /object storage does not answer|error: 503/, `version ${version}`);
  }
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", "-b", "side", work]);
  await commit(work, "side", { "a.txt": "a\n" });
  const pushed = await tryGit(["push", url, "HEAD:refs/heads/side"], { cwd: work });
  t.match(pushed.stderr, /object storage does not answer|error: 503/, pushed.stderr);
  fleet.line.mend();
  t.ok(await pusher.push(url), "back by itself");
  await ledger.check(t, url);
});

t.test(
  "a bucket is one database's, and with a file one server's",
  { skip: skipFleet },
  async (t) => {
    const fleet = await startFleet(t);
    const first = await fleet.node();
    const other = { ...fleet.env, LAKEPACK_DATABASE: "" };
    const started = (env: Readonly<Record<string, string>>, data?: string) =>
      startLakepack(t, { env, ...(data === undefined ? {} : { data }) }).then(
        (node) => node,
        (error: unknown) => String(error),
      );
    t.match(await started(other), /the store belongs to the servers of another database/);
    await first.stop();

    const alone = { ...other, LAKEPACK_STORE: `${fleet.env["LAKEPACK_STORE"]}-alone` };
    const file = join(await tempFolder(t), "lakepack.db");
    const shared = { ...alone, LAKEPACK_DATABASE: file };
    const one = await started(shared);
    if (typeof one === "string") throw new Error(one);
    t.match(
      await started(shared),
      /another lakepack \(\S+\) serves this bucket with a database file/,
    );
    await one.kill("SIGKILL");
    const again = await started(shared, one.data);
    t.not(typeof again, "string", String(again));
  },
);
