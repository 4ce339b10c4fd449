/**
 * Patience with lakeFS: transfers take their time, silence ends them, and a server that is away for
 * a moment ends nothing.
 */
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { Fault } from "../../src/base/fault.js";
import { LIMITS } from "../../src/base/limits.js";
import { LakefsServer } from "../../src/lakefs/api/client.js";
import { unlessAway } from "../../src/lakefs/api/stale.js";
import { kindOf, startProxy } from "../support/lakefs-proxy.js";
import { createSource, signal } from "../support/lakefs-reading.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";

const faultOf = (work: Promise<unknown>) =>
  work.then(
    () => "none",
    (error: unknown) => (error instanceof Fault ? error.code : String(error)),
  );
const MIB = 1024 * 1024;
const SILENCE_MS = 600;

async function* pieces(count: number, bytes: number, pauseMs: number): AsyncGenerator<Uint8Array> {
  for (let made = 0; made < count; made++) {
    yield randomBytes(bytes);
    await sleep(pauseMs);
  }
}

t.test("transfers and silence", { skip: skipLakefs, timeout: 120_000 }, async (t) => {
  const server = await startLakefs(t);
  const { name } = await createSource(server);
  const proxy = await startProxy(t, server);
  const client = new LakefsServer({ ...proxy.server.access, patienceMs: 0 }, undefined, {
    waitMs: SILENCE_MS,
    writeWaitMs: SILENCE_MS,
  });
  const upload = (content: AsyncIterable<Uint8Array>, bytes: number) =>
    faultOf(client.in(name).uploadStream("main", "a", { bytes, content }, signal));

  await t.test("an upload that moves may take any time", async (t) => {
    const began = performance.now();
    t.equal(await upload(pieces(12, 10_000, 200), 120_000), "none", "from a slow client");
    t.ok(performance.now() - began > 3 * SILENCE_MS);
  });

  await t.test("a body that is there whole, over a slow connection", async (t) => {
    proxy.onCall = ({ method }) =>
      method === "POST" ? { as: "paced", bytesPerSecond: 16 * MIB } : undefined;
    const body = randomBytes(40 * MIB); // more than the connection's buffers take at once
    const began = performance.now();
    t.equal(await faultOf(client.in(name).uploadObject("main", "b", body, {}, signal)), "none");
    t.ok(performance.now() - began > 3 * SILENCE_MS);
    proxy.onCall = () => undefined;
    t.equal((await client.in(name).statObject("main", "b", signal)).size_bytes, body.length);
  });

  await t.test(
    "silence ends it: of the server behind the last byte, and of the client before it",
    async (t) => {
      proxy.onCall = ({ method }) => (method === "POST" ? { as: "silence" } : undefined);
      const began = performance.now();
      t.equal(await upload(pieces(2, 100, 10), 200), "lakefs/unreachable");
      t.ok(performance.now() - began >= SILENCE_MS);
      proxy.onCall = () => undefined;
      t.equal(await upload(pieces(2, 100, 2 * SILENCE_MS), 200), "lakefs/unreachable");
    },
  );
});

t.test("a lakeFS that is away", { skip: skipLakefs, timeout: 120_000 }, async (t) => {
  const server = await startLakefs(t);
  const source = await createSource(server);
  const proxy = await startProxy(t, server);
  const patient = (patienceMs: number) => new LakefsServer({ ...proxy.server.access, patienceMs });
  const head = (client: LakefsServer) => faultOf(client.in(source.name).getBranch("main", signal));
  const away = () => {
    proxy.onCall = () => ({ as: "drop" });
  };

  await t.test("is waited for, and not for ever", async (t) => {
    const client = patient(4_000);
    away();
    setTimeout(() => {
      proxy.onCall = () => undefined;
    }, 3_000);
    t.equal(await head(client), "none");
    t.ok(
      (client.http.figures.get("getBranch")?.retries ?? 0) >= LIMITS.lakefsTriesMax,
      "more often than a call that merely fails",
    );
    away();
    t.equal(await head(client), "lakefs/unreachable");
  });

  await t.test("by those who come while it is; later ones hear of it soon", async (t) => {
    const client = patient(3_000);
    away();
    const began = performance.now();
    t.same(await Promise.all([head(client), head(client)]), [
      "lakefs/unreachable",
      "lakefs/unreachable",
    ]);
    t.ok(performance.now() - began >= 3_000);
    const later = performance.now();
    t.equal(await head(client), "lakefs/unreachable");
    t.ok(performance.now() - later < 2_500, "some tries, without the patience");
    proxy.onCall = () => undefined;
    t.equal(await head(client), "none");
  });

  await t.test("one call that fails while others pass is no server that is away", async (t) => {
    const client = patient(60_000);
    proxy.onCall = (call) => (kindOf(call) === "content" ? { as: "cut", bodyBytes: 1 } : undefined);
    await source.put({ a: "some text" });
    const { id } = await source.commit();
    const began = performance.now();
    t.equal(
      await faultOf(client.in(source.name).readObject(id, "a", 100, signal)),
      "lakefs/unreachable",
    );
    t.ok(performance.now() - began < 10_000);
  });

  await t.test("what is known is had after some seconds; what is not is waited for", async (t) => {
    const client = patient(8_000);
    away();
    const began = performance.now();
    const ask = (known: string | undefined) =>
      unlessAway(
        client.http,
        async (asking) => (await client.in(source.name).getBranch("main", asking)).id,
        async () => known,
        signal,
      );
    const [known, unknown] = [ask("known"), faultOf(ask(undefined))];
    t.equal(await known, "known");
    t.ok(performance.now() - began < 7_900);
    t.equal(await unknown, "lakefs/unreachable");
    t.ok(performance.now() - began >= 7_900);
    t.equal(await ask("known"), "known", "at once from then on");
    t.ok(client.http.awayMs > 7_900);
    proxy.onCall = () => undefined;
    t.equal(await ask("known"), "main");
    t.equal(client.http.awayMs, 0);
  });

  await t.test("before an upload has begun nothing of its body is lost", async (t) => {
    const client = patient(10_000);
    await proxy.goAway();
    setTimeout(() => void proxy.comeBack(), 2_500);
    const content = pieces(3, 1_000, 1);
    t.equal(
      await faultOf(
        client.in(source.name).uploadStream("main", "up", { bytes: 3_000, content }, signal),
      ),
      "none",
    );
    t.equal((await client.in(source.name).statObject("main", "up", signal)).size_bytes, 3_000);
    await proxy.goAway();
    await sleep(200); // until connections that were kept are known to be closed
    setTimeout(() => void proxy.comeBack(), 1_000);
    const branch = { name: "made", source: "main" };
    t.equal(
      await faultOf(client.in(source.name).createBranch(branch, signal)),
      "none",
      "what never left may be sent again",
    );
    proxy.onCall = ({ method }) => (method === "POST" ? { as: "drop" } : undefined);
    t.equal(
      await faultOf(client.in(source.name).createBranch({ ...branch, name: "other" }, signal)),
      "lakefs/unreachable",
    );
    const bytes = { bytes: 3_000, content: pieces(3, 1_000, 1) };
    t.equal(
      await faultOf(client.in(source.name).uploadStream("main", "up", bytes, signal)),
      "lakefs/unreachable",
      "once it has begun",
    );
  });
});
