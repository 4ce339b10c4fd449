import { readdir } from "node:fs/promises";
import t from "tap";
import { utf8 } from "../../src/base/bytes.js";
import { checkProbe, probeS3 } from "../../src/store/s3/probe.js";
import { faultOf } from "../conformance/store.js";
import { operationOf, type S3Answer, type S3Call, startS3Proxy } from "../support/s3-proxy.js";
import { openTestStore, s3Options, skipS3, startS3Server } from "../support/s3-server.js";
import { tempFolder } from "../support/temp-folder.js";

const HERE = { skip: skipS3 };

t.test("a server that keeps its promises is taken, and nothing is left there", HERE, async (t) => {
  const server = await startS3Server(t);
  const store = await openTestStore(t, await s3Options(t, server, { prefix: "p" }));
  await store.putIfAbsent("kept", utf8("kept"));
  const folder = await tempFolder(t);
  const startedMs = performance.now();
  const rows = await probeS3(store, folder);
  t.ok(performance.now() - startedMs < 8_000);
  t.same(
    rows.filter(({ ok }) => !ok),
    [],
  );
  t.match(
    rows.map(({ name }) => name),
    ["put if absent", "replace if unchanged", "complete if absent", "lists see what was written"],
  );
  checkProbe(rows);
  t.same(await store.names(""), ["kept"]);
  t.same(await readdir(folder), []);
});

t.test("one that answers a content with another's tag is refused, by name", HERE, async (t) => {
  const server = await startS3Server(t, { sidecar: true });
  const store = await openTestStore(t, await s3Options(t, server));
  const folder = await tempFolder(t);
  let rows = await probeS3(store, folder);
  const row = () => rows.find(({ name }) => name === "replace if unchanged");
  // A race, which a busy machine may not show within one probe.
  for (let again = 0; row()?.ok === true && again < 3; again++) rows = await probeS3(store, folder);
  t.match(row(), { ok: false, words: /tag of another|updates were lost/ });
  t.throws(() => checkProbe(rows), {
    code: "store/unfit",
    message: /cannot hold repositories, .*: replace if unchanged \(/,
  });
});

/** Turns a refusal into success. */
function taken(answer: S3Answer): S3Answer {
  if (answer.status !== 412) return answer;
  const headers = { etag: '"made-up"', "content-length": "0" };
  return { status: 200, headers, body: Buffer.alloc(0) };
}

/** Says nothing of a range. */
function whole(answer: S3Answer): S3Answer {
  const { "content-range": _, ...headers } = answer.headers;
  return { ...answer, status: 200, headers };
}

t.test("what a server does not honour is named", HERE, async (t) => {
  const server = await startS3Server(t);
  const proxy = await startS3Proxy(t, server);
  const options = await s3Options(t, { ...server, endpoint: proxy.endpoint }, { patienceMs: 500 });
  const store = await openTestStore(t, options);
  const folder = await tempFolder(t);
  const wrong = async (): Promise<string[]> =>
    (await probeS3(store, folder)).filter(({ ok }) => !ok).map(({ name }) => name);
  const firsts = new Map<string, S3Answer>();
  const lies: Readonly<Record<string, (call: S3Call, answer: S3Answer) => S3Answer>> = {
    PutObject: (_, answer) => taken(answer),
    // A list that never changes.
    ListObjectsV2: ({ path }, now) => {
      if (!firsts.has(path)) firsts.set(path, now);
      return firsts.get(path) ?? now;
    },
    GetObject: (call, answer) => (call.headers["range"] === undefined ? answer : whole(answer)),
  };
  proxy.onCall = (call) => {
    const lie = call.headers["if-match"] === undefined ? lies[operationOf(call)] : undefined;
    return lie && { as: "rewrite", answer: (answer) => lie(call, answer) };
  };
  t.same(await wrong(), ["put if absent", "lists see what was written", "ranges"]);

  proxy.onCall = (call) =>
    call.headers["if-match"] === undefined
      ? undefined
      : { as: "answer", status: 501, code: "NotImplemented" };
  t.same(await wrong(), ["replace if unchanged", "read if changed"]);

  proxy.onCall = () => ({ as: "answer", status: 503, code: "SlowDown" });
  t.equal(
    await faultOf(probeS3(store, folder)),
    "store/throttled",
    "one that is busy is not unfit",
  );
});
