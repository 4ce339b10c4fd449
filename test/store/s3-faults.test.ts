/**
 * A proxy in front of a real S3 server loses, cuts, delays and refuses single requests. Each
 * outcome must be told right, nothing acknowledged may be lost, and nothing may be left behind.
 */
import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { createServer } from "node:tls";
import { inspect } from "node:util";
import { S3 } from "@aws-sdk/client-s3";
import t, { type Test } from "tap";
import { utf8 } from "../../src/base/bytes.js";
import { Fault } from "../../src/base/fault.js";
import { openS3Store, type S3Options, type S3Store } from "../../src/store/s3/s3-store.js";
import { faultOf } from "../conformance/store.js";
import { certificate, skipCertificates } from "../support/certificate.js";
import {
  fates,
  operationOf,
  type S3Mishap,
  type S3Proxy,
  startS3Proxy,
} from "../support/s3-proxy.js";
import {
  openTestStore,
  type RunningS3,
  s3Options,
  skipS3,
  startS3Server,
  unfinishedUploads,
} from "../support/s3-server.js";
import { tempFolder } from "../support/temp-folder.js";

const BYTES_MAX = 1_000_000;
const MIB = 1024 * 1024;
const SILENCE_MS = 400;
const PATIENCE_MS = 1_800;

interface Scene {
  readonly server: RunningS3;
  readonly proxy: S3Proxy;
  /** Through the proxy. */
  readonly store: S3Store;
  /** Somebody else, who has nothing in the way. */
  readonly other: S3Store;
  readonly options: S3Options;
  /** Deals these fates to requests of one operation, in order. */
  deal(operation: string, ...mishaps: (S3Mishap | undefined)[]): void;
}

async function scene(t: Test, more: Partial<S3Options> = {}): Promise<Scene> {
  const server = await startS3Server(t);
  const proxy = await startS3Proxy(t, server);
  const options = await s3Options(
    t,
    { ...server, endpoint: proxy.endpoint },
    { prefix: "p", silenceMs: SILENCE_MS, patienceMs: PATIENCE_MS, ...more },
  );
  const store = await openTestStore(t, options);
  const other = await openTestStore(t, await s3Options(t, server, { prefix: "p" }));
  const deal = (operation: string, ...mishaps: (S3Mishap | undefined)[]) => {
    proxy.onCall = fates((call) => operationOf(call) === operation, ...mishaps);
  };
  return { server, proxy, store, other, options, deal };
}

function textOf(stored: { readonly bytes: Uint8Array } | undefined): string {
  return Buffer.from(stored?.bytes ?? []).toString();
}

async function file(t: Test, bytes: Uint8Array): Promise<string> {
  const path = join(await tempFolder(t), "file");
  await writeFile(path, bytes);
  return path;
}

const everyTime = (mishap: S3Mishap) => Array.from({ length: 50 }, () => mishap);
const LOST: S3Mishap = { as: "lost" };
const DROP: S3Mishap = { as: "drop" };
const SLOW_DOWN: S3Mishap = { as: "answer", status: 503, code: "SlowDown" };
const CONTENDED: S3Mishap = { as: "answer", status: 409, code: "ConditionalRequestConflict" };
const BROKEN: S3Mishap = { as: "answer", status: 500, code: "InternalError" };
/** S3 may find out that a completion fails when it has begun to answer. */
const FAILED_AS_200: S3Mishap = { as: "answer", status: 200, code: "InternalError" };
const HERE = { skip: skipS3 };

t.test("a write whose reply is lost has landed, and is told so", HERE, async (t) => {
  const { store, proxy, deal } = await scene(t);
  const ways: readonly S3Mishap[] = [LOST, { as: "silence" }, DROP, { as: "half" }, BROKEN];
  for (const [at, mishap] of ways.entries()) {
    const key = `k/${at}`;
    deal("PutObject", mishap);
    const tag = await store.putIfAbsent(key, utf8(`first ${at}`));
    t.equal((await store.get(key, BYTES_MAX))?.tag, tag, `${mishap.as}: put if absent`);
    deal("PutObject", mishap, mishap);
    const next = await store.putIfMatch(key, utf8(`second ${at}`), tag);
    const there = await store.get(key, BYTES_MAX);
    t.equal(there?.tag, next, `${mishap.as}: put if match`);
    t.equal(textOf(there), `second ${at}`);
    deal("PutObject", mishap);
    await store.put(`derived/${at}`, utf8("derived"));
    t.equal(textOf(await store.get(`derived/${at}`, BYTES_MAX)), "derived", `${mishap.as}: put`);
  }
  t.ok((store.figures.get("PutObject")?.retries ?? 0) >= 4 * ways.length);
  proxy.onCall = () => undefined;
});

t.test("what may have landed and been replaced is unknown, never a conflict", HERE, async (t) => {
  const { store, other, proxy } = await scene(t);
  const first = await store.putIfMatch("m", utf8("first"), undefined);
  let puts = 0;
  proxy.onCall = async (call) => {
    if (operationOf(call) !== "PutObject") return undefined;
    if (puts++ === 0) return LOST;
    if (puts > 2) return undefined;
    const there = await other.get("m", BYTES_MAX);
    t.equal(textOf(there), "ours", "it had landed");
    await other.putIfMatch("m", utf8("theirs, on top of ours"), there?.tag);
    return undefined;
  };
  await t.rejects(store.putIfMatch("m", utf8("ours"), first), {
    code: "store/unknown-outcome",
    message: /^object storage failed while this was made durable .*fetch to see/,
  });
  t.equal(textOf(await store.get("m", BYTES_MAX)), "theirs, on top of ours");
});

t.test("another's object is told as such after a try that was lost", HERE, async (t) => {
  const { store, other, proxy } = await scene(t);
  for (const [key, theirs] of [
    ["other", "theirs"],
    ["longer", "theirs, which is longer"],
  ] as const) {
    let puts = 0;
    proxy.onCall = async (call) => {
      if (operationOf(call) !== "PutObject" || puts++ > 0) return undefined;
      await other.putIfAbsent(key, utf8(theirs));
      return DROP;
    };
    t.equal(await faultOf(store.putIfAbsent(key, utf8("ours!!"))), "store/exists");
    t.equal(textOf(await store.get(key, BYTES_MAX)), theirs);
  }
});

t.test("what is there and equal was not put by us, unless a try was lost", HERE, async (t) => {
  const { store, other } = await scene(t);
  await other.putIfAbsent("same", utf8("the same"));
  t.equal(await faultOf(store.putIfAbsent("same", utf8("the same"))), "store/exists");
});

t.test("a 409 of contending writes is tried again, and no conflict by itself", HERE, async (t) => {
  const { store, other, proxy, deal } = await scene(t);
  const first = await store.putIfMatch("m", utf8("1"), undefined);
  deal("PutObject", CONTENDED, CONTENDED);
  const second = await store.putIfMatch("m", utf8("2"), first);
  t.equal((await store.get("m", BYTES_MAX))?.tag, second);
  let puts = 0;
  proxy.onCall = async (call) => {
    if (operationOf(call) !== "PutObject" || puts++ > 0) return undefined;
    await other.putIfMatch("m", utf8("theirs"), second);
    return CONTENDED;
  };
  t.equal(await faultOf(store.putIfMatch("m", utf8("3"), second)), "store/conflict");
  deal("PutObject", ...everyTime(CONTENDED));
  t.equal(await faultOf(store.putIfAbsent("n", utf8("1"))), "store/failed");
});

t.test("throttling is waited for, and told where it lasts; nothing is unknown", HERE, async (t) => {
  const { store, deal } = await scene(t);
  deal("PutObject", SLOW_DOWN, { ...SLOW_DOWN, status: 429, code: "TooManyRequests" });
  const tag = await store.putIfMatch("m", utf8("1"), undefined);
  deal("GetObject", { ...SLOW_DOWN, headers: { "retry-after": "1" } });
  const startedMs = performance.now();
  await store.get("m", BYTES_MAX);
  t.ok(performance.now() - startedMs >= 950, "Retry-After is obeyed");
  for (const [operation, call] of [
    ["PutObject", () => store.putIfMatch("m", utf8("2"), tag)],
    ["PutObject", () => store.putIfAbsent("n", utf8("2"))],
    ["GetObject", () => store.get("m", BYTES_MAX)],
    ["HeadObject", () => store.size("m")],
    ["ListObjectsV2", () => store.names("x/")],
  ] as const) {
    deal(operation, ...everyTime(SLOW_DOWN));
    t.equal(await faultOf(call()), "store/throttled", operation);
  }
  t.equal(textOf(await store.get("m", BYTES_MAX)), "1");
});

t.test("failures that last: reads say so, writes that may land are unknown", HERE, async (t) => {
  const { store, deal } = await scene(t, { patienceMs: 900 });
  const tag = await store.putIfMatch("m", utf8("1"), undefined);
  deal("PutObject", ...everyTime(BROKEN));
  t.equal(await faultOf(store.putIfMatch("m", utf8("2"), tag)), "store/unknown-outcome");
  t.equal(await faultOf(store.putIfAbsent("n", utf8("2"))), "store/unknown-outcome");
  deal("PutObject", ...everyTime({ as: "silence" }));
  t.equal(await faultOf(store.putIfMatch("m", utf8("3"), "stale")), "store/unknown-outcome");
  deal("GetObject", ...everyTime(BROKEN));
  t.equal(await faultOf(store.get("m", BYTES_MAX)), "store/failed");
  deal("GetObject", ...everyTime({ as: "silence" }));
  t.equal(await faultOf(store.get("m", BYTES_MAX)), "store/unreachable");
  deal("PutObject", ...everyTime(BROKEN));
  const path = await file(t, utf8("a pack"));
  t.equal(await faultOf(store.publish("pack", path)), "store/failed", "nothing rests on it yet");
});

t.test("a store that is away is unreachable, and is back by itself", HERE, async (t) => {
  const server = await startS3Server(t);
  const store = await openTestStore(t, await s3Options(t, server, { patienceMs: 1_000 }));
  const tag = await store.putIfMatch("m", utf8("1"), undefined);
  await server.stop();
  t.equal(await faultOf(store.get("m", BYTES_MAX)), "store/unreachable");
  t.equal(await faultOf(store.putIfMatch("m", utf8("2"), tag)), "store/unreachable", "not unknown");
  await server.revive();
  await store.putIfMatch("m", utf8("2"), tag);
  t.equal(textOf(await store.get("m", BYTES_MAX)), "2");
});

t.test("a write that arrives late is refused by its own condition", HERE, async (t) => {
  const { store, proxy, deal } = await scene(t);
  const first = await store.putIfMatch("m", utf8("1"), undefined);
  deal("PutObject", { as: "late", ms: 600 });
  const second = await store.putIfMatch("m", utf8("2"), first);
  const third = await store.putIfMatch("m", utf8("3"), second);
  await proxy.settled();
  t.equal((await store.get("m", BYTES_MAX))?.tag, third);
});

t.test("bodies that are cut or stand still are read on from where they were", HERE, async (t) => {
  const { store, deal } = await scene(t);
  const bytes = randomBytes(3 * MIB);
  await store.putIfAbsent("big", bytes);
  const readBefore = store.figures.get("GetObject")?.bytesIn ?? 0;
  deal("GetObject", { as: "cut", bodyBytes: MIB }, { as: "stall", bodyBytes: MIB });
  const range = await store.readRange("big", 10, 3 * MIB - 10);
  t.ok(bytes.subarray(10, 3 * MIB - 10).equals(range));
  const read = (store.figures.get("GetObject")?.bytesIn ?? 0) - readBefore;
  t.equal(read, 3 * MIB - 20, "no byte was read twice");
  deal("GetObject", { as: "cut", bodyBytes: 5 }, { as: "stall", bodyBytes: 0 });
  t.ok(bytes.equals((await store.get("big", 4 * MIB))?.bytes ?? new Uint8Array()));
  deal("GetObject", ...everyTime({ as: "stall", bodyBytes: 5 }));
  t.equal(await faultOf(store.get("big", 4 * MIB)), "store/unreachable", "it never goes on");
});

t.test("a range of an object that is replaced meanwhile is no mixture", HERE, async (t) => {
  const { store, other, proxy } = await scene(t);
  const [before, after] = [randomBytes(MIB), randomBytes(MIB)];
  await other.put("o", before);
  let gets = 0;
  proxy.onCall = async (call) => {
    if (operationOf(call) !== "GetObject") return undefined;
    if (gets++ === 0) return { as: "cut", bodyBytes: 1_000 };
    await other.put("o", after);
    return undefined;
  };
  t.equal(await faultOf(store.readRange("o", 0, MIB)), "store/failed");
  gets = 0;
  await other.put("o", before);
  t.ok(
    after.equals((await store.get("o", MIB))?.bytes ?? new Uint8Array()),
    "whole reads begin anew",
  );
});

t.test("publications whose replies are lost are there once, and whole", HERE, async (t) => {
  const { store, server, deal } = await scene(t, { silenceMs: 5_000, patienceMs: 30_000 });
  const bytes = randomBytes(20 * MIB);
  const path = await file(t, bytes);
  const small = await file(t, bytes.subarray(0, MIB));
  deal("PutObject", LOST);
  await store.publish("small", small);
  t.equal(await store.size("small"), MIB);
  const MISHAPS: readonly S3Mishap[] = [LOST, DROP, SLOW_DOWN, { as: "half" }];
  const COMPLETION = "CompleteMultipartUpload";
  const operations = ["CreateMultipartUpload", "UploadPart", COMPLETION];
  for (const [at, operation] of operations.entries())
    for (const mishap of [...MISHAPS, ...(operation === COMPLETION ? [FAILED_AS_200] : [])]) {
      const key = `packs/${at}-${mishap.as}-${mishap === FAILED_AS_200}`;
      deal(operation, mishap);
      await store.publish(key, path);
      await store.cache.forget(key); // which has it by the publication
      const there = await readFile(await store.localFile(key));
      t.ok(there.equals(bytes), `${operation} ${mishap.as}`);
      t.same(await unfinishedUploads(server), [], `${operation} ${mishap.as}: nothing is left`);
    }
});

t.test("a publication that fails leaves no parts; one of another size is told", HERE, async (t) => {
  const { store, server, proxy, deal } = await scene(t, { silenceMs: 5_000 });
  const path = await file(t, randomBytes(20 * MIB));
  for (const operation of ["UploadPart", "CompleteMultipartUpload"]) {
    deal(operation, ...everyTime(BROKEN));
    t.equal(await faultOf(store.publish("pack", path)), "store/failed", operation);
    t.same(await unfinishedUploads(server), [], operation);
    t.equal(await store.size("pack"), undefined);
  }
  const abort = new AbortController();
  const reason = new Fault("push/refused");
  proxy.onCall = (call) => {
    if (operationOf(call) === "UploadPart") abort.abort(reason);
    return undefined;
  };
  t.equal(await faultOf(store.publish("pack", path, abort.signal)), "push/refused");
  t.same(await unfinishedUploads(server), [], "after an abort");
  proxy.onCall = () => undefined;
  await store.publish("pack", path);
  await store.publish("pack", path);
  const longer = await file(t, randomBytes(20 * MIB + 1));
  t.equal(await faultOf(store.publish("pack", longer)), "store/conflict");
  t.same(await unfinishedUploads(server), []);
  t.equal(await store.size("pack"), 20 * MIB);
});

t.test("a sweep removes old uploads in parts below its prefix, and no others", HERE, async (t) => {
  const { store, server } = await scene(t);
  const { endpoint, credentials, bucket: Bucket } = server;
  const s3 = new S3({ endpoint, credentials, forcePathStyle: true, region: "us-east-1" });
  t.teardown(() => s3.destroy());
  // What a node that died leaves.
  for (const Key of ["p/repos/a/pack", "p/repos/b/pack", "q/repos/a/pack"]) {
    const { UploadId } = await s3.createMultipartUpload({ Bucket, Key });
    await s3.uploadPart({ Bucket, Key, UploadId, PartNumber: 1, Body: new Uint8Array(1_000) });
  }
  t.equal((await unfinishedUploads(server)).length, 3);
  await store.putIfAbsent("repos/a/kept", utf8("kept"));
  t.same(await store.sweep("repos/a/", Date.now() - 60_000), { files: 0, bytes: 0 }, "too young");
  t.same(await store.sweep("repos/a/", Date.now() + 60_000), { files: 1, bytes: 1_000 });
  t.equal((await unfinishedUploads(server)).length, 2);
  t.same(await store.deleteAll("repos/"), { files: 1, bytes: 4 }, "unfinished ones go with all");
  t.equal((await unfinishedUploads(server)).length, 1, "another prefix's stays");
});

t.test("an abort ends a call at once, with its reason, wherever it is", HERE, async (t) => {
  const { store, deal } = await scene(t, { silenceMs: 30_000, patienceMs: 30_000 });
  await store.putIfAbsent("o", randomBytes(MIB));
  const ways: readonly (readonly [string, S3Mishap, (signal: AbortSignal) => Promise<unknown>])[] =
    [
      ["GetObject", { as: "stall", bodyBytes: 10 }, (signal) => store.get("o", MIB, signal)],
      ["GetObject", { as: "silence" }, (signal) => store.readRange("o", 0, 9, signal)],
      ["PutObject", { as: "silence" }, (signal) => store.putIfAbsent("n", utf8("n"), signal)],
      ["HeadObject", SLOW_DOWN, (signal) => store.size("o", signal)],
    ];
  for (const [operation, mishap, call] of ways) {
    deal(operation, ...everyTime(mishap));
    const abort = new AbortController();
    setTimeout(() => abort.abort(new Fault("server/stopping")), 300);
    const startedMs = performance.now();
    t.equal(await faultOf(call(abort.signal)), "server/stopping", `${operation} ${mishap.as}`);
    t.ok(performance.now() - startedMs < 2_000, "at once");
  }
});

t.test("no connection is left with a body that nobody reads", HERE, async (t) => {
  const { store, proxy, deal } = await scene(t, { socketsMax: 2 });
  await store.putIfAbsent("big", randomBytes(4 * MIB));
  for (let round = 0; round < 6; round++) {
    t.equal(await faultOf(store.get("big", 10)), "store/oversized");
    t.equal(await faultOf(store.readRange("big", 4 * MIB - 1, 4 * MIB + 1)), "store/failed");
    deal("GetObject", { as: "stall", bodyBytes: MIB });
    await store.get("big", 4 * MIB);
  }
  t.ok((await proxy.connections()) <= 2);
  store.close();
  for (let looks = 0; (await proxy.connections()) > 0 && looks < 50; looks++)
    await new Promise((wake) => setTimeout(wake, 20));
  t.equal(await proxy.connections(), 0, "none is left after the end");
});

t.test("what is wrong with settings is told by name, and without the secret", HERE, async (t) => {
  const { server, options, proxy } = await scene(t);
  const { accessKeyId, secretAccessKey } = server.credentials;
  const opened = async (more: Partial<S3Options>): Promise<unknown> =>
    openS3Store({ ...options, ...more }).then(
      (store) => store.close(),
      (error: unknown) => error,
    );
  const wrongSecret = { accessKeyId, secretAccessKey: `${secretAccessKey}x` };
  const cases: readonly (readonly [string, Partial<S3Options>])[] = [
    ["store/bad-signature", { credentials: wrongSecret }],
    ["store/bad-credentials", { credentials: { accessKeyId: "NOBODY", secretAccessKey } }],
    ["store/no-bucket", { bucket: "no-such-bucket" }],
    ["store/unreachable", { endpoint: "http://127.0.0.1:1", patienceMs: 100 }],
    ["settings/bad-value", { caFile: "/no/such/file" }],
    ["store/bad-key", { prefix: "../elsewhere" }],
  ];
  for (const [code, more] of cases) {
    const error = await opened(more);
    t.match(error, { code }, code);
    t.notOk(inspect(error, { depth: 20 }).includes(secretAccessKey), `${code}: no secret`);
  }
  const made: readonly (readonly [string, number, string])[] = [
    ["store/clock-skew", 403, "RequestTimeTooSkewed"],
    ["store/denied", 403, "AccessDenied"],
    ["store/bad-credentials", 400, "ExpiredToken"],
    ["store/wrong-region", 301, "PermanentRedirect"],
    ["store/wrong-region", 400, "AuthorizationHeaderMalformed"],
  ];
  for (const [code, status, name] of made) {
    proxy.onCall = () => ({ as: "answer", status, code: name });
    t.match(await opened({}), { code }, name);
  }
});

const TRUST = { skip: skipS3 || skipCertificates };

t.test("a certificate is trusted by a file of its authority", TRUST, async (t) => {
  const server = await startS3Server(t);
  const made = await certificate(t);
  const secured = createServer(
    { cert: await readFile(made.certificate), key: await readFile(made.key) },
    (socket) => {
      const onward = connect(server.port, "127.0.0.1");
      for (const end of [socket, onward])
        end.on("error", () => [socket, onward].map((one) => one.destroy()));
      socket.pipe(onward).pipe(socket);
    },
  );
  await new Promise<void>((resolve) => void secured.listen(0, "127.0.0.1", resolve));
  t.teardown(() => secured.close());
  const endpoint = `https://127.0.0.1:${(secured.address() as AddressInfo).port}`;
  const options = await s3Options(t, { ...server, endpoint }, { patienceMs: 500 });
  t.equal(await faultOf(openS3Store(options)), "store/untrusted");
  const store = await openTestStore(t, { ...options, caFile: made.certificate });
  await store.putIfAbsent("a", utf8("a"));
  t.equal(textOf(await store.get("a", BYTES_MAX)), "a");
});

t.test("a key that is a folder of others is refused with words where it is", HERE, async (t) => {
  const { store } = await scene(t);
  await store.putIfAbsent("a/b", utf8("b"));
  await t.rejects(store.putIfAbsent("a", utf8("a")), {
    code: "store/refused",
    facts: { status: 409, answer: "ExistingObjectIsDirectory" },
  });
  await t.rejects(store.putIfAbsent("a/b/c", utf8("c")), { code: "store/refused" });
});

t.test("each call takes the requests that it must, and no more", HERE, async (t) => {
  const { store, proxy } = await scene(t, { silenceMs: 5_000 });
  const path = await file(t, randomBytes(MIB));
  const counted = async (work: () => Promise<unknown>): Promise<string[]> => {
    const before = proxy.calls.length;
    await work();
    return proxy.calls.slice(before).map(operationOf);
  };
  let tag = "";
  t.same(
    await counted(async () => {
      tag = await store.putIfMatch("m", utf8("1"), undefined);
    }),
    ["PutObject"],
  );
  t.same(await counted(() => store.getIfChanged("m", tag, BYTES_MAX)), ["GetObject"]);
  t.same(await counted(() => store.publish("pack", path)), ["PutObject"]);
  t.same(await counted(() => store.localFile("pack")), [], "it has it by the publication");
  await store.cache.forget("pack");
  t.same(await counted(() => store.localFile("pack")), ["GetObject"]);
  t.same(await counted(() => store.localFile("pack")), []);
  const total = [...store.figures.values()].reduce((sum, { calls }) => sum + calls, 0);
  t.equal(total, proxy.calls.length, "all are counted");
  t.ok(proxy.calls.every(({ headers }) => headers["x-amz-content-sha256"] !== "UNSIGNED-PAYLOAD"));
  const unchecked = proxy.calls.filter(
    (call) => operationOf(call) === "PutObject" && !call.headers["x-amz-checksum-sha256"],
  );
  t.same(unchecked, [], "every body has its checksum");
});
