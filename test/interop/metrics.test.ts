/** /metrics on real traffic: counts that agree with what was done, and no names of repositories. */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { frontEnds } from "../support/everyday.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { RawClient } from "../support/raw-client.js";
import { startGuarded } from "../support/accounts-rig.js";
import { commit, git, type Lakepack, startLakepack, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { pkts } from "../support/raw-fetch.js";

type Samples = ReadonlyMap<string, number>;

async function scrape(url: string): Promise<Samples> {
  const response = await fetch(`${url}/metrics`);
  if (response.status !== 200) throw new Error(`/metrics: ${response.status}`);
  const lines = (await response.text())
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    lines.map((line) => [
      line.slice(0, line.lastIndexOf(" ")),
      Number(line.slice(line.lastIndexOf(" ") + 1)),
    ]),
  );
}

/**
 * By how much each sample of requests that have ended moves while `work` is done; those that stay
 * are left out.
 */
async function moved(
  server: Lakepack,
  work: () => Promise<unknown>,
): Promise<Readonly<Record<string, number>>> {
  const before = await scrape(server.url);
  await work();
  const after = await scrape(server.url);
  const names = [...after.keys()].filter(
    (name) =>
      /^lakepack_(request|pack_bytes|cache_bytes_made|pool_tasks|pool_wait_seconds_count)/.test(
        name,
      ) && !/_bucket\{|operation="metrics"/.test(name),
  );
  return Object.fromEntries(
    names
      .flatMap((name) => [[name, (after.get(name) ?? 0) - (before.get(name) ?? 0)] as const])
      .filter(([, by]) => by !== 0),
  );
}

async function repository(t: Test): Promise<string> {
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  await commit(work, "one", { "a.txt": "a\n".repeat(1_000), "b/c.txt": "c\n" });
  return work;
}

for (const kind of frontEnds) {
  t.test(`metrics of pushes and clones over ${kind}`, { timeout: 120_000 }, async (t) => {
    const server = await startLakepack(t, { args: ["--transport", kind] });
    const folder = await tempFolder(t);
    const work = await repository(t);
    const url = `${server.url}/secretspace/secretname.git`;
    await git(["push", "-q", url, "main"], { cwd: work });
    await commit(work, "two", { "a.txt": "changed\n" });
    await git(["push", "-q", url, "main"], { cwd: work });
    for (const name of ["one", "two"]) await git(["clone", "-q", url, join(folder, name)]);
    t.not(
      (
        await tryGit([
          "clone",
          "-q",
          `${server.url}/secretspace/missing.git`,
          join(folder, "three"),
        ])
      ).code,
      0,
    );

    const samples = await scrape(server.url);
    const at = (name: string) => samples.get(name);
    t.equal(at('lakepack_requests_total{operation="receive-pack",outcome="ok"}'), 2);
    t.equal(
      at('lakepack_requests_total{operation="upload-pack",outcome="ok"}'),
      4,
      "ls-refs and fetch of two clones",
    );
    t.equal(
      at('lakepack_requests_total{operation="advertise",outcome="refused"}'),
      1,
      "the missing repository",
    );
    t.ok(
      (at('lakepack_request_bytes_total{operation="receive-pack",outcome="ok",direction="in"}') ??
        0) > 500,
      "pushed bytes",
    );
    t.ok(
      (at('lakepack_request_bytes_total{operation="upload-pack",outcome="ok",direction="out"}') ??
        0) > 500,
      "fetched bytes",
    );
    t.equal(at('lakepack_request_seconds_count{operation="upload-pack",outcome="ok"}'), 4);
    const sent =
      (at('lakepack_pack_bytes_sent_total{source="stored"}') ?? 0) +
      (at('lakepack_pack_bytes_sent_total{source="cache"}') ?? 0);
    t.equal(
      sent,
      2 * (at('lakepack_cache_bytes_made_total{kind="pack"}') ?? 0),
      "made once, sent twice",
    );
    t.equal(at('lakepack_cache_events_total{event="generated"}'), 1);
    t.equal(at('lakepack_cache_events_total{event="hits"}'), 1);
    t.equal(at(`lakepack_transport{kind="${kind}"}`), 1);
    for (const name of [
      "lakepack_pool_threads",
      "process_resident_memory_bytes",
      "process_open_fds",
      "nodejs_eventloop_lag_p99_seconds",
    ])
      t.ok((at(name) ?? -1) >= 0, name);
    t.ok((at('lakepack_pool_tasks_total{state="completed"}') ?? 0) > 0);
    t.notMatch([...samples.keys()].join("\n"), /secret/, "no names in labels");
  });

  t.test(`each moves by what was done, over ${kind}`, { timeout: 180_000 }, async (t) => {
    const server = await startLakepack(t, { args: ["--transport", kind] });
    const folder = await tempFolder(t);
    const work = await repository(t);
    const url = `${server.url}/ns/moved.git`;
    while (
      (await scrape(server.url)).get('lakepack_pool_tasks_total{state="completed"}') !==
      (await scrape(server.url)).get("lakepack_pool_threads")
    )
      await new Promise((wake) => setTimeout(wake, 50));

    const push = await moved(server, () => git(["push", "-q", url, "main"], { cwd: work }));
    t.equal(push['lakepack_requests_total{operation="advertise",outcome="ok"}'], 1);
    t.equal(push['lakepack_requests_total{operation="receive-pack",outcome="ok"}'], 1);
    t.equal(push['lakepack_request_seconds_count{operation="receive-pack",outcome="ok"}'], 1);
    t.ok((push['lakepack_request_seconds_sum{operation="receive-pack",outcome="ok"}'] ?? 0) > 0);
    t.notOk(
      Object.keys(push).some((name) => /upload-pack|refused|failed|aborted/.test(name)),
      "nothing else moves",
    );
    t.ok((push['lakepack_pool_tasks_total{state="completed"}'] ?? 0) > 0);
    t.equal(
      push['lakepack_pool_wait_seconds_count{priority="interactive"}'],
      push['lakepack_pool_tasks_total{state="completed"}'],
      "each task has waited, if only 0",
    );

    const asked = "0014command=ls-refs\n0000";
    let replyBytes = 0;
    const listed = await moved(server, async () => {
      const reply = await fetch(`${url}/git-upload-pack`, {
        method: "POST",
        headers: {
          "Content-Type": "application/x-git-upload-pack-request",
          "Git-Protocol": "version=2",
        },
        body: asked,
      });
      replyBytes = (await reply.arrayBuffer()).byteLength;
    });
    t.same(
      Object.entries(listed).filter(([name]) => !name.includes("seconds_sum")),
      [
        ['lakepack_requests_total{operation="upload-pack",outcome="ok"}', 1],
        ['lakepack_request_seconds_count{operation="upload-pack",outcome="ok"}', 1],
        [
          'lakepack_request_bytes_total{operation="upload-pack",outcome="ok",direction="in"}',
          asked.length,
        ],
        [
          'lakepack_request_bytes_total{operation="upload-pack",outcome="ok",direction="out"}',
          replyBytes,
        ],
      ],
      "to the byte",
    );

    const cloned = await moved(server, () =>
      git(["clone", "-q", "--bare", url, join(folder, "clone.git")]),
    );
    t.equal(cloned['lakepack_requests_total{operation="upload-pack",outcome="ok"}'], 2);
    const sent =
      (cloned['lakepack_pack_bytes_sent_total{source="stored"}'] ?? 0) +
      (cloned['lakepack_pack_bytes_sent_total{source="cache"}'] ?? 0);
    t.equal(
      sent,
      await packBytes(join(folder, "clone.git")),
      "the bytes of the pack that git has now",
    );

    const head = await moved(server, () => fetch(`${url}/HEAD`, { method: "HEAD" }));
    t.match(
      head,
      {
        'lakepack_requests_total{operation="head",outcome="ok"}': 1,
        'lakepack_request_bytes_total{operation="head",outcome="ok",direction="out"}': undefined,
      },
      "a HEAD has no body",
    );

    const unknown = await moved(server, async () => {
      const body = pkts("command=fetch", "0001", `want ${"1".repeat(40)}`, "done", "0000");
      const reply = await fetch(`${url}/git-upload-pack`, {
        method: "POST",
        headers: {
          "Content-Type": "application/x-git-upload-pack-request",
          "Git-Protocol": "version=2",
        },
        body,
      });
      t.match([reply.status, await reply.text()], [200, /ERR /], "a refusal under a good status");
    });
    t.match(unknown, {
      'lakepack_requests_total{operation="upload-pack",outcome="refused"}': 1,
      'lakepack_requests_total{operation="upload-pack",outcome="ok"}': undefined,
    });

    await git(["commit", "-q", "--amend", "-m", "other"], { cwd: work });
    const stale = await moved(server, () =>
      tryGit(["push", url, "main:refs/heads/main/below"], { cwd: work }),
    );
    t.match(stale, {
      'lakepack_requests_total{operation="receive-pack",outcome="refused"}': 1,
      'lakepack_requests_total{operation="receive-pack",outcome="ok"}': undefined,
    });

    const odd = await moved(server, async () => {
      for (const file of ["constructor", "__proto__", "toString"]) await fetch(`${url}/${file}`);
    });
    t.match(
      odd,
      { 'lakepack_requests_total{operation="none",outcome="refused"}': 3 },
      "names that every object has are no operations",
    );

    const cut = await moved(server, async () => {
      const client = new RawClient(server.port).send(
        "POST /ns/moved.git/git-receive-pack HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-git-receive-pack-request\r\nContent-Length: 1000\r\n\r\n00b1",
      );
      await new Promise((wake) => setTimeout(wake, 300));
      client.close();
      for (
        let look = 0;
        look < 100 &&
        ((await scrape(server.url)).get(
          'lakepack_requests_total{operation="receive-pack",outcome="aborted"}',
        ) ?? 0) === 0;
        look++
      )
        await new Promise((wake) => setTimeout(wake, 50));
    });
    t.equal(
      cut['lakepack_requests_total{operation="receive-pack",outcome="aborted"}'],
      1,
      "a client that goes",
    );
  });
}

async function packBytes(repository: string): Promise<number> {
  const folder = join(repository, "objects/pack");
  const names = (await readdir(folder)).filter((name) => name.endsWith(".pack"));
  return (await Promise.all(names.map((name) => stat(join(folder, name))))).reduce(
    (sum, { size }) => sum + size,
    0,
  );
}

t.test("users, tokens and their repositories are in no label", { timeout: 120_000 }, async (t) => {
  const server = await startGuarded(t);
  const token = await server.user("secretuser");
  const work = await repository(t);
  await git(["push", "-q", server.at("secretuser/secretname", token), "main"], { cwd: work });
  t.notMatch([...(await scrape(server.url)).keys()].join("\n"), /secret|lpk_|\d+\.\d+\.\d+\.\d+/);
});

t.test(
  "metrics count the calls to lakeFS, those of pool threads too",
  { skip: skipLakefs, timeout: 120_000 },
  async (t) => {
    const lakefs = await startLakefs(t);
    const { signal } = new AbortController();
    await lakefs.client.createRepository(
      { name: "counted", storage_namespace: lakefs.namespace("counted"), default_branch: "main" },
      signal,
    );
    await lakefs.client.in("counted").uploadObject("main", "a.txt", Buffer.from("a\n"), {}, signal);
    await lakefs.client.in("counted").commit("main", { message: "one" }, signal);
    const { endpoint, accessKeyId, secretAccessKey } = lakefs.access;
    const server = await startLakepack(t, {
      env: {
        LAKEPACK_LAKEFS_ENDPOINT: endpoint,
        LAKEPACK_LAKEFS_ACCESS_KEY_ID: accessKeyId,
        LAKEPACK_LAKEFS_SECRET_ACCESS_KEY: secretAccessKey,
        LAKEPACK_LAKEFS_PATIENCE_SECONDS: "1",
      },
    });
    await git([
      "clone",
      "-q",
      `${server.url}/lakefs/counted.git`,
      join(await tempFolder(t), "clone"),
    ]);
    const samples = await scrape(server.url);
    const content = samples.get('lakepack_lakefs_calls_total{call="readObject"}');
    t.equal(content, 1, "one content, read in a pool thread");
    t.equal(samples.get('lakepack_lakefs_bytes_in_total{call="readObject"}'), 2);
    t.ok((samples.get('lakepack_lakefs_calls_total{call="listBranches"}') ?? 0) >= 1);
  },
);
