/**
 * Mishaps of networks and servers in single calls: repeatable ones are repeated, within a bound;
 * then a fault, never another tree.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import t from "tap";
import { Fault } from "../../src/base/fault.js";
import { LIMITS } from "../../src/base/limits.js";
import { LakefsServer } from "../../src/lakefs/api/client.js";
import { startLakepack, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { commitMany } from "../support/many-files.js";
import { rigNode, watchedClient } from "../support/landing-rig.js";
import { type Call, kindOf, type Mishap, startProxy } from "../support/lakefs-proxy.js";
import {
  createSource,
  openNode,
  signal,
  type Source,
  testPool,
} from "../support/lakefs-reading.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";

const faultOf = (work: Promise<unknown>) =>
  work.then(
    () => "none",
    (error: unknown) => (error instanceof Fault ? error.code : String(error)),
  );

type Is = (call: Call) => boolean;

const MISHAPS: readonly (readonly [what: string, mishap: Mishap, code: string])[] = [
  [
    "429 with Retry-After",
    { as: "answer", status: 429, headers: { "retry-after": "1" }, body: "slow down" },
    "lakefs/throttled",
  ],
  ["503", { as: "answer", status: 503, body: '{"message":"throttled"}' }, "lakefs/throttled"],
  [
    "500 predicate failed",
    { as: "answer", status: 500, body: '{"message":"predicate failed"}' },
    "lakefs/failed",
  ],
  [
    "502 of a proxy before it",
    { as: "answer", status: 502, body: "<html>Bad Gateway</html>" },
    "lakefs/failed",
  ],
  ["a connection cut before the body", { as: "cut", bodyBytes: 0 }, "lakefs/unreachable"],
  ["a connection cut in the body", { as: "cut", bodyBytes: 3 }, "lakefs/unreachable"],
];
/** Calls that a first reading makes, one of each kind. */
const CALLS: readonly (readonly [name: string, is: Is])[] = [
  ["branches", ({ path }) => /\/branches\?/.test(path)],
  ["log", ({ path }) => /\/commits\?/.test(path)],
  ["listing", (call) => kindOf(call) === "listing"],
  ["content", (call) => kindOf(call) === "content"],
];

async function fill(source: Source): Promise<string> {
  for (let at = 0; at < 12; at++)
    await source.put({ [`d${at % 3}/f${at}`]: `some content, ${at}` });
  await source.commit();
  return source.name;
}

t.setTimeout(300_000);
t.test("single calls that fail", { skip: skipLakefs, timeout: 240_000 }, async (t) => {
  const server = await startLakefs(t);
  const pool = await testPool(t);
  const source = await createSource(server);
  await fill(source);
  const whole = await openNode(t, server, pool, source.name);
  await whole.refs.read();
  const tree = await whole.git("rev-parse", "main^{tree}");

  await t.test("once, and it is tried again", async (t) => {
    const once = async ([what, mishap]: (typeof MISHAPS)[number]) => {
      const proxy = await startProxy(t, server);
      const node = await openNode(t, proxy.server, pool, source.name);
      const hit = new Set<string>();
      proxy.onCall = (call) => {
        const name = CALLS.find(([name, is]) => is(call) && !hit.has(name))?.[0];
        if (name !== undefined) hit.add(name);
        return name === undefined ? undefined : mishap;
      };
      await node.refs.read();
      t.equal(await node.git("rev-parse", "main^{tree}"), tree, what);
      const retries = [...node.client.http.figures.values()].reduce(
        (sum, figures) => sum + figures.retries,
        0,
      );
      t.same([hit.size, retries], [CALLS.length, CALLS.length], `${what}: each kind once`);
    };
    await Promise.all(MISHAPS.map(once));
  });

  await t.test(
    "for ever: a fault within a bound, nothing half read, and the next attempt goes on",
    async (t) => {
      const [branches, log, listing, content] = CALLS.map(([, is]) => is) as [Is, Is, Is, Is];
      const cut = MISHAPS.find(
        ([what]) => what === "a connection cut in the body",
      ) as (typeof MISHAPS)[number];
      const cases: (readonly [is: Is, mishap: (typeof MISHAPS)[number]])[] = MISHAPS.slice(1).map(
        (mishap) => [content, mishap],
      );
      for (const is of [branches, log, listing]) cases.push([is, cut]);
      await Promise.all(
        cases.map(async ([is, [what, mishap, code]]) => {
          const proxy = await startProxy(t, server);
          const node = await openNode(t, proxy.server, pool, source.name);
          proxy.onCall = (call) => (is(call) ? mishap : undefined);
          proxy.calls.length = 0;
          t.equal(await faultOf(node.refs.read()), code, what);
          const made = proxy.calls.filter(is).length;
          t.ok(
            made >= LIMITS.lakefsTriesMax && made <= LIMITS.lakefsTriesMax * LIMITS.lakefsReadsMax,
            `${what}: ${made} calls`,
          );
          proxy.onCall = () => undefined;
          await node.refs.read();
          t.equal(await node.git("rev-parse", "main^{tree}"), tree, `${what}: afterwards`);
        }),
      );
    },
  );

  await t.test("what is denied or missing is not asked again", async (t) => {
    const proxy = await startProxy(t, server);
    const client = new LakefsServer(proxy.server.access);
    for (const [status, code] of [
      [401, "lakefs/denied"],
      [403, "lakefs/denied"],
      [404, "lakefs/missing"],
      [410, "lakefs/gone"],
    ] as const) {
      proxy.onCall = () => ({ as: "answer", status, body: '{"message":"no"}' });
      proxy.calls.length = 0;
      t.equal(await faultOf(client.in(source.name).getBranch("main", signal)), code);
      t.equal(proxy.calls.length, 1);
    }
  });

  await t.test("a write whose answer is lost is not sent twice, unless it sets", async (t) => {
    const proxy = await startProxy(t, server);
    const client = new LakefsServer(proxy.server.access);
    proxy.onCall = ({ method }) => (method === "POST" ? { as: "cut", bodyBytes: 1 } : undefined);
    t.equal(
      await faultOf(
        client.in(source.name).commit("main", { message: "x", allow_empty: true }, signal),
      ),
      "lakefs/unreachable",
    );
    t.equal(proxy.calls.length, 1);
    t.equal(
      await faultOf(
        client.in(source.name).uploadObject("main", "again", Buffer.from("a"), {}, signal),
      ),
      "lakefs/unreachable",
    );
    t.equal(proxy.calls.length, 1 + LIMITS.lakefsTriesMax);
  });

  await t.test(
    "a server that says nothing is not waited for without end, and a waiter may leave at once",
    async (t) => {
      const proxy = await startProxy(t, server);
      proxy.onCall = () => ({ as: "silence" });
      const client = new LakefsServer(proxy.server.access, undefined, { waitMs: 200 });
      t.equal(
        await faultOf(client.in(source.name).getBranch("main", signal)),
        "lakefs/unreachable",
      );
      t.equal(proxy.calls.length, LIMITS.lakefsTriesMax);
      const leave = new AbortController();
      const patient = new LakefsServer(proxy.server.access);
      const waiting = faultOf(patient.in(source.name).getBranch("main", leave.signal));
      setTimeout(() => leave.abort(), 100);
      t.equal(await waiting, "base/aborted");
    },
  );

  await t.test(
    "more bytes than were listed, or fewer, are never taken for the content",
    async (t) => {
      for (const body of ["some content, 1 and more", "short"]) {
        const proxy = await startProxy(t, server);
        const node = await openNode(t, proxy.server, pool, source.name);
        proxy.onCall = (call) =>
          kindOf(call) === "content" && /f1$/.test(call.path)
            ? { as: "rewrite", body: () => Buffer.from(body) }
            : undefined;
        const fault = await node.refs.read().catch((error: unknown) => error);
        t.match(String(fault), /cannot be read.*path: d1\/f1/);
      }
    },
  );
});

t.test(
  "who waits for a repository that is let go of reads why",
  { skip: skipLakefs, timeout: 120_000 },
  async (t) => {
    const server = await startLakefs(t);
    const source = await createSource(server);
    await fill(source);
    const pool = await testPool(t);
    const { client, steps } = watchedClient(server);
    const node = await rigNode(t, server, pool, source.name, { client });
    const held = new Promise<void>((resolve) => {
      steps.before = ({ name }) => {
        if (name === "log") resolve();
        return name === "log" ? new Promise<void>((wake) => setTimeout(wake, 1_000)) : undefined;
      };
    });
    const waiting = faultOf(node.refs.read(signal));
    await held;
    node.refs.close(new Fault("lakefs/replaced"));
    t.equal(await waiting, "lakefs/replaced");

    // Whichever call of its own, or of its task, it waits for, and in whatever state.
    const seen: Record<string, number> = {};
    const proxy = await startProxy(t, server);
    for (const is of CALLS.map(([, is]) => is))
      for (const close of ["at once", "while lakeFS answers", "after the answer"]) {
        const one = await openNode(t, proxy.server, pool, source.name);
        const begun = new Promise<void>((resolve) => {
          proxy.onCall = (call) => {
            if (!is(call)) return undefined;
            resolve();
            return close === "at once" ? undefined : { as: "late", ms: 300 };
          };
        });
        const reading = faultOf(one.refs.read(signal));
        await begun;
        if (close === "after the answer") await new Promise((wake) => setTimeout(wake, 300));
        one.refs.close(new Fault("lakefs/replaced"));
        const code = await reading;
        seen[code] = (seen[code] ?? 0) + 1;
        t.ok(["none", "lakefs/replaced"].includes(code), `${code}: closed ${close}`);
      }
    t.ok((seen["lakefs/replaced"] ?? 0) >= CALLS.length, JSON.stringify(seen));
  },
);

t.test(
  "a large content that is cut goes on from where it was",
  { skip: skipLakefs, timeout: 120_000 },
  async (t) => {
    const server = await startLakefs(t);
    const pool = await testPool(t);
    const source = await createSource(server);
    await source.put({ "large.bin": randomBytes(5_000_000) });
    await source.commit();
    const whole = await openNode(t, server, pool, source.name);
    await whole.refs.read();
    const proxy = await startProxy(t, server);
    const node = await openNode(t, proxy.server, pool, source.name);
    let cuts = 0;
    proxy.onCall = (call) =>
      kindOf(call) === "content" && cuts++ < 2 ? { as: "cut", bodyBytes: 1_500_000 } : undefined;
    await node.refs.read();
    t.equal(
      await node.git("rev-parse", "main"),
      await whole.git("rev-parse", "main"),
      "the same pointer",
    );
    t.equal(proxy.calls.filter((call) => kindOf(call) === "content").length, 3);
  },
);

t.test(
  "contents of a server that is far away are waited for side by side",
  { skip: skipLakefs, timeout: 120_000 },
  async (t) => {
    const server = await startLakefs(t);
    const source = await createSource(server);
    await commitMany(server.client.in(source.name), { from: 0, to: 320, bytes: 50 });
    const proxy = await startProxy(t, server);
    const node = await openNode(t, proxy.server, await testPool(t), source.name);
    proxy.onCall = (call) => (kindOf(call) === "content" ? { as: "late", ms: 100 } : undefined);
    const started = performance.now();
    await node.refs.read();
    const seconds = (performance.now() - started) / 1000;
    t.ok(seconds < (320 * 0.1) / 4, `${seconds.toFixed(1)} s, where one after the other takes 32`);
  },
);

t.test(
  "what the Git user reads, and what the log does not say",
  { skip: skipLakefs, timeout: 120_000 },
  async (t) => {
    const server = await startLakefs(t);
    const source = await createSource(server);
    await fill(source);
    const proxy = await startProxy(t, server);
    const { endpoint, accessKeyId, secretAccessKey } = proxy.server.access;
    const env = {
      LAKEPACK_LAKEFS_ENDPOINT: endpoint,
      LAKEPACK_LAKEFS_ACCESS_KEY_ID: accessKeyId,
      LAKEPACK_LAKEFS_SECRET_ACCESS_KEY: secretAccessKey,
      LAKEPACK_LAKEFS_PATIENCE_SECONDS: "1",
    };
    const lakepack = await startLakepack(t, { env, args: ["--log-level", "trace"] });
    const folder = await tempFolder(t);
    const url = `${lakepack.url}/lakefs/${source.name}.git`;
    const failing: readonly (readonly [what: string, is: Is, mishap: Mishap, says: RegExp])[] = [
      [
        "a content cut",
        (call) => kindOf(call) === "content",
        { as: "cut", bodyBytes: 3 },
        /lakeFS does not answer/,
      ],
      [
        "a listing that fails",
        (call) => kindOf(call) === "listing",
        { as: "answer", status: 500, body: '{"message":"broken"}' },
        /lakeFS failed.*broken/,
      ],
      [
        "throttled",
        () => true,
        { as: "answer", status: 429, body: "" },
        /lakeFS asked us to slow down/,
      ],
      [
        "the data is gone",
        (call) => kindOf(call) === "content",
        { as: "answer", status: 410, body: "" },
        /gone from its storage.*path: d\d\/f/,
      ],
      [
        "a key that is not taken",
        () => true,
        { as: "answer", status: 401, body: "" },
        /does not let this server/,
      ],
    ];
    for (const [what, is, mishap, says] of failing) {
      proxy.onCall = (call) => (is(call) ? mishap : undefined);
      const { code, stderr } = await tryGit(["clone", url, join(folder, "failed")]);
      t.not(code, 0, what);
      t.match(stderr.replace(/\s+/g, " "), says, what);
      t.notMatch(stderr, /empty repository/, what);
    }
    proxy.onCall = () => undefined;
    const whole = await tryGit(["clone", "-q", url, join(folder, "whole")]);
    t.equal(whole.code, 0, whole.stderr);
    const log = lakepack.log();
    t.ok(log.length > 0);
    for (const secret of [
      secretAccessKey,
      Buffer.from(`${accessKeyId}:${secretAccessKey}`).toString("base64"),
    ])
      t.notOk(log.includes(secret), "no key in the log");
  },
);
