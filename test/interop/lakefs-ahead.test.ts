/**
 * New lakeFS commits are read before anyone asks: by polling, and at once where lakeFS' own webhook
 * tells of them.
 */
import t from "tap";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { git, type Lakepack, startLakepack } from "../support/harness.js";
import type { Test } from "tap";

const { signal } = new AbortController();
const SECRET = "a webhook's secret, nobody's business";

async function start(
  t: Test,
  { access }: RunningLakefs,
  more: Readonly<Record<string, string>>,
): Promise<Lakepack> {
  const { endpoint, accessKeyId, secretAccessKey } = access;
  const env = {
    LAKEPACK_LAKEFS_ENDPOINT: endpoint,
    LAKEPACK_LAKEFS_ACCESS_KEY_ID: accessKeyId,
    LAKEPACK_LAKEFS_SECRET_ACCESS_KEY: secretAccessKey,
    LAKEPACK_LAKEFS_PATIENCE_SECONDS: "1",
  };
  return startLakepack(t, { env: { ...env, ...more } });
}

async function create({ client, namespace }: RunningLakefs, name: string): Promise<void> {
  await client.createRepository(
    { name, storage_namespace: namespace(name), default_branch: "main" },
    signal,
  );
  await commit(client, name, "one");
}

async function commit(client: RunningLakefs["client"], name: string, text: string): Promise<void> {
  await client.in(name).uploadObject("main", `${text}.txt`, Buffer.from(text), {}, signal);
  await client.in(name).commit("main", { message: text }, signal);
}

/** Contents read from lakeFS so far, as the server counts them. */
async function contentsRead(server: Lakepack): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  return Number(/^lakepack_lakefs_calls_total\{call="readObject"\} (\d+)$/m.exec(text)?.[1] ?? 0);
}

async function until(holds: () => Promise<boolean>): Promise<boolean> {
  for (let attempt = 0; attempt < 300; attempt++) {
    if (await holds()) return true;
    await new Promise((wake) => setTimeout(wake, 100));
  }
  return false;
}

function post(server: Lakepack, body: string, secret?: string): Promise<Response> {
  return fetch(`${server.url}/api/lakefs/webhook`, {
    method: "POST",
    body,
    headers: secret === undefined ? {} : { "X-Lakepack-Secret": secret },
  });
}

t.test("reading ahead", { skip: skipLakefs, timeout: 180_000 }, async (t) => {
  const lakefs = await startLakefs(t, "local", { LAKEFS_ACTIONS_ENABLED: "true" });
  const { client } = lakefs;

  await t.test("polling reads the new head of a repository in use", async (t) => {
    await create(lakefs, "polled");
    const server = await start(t, lakefs, { LAKEPACK_LAKEFS_POLL_SECONDS: "1" });
    await git(["ls-remote", `${server.url}/lakefs/polled.git`]);
    t.equal(await contentsRead(server), 1);
    await commit(client, "polled", "two");
    t.ok(await until(async () => (await contentsRead(server)) === 2), "read although nobody asked");
  });

  await t.test(
    "lakeFS' webhook has a head read that nobody has asked for, and nothing is polled",
    async (t) => {
      const server = await start(t, lakefs, {
        LAKEPACK_LAKEFS_POLL_SECONDS: "0",
        LAKEPACK_LAKEFS_WEBHOOK_SECRET: SECRET,
      });
      await create(lakefs, "hooked");
      const action = `name: tell lakepack
on: {post-commit: {}}
hooks:
  - id: lakepack
    type: webhook
    properties: {url: "${server.url}/api/lakefs/webhook", headers: {X-Lakepack-Secret: "${SECRET}"}}
`;
      await client
        .in("hooked")
        .uploadObject("main", "_lakefs_actions/lakepack.yaml", Buffer.from(action), {}, signal);
      await client.in("hooked").commit("main", { message: "tell" }, signal);
      t.ok(await until(async () => (await contentsRead(server)) >= 2), "both commits were read");
      const before = await contentsRead(server);
      await git(["ls-remote", `${server.url}/lakefs/hooked.git`]);
      t.equal(await contentsRead(server), before, "who asks now waits for nothing");
      await commit(client, "hooked", "three");
      t.ok(
        await until(async () => (await contentsRead(server)) === before + 1),
        "and the next one too",
      );
      t.notMatch(server.log(), SECRET);
    },
  );

  await t.test("what is not lakeFS' webhook is refused", async (t) => {
    const server = await start(t, lakefs, { LAKEPACK_LAKEFS_WEBHOOK_SECRET: SECRET });
    const event = JSON.stringify({ repository_id: "hooked" });
    t.equal((await post(server, event)).status, 403, "no secret");
    t.equal((await post(server, event, `${SECRET}x`)).status, 403, "another one");
    t.equal((await post(server, "{", SECRET)).status, 400, "no JSON");
    t.equal(
      (await post(server, JSON.stringify({ repository_id: "../x" }), SECRET)).status,
      400,
      "no repository's name",
    );
    t.equal((await post(server, "x".repeat(3_000_000), SECRET)).status, 413, "too long");
    t.equal((await post(server, event, SECRET)).status, 202);
    t.equal(
      (await post(server, JSON.stringify({ repository_id: "no-such-repository" }), SECRET)).status,
      202,
      "not told what exists",
    );
    t.equal((await fetch(`${server.url}/api/lakefs/webhook`)).status, 405);
    const shut = await start(t, lakefs, {});
    t.equal((await post(shut, event, "")).status, 404, "no secret is set: there is no door");
  });
});
