/** The LFS API as hostile or careless clients use it, against a real server. */
import { createHash, randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { type Lakepack, startLakepack } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";

const MEDIA = "application/vnd.git-lfs+json";

interface Action {
  readonly href: string;
}
interface Answer {
  readonly oid: string;
  readonly size: number;
  readonly actions?: {
    readonly upload?: Action;
    readonly download?: Action;
    readonly verify?: Action;
  };
  readonly error?: { readonly code: number; readonly message: string };
}

function objectOf(content: Uint8Array) {
  return { oid: createHash("sha256").update(content).digest("hex"), size: content.length };
}

function send(
  server: Lakepack,
  body: unknown,
  repository = "me/model",
  type = MEDIA,
): Promise<Response> {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return fetch(`${server.url}/${repository}.git/info/lfs/objects/batch`, {
    method: "POST",
    headers: { "Content-Type": type, Accept: MEDIA },
    body: text,
  });
}

async function batch(
  server: Lakepack,
  operation: string,
  objects: readonly unknown[],
  more: object = {},
  repository?: string,
): Promise<readonly Answer[]> {
  const reply = await send(
    server,
    { operation, transfers: ["basic"], objects, ...more },
    repository,
  );
  if (reply.status !== 200) throw new Error(`${reply.status} ${await reply.text()}`);
  const { transfer, objects: answers } = (await reply.json()) as {
    transfer: string;
    objects: readonly Answer[];
  };
  if (transfer !== "basic") throw new Error("the transfer is said even when it is basic");
  return answers;
}

async function uploadLink(
  server: Lakepack,
  object: { oid: string; size: number },
  repository?: string,
) {
  const [answer] = await batch(server, "upload", [object], {}, repository);
  return {
    upload: answer?.actions?.upload?.href ?? "",
    verify: answer?.actions?.verify?.href ?? "",
  };
}

async function put(href: string, content: Uint8Array): Promise<number> {
  return (await fetch(href, { method: "PUT", body: Buffer.from(content) })).status;
}

/** A server and one object in me/model, which a push has made. */
async function setUp(t: Test, args: readonly string[] = []) {
  const server = await startLakepack(t, { args });
  const content = randomBytes(1_000_000);
  const object = objectOf(content);
  const { upload } = await uploadLink(server, object);
  t.equal(await put(upload, content), 200);
  return { server, content, object };
}

/** A repository comes into being by a push of one commit. */
async function makeRepository(t: Test, server: Lakepack, name: string): Promise<void> {
  const { commit, git } = await import("../support/harness.js");
  const folder = await tempFolder(t);
  await git(["init", "-q", folder]);
  await commit(folder, "one", { "a.txt": "a\n" });
  await git(["push", "-q", `${server.url}/${name}.git`, "main"], { cwd: folder });
}

for (const transport of ["uws", "node"]) {
  const args = ["--transport", transport];

  t.test(`every oid that was asked for comes back (${transport})`, async (t) => {
    const { server, object } = await setUp(t, args);
    await makeRepository(t, server, "me/model");
    const zero = { oid: objectOf(randomBytes(9)).oid, size: 0 };
    const odd = [
      { oid: "abc", size: 1 },
      { oid: "Z".repeat(64), size: 1 },
      { oid: "a".repeat(65), size: 1 },
      { ...object, size: -1 },
      { ...object, size: -125 },
      { ...object, size: 1.5 },
    ];
    const missing = objectOf(randomBytes(20));
    const answers = await batch(server, "upload", [object, missing, zero, ...odd, missing], {
      ref: {},
      hash_algo: "sha_256",
    });
    t.same(
      answers.map(({ oid, size }) => ({ oid, size })),
      [object, missing, zero, ...odd, missing],
    );
    t.same(
      answers.map(({ error, actions }) => error?.code ?? Object.keys(actions ?? {}).join()),
      ["", "upload,verify", "upload,verify", 422, 422, 422, 422, 422, 422, "upload,verify"],
    );
    const loaded = await batch(server, "download", [object, missing, { ...object, size: 5 }], {
      ref: null,
    });
    t.same(
      loaded.map(({ error, actions }) => error?.code ?? Object.keys(actions ?? {}).join()),
      ["download", 404, 422],
    );
    const [refused] = await batch(server, "upload", [object], { hash_algo: "sha512" });
    t.equal(refused?.error?.code, 409);
    t.same(await batch(server, "download", []), []);
  });

  t.test(
    `requests that are none say so, in JSON, and never with 422 where a transfer would read it (${transport})`,
    async (t) => {
      const server = await startLakepack(t, { args });
      const statusOf = async (reply: Promise<Response>) => (await reply).status;
      t.equal(await statusOf(send(server, { operation: "delete", objects: [] })), 422);
      t.equal(await statusOf(send(server, { operation: "upload" })), 422);
      t.equal(await statusOf(send(server, { operation: "upload", objects: [{ oid: 7 }] })), 422);
      t.equal(await statusOf(send(server, "null")), 422);
      t.equal(await statusOf(send(server, "{")), 400);
      t.equal(await statusOf(send(server, {}, "me/model", "text/plain")), 415);
      t.equal(
        await statusOf(
          send(server, `{"operation":"upload","objects":[],"x":"${"x".repeat(5 << 20)}"}`),
        ),
        413,
      );
      const objects = Array.from({ length: 10_001 }, () => ({ oid: "a".repeat(64), size: 1 }));
      t.equal(await statusOf(send(server, { operation: "upload", objects })), 413);
      t.equal(
        await statusOf(
          send(server, { operation: "upload", objects: [] }, "me/model", `${MEDIA}; charset=utf-8`),
        ),
        200,
      );
      const none = await send(server, { operation: "download", objects: [] }, "no/body");
      t.equal(none.status, 404);
      t.equal(none.headers.get("content-type"), MEDIA);
      t.match(await none.json(), { message: /not found/, request_id: /./ });
      for (const [file, status] of [
        ["locks/verify", 501],
        ["locks", 501],
        ["locks/1/unlock", 501],
        ["objects/zz/1", 404],
        ["objects", 404],
        ["", 404],
      ] as const) {
        const reply = await fetch(`${server.url}/me/model.git/info/lfs/${file}`, {
          method: "POST",
          headers: { "Content-Type": MEDIA },
          body: "{}",
        });
        t.equal(reply.status, status, file);
      }
    },
  );

  t.test(
    `wrong content is refused, never with 422, and leaves nothing (${transport})`,
    async (t) => {
      const { server } = await setUp(t, args);
      const content = randomBytes(200_000);
      const object = objectOf(content);
      const { upload, verify } = await uploadLink(server, object);
      t.equal(await put(upload, randomBytes(200_000)), 400, "other bytes");
      t.equal(await put(upload, content.subarray(1)), 400, "too few");
      t.equal(await put(upload, Buffer.concat([content, content])), 400, "too many");
      const body = new Blob([content, content]).stream();
      const chunked = await fetch(upload, {
        method: "PUT",
        body,
        duplex: "half",
      } as RequestInit).then(
        ({ status }) => status,
        () => 400,
      );
      t.equal(chunked, 400, "too many, of unknown length");
      await cutUpload(server, upload, content);
      const proven = (size: number) =>
        fetch(verify, {
          method: "POST",
          headers: { "Content-Type": MEDIA },
          body: JSON.stringify({ oid: object.oid, size }),
        });
      t.equal((await proven(object.size)).status, 404, "not there yet");
      await t.resolves(
        waitFor(async () => (await readdir(join(server.data, "incoming"))).length === 0),
        "nothing is left",
      );
      t.equal(await put(upload, content), 200);
      t.equal((await proven(object.size)).status, 200);
      t.equal((await proven(1)).status, 403, "a proof is for one size");
      t.equal(await put(upload, content), 200, "again is no failure");
    },
  );

  t.test(`a link opens what it was made for and nothing else (${transport})`, async (t) => {
    const { server, object, content } = await setUp(t, args);
    await makeRepository(t, server, "me/model");
    await makeRepository(t, server, "you/other");
    const [answer] = await batch(server, "download", [object]);
    const href = answer?.actions?.download?.href ?? "";
    t.ok(Buffer.from(await (await fetch(href)).arrayBuffer()).equals(content));
    const status = async (url: string, method = "GET") =>
      (await fetch(url, { method, ...(method === "PUT" ? { body: Buffer.from(content) } : {}) }))
        .status;
    t.equal(await status(href.replace("/me/model", "/you/other")), 403, "another repository");
    t.equal(await status(href.replace(/\?.*/, "")), 403, "no proof");
    t.equal(
      await status(href.replace(/.$/, (last) => (last === "0" ? "1" : "0"))),
      403,
      "another proof",
    );
    t.equal(await status(href.replace(/proof=\d+/, "proof=9999999999")), 403, "a later end");
    t.equal(await status(href, "PUT"), 403, "another purpose");
    t.equal(await status(href, "DELETE"), 405);
    const { upload } = await uploadLink(server, object, "you/other");
    t.ok(upload, "a stranger who names an object must bring it");
    const [stranger] = await batch(server, "download", [object], {}, "you/other");
    t.equal(stranger?.error?.code, 404);
    t.equal(await put(upload, content), 200);
    t.ok(
      (await batch(server, "download", [object], {}, "you/other"))[0]?.actions?.download,
      "and has it then",
    );
  });

  t.test(`ranges (${transport})`, async (t) => {
    const { server, object, content } = await setUp(t, args);
    await makeRepository(t, server, "me/model");
    const href = (await batch(server, "download", [object]))[0]?.actions?.download?.href ?? "";
    const ask = async (Range: string, more: Record<string, string> = {}) => {
      const reply = await fetch(href, { headers: { Range, ...more } });
      return {
        status: reply.status,
        range: reply.headers.get("content-range"),
        bytes: Buffer.from(await reply.arrayBuffer()),
      };
    };
    for (const [range, start, end] of [
      ["bytes=0-0", 0, 1],
      ["bytes=999999-", 999_999, 1e6],
      ["bytes=5-10", 5, 11],
      ["bytes=-7", 999_993, 1e6],
      ["bytes=300000-9999999", 300_000, 1e6],
    ] as const) {
      const { status, range: said, bytes } = await ask(range);
      t.same({ status, said }, { status: 206, said: `bytes ${start}-${end - 1}/1000000` }, range);
      t.ok(bytes.equals(content.subarray(start, end)), range);
    }
    for (const range of ["bytes=1000000-", "bytes=-0"])
      t.match(await ask(range), { status: 416, range: "bytes */1000000" }, range);
    for (const range of ["bytes=5-4", "bytes=0-1,5-6", "lines=0-1", "bytes=-", "bytes=a-b"])
      t.equal((await ask(range)).status, 200, range);
    t.equal((await ask("bytes=0-0", { "If-Range": '"other"' })).status, 200);
    t.equal((await ask("bytes=0-0", { "If-Range": `"${object.oid}"` })).status, 206);
    const head = await fetch(href, { method: "HEAD" });
    t.same([head.status, head.headers.get("allow")], [405, "GET, PUT"]);
  });
}

/** Sends half of a body and goes away. */
async function cutUpload(server: Lakepack, href: string, content: Uint8Array): Promise<void> {
  const { pathname, search } = new URL(href);
  const socket = connect(server.port, "127.0.0.1");
  await new Promise<void>((resolve) => socket.once("connect", () => resolve()));
  socket.write(
    `PUT ${pathname}${search} HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\nContent-Length: ${content.length}\r\n\r\n`,
  );
  socket.write(content.subarray(0, content.length / 2));
  await new Promise((wake) => setTimeout(wake, 100));
  socket.destroy();
}

async function waitFor(done: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if (await done()) return;
    await new Promise((wake) => setTimeout(wake, 50));
  }
  throw new Error("it did not come about");
}

t.test("a link to upload to a repository that is not made yet outlives a restart", async (t) => {
  const first = await startLakepack(t);
  const content = randomBytes(100);
  const object = objectOf(content);
  const { upload } = await uploadLink(first, object, "me/new");
  await first.stop();
  const second = await startLakepack(t, { data: first.data });
  const { pathname, search } = new URL(upload);
  t.equal(await put(`${second.url}${pathname}${search}`, content), 200);
  t.same((await batch(second, "upload", [object], {}, "me/new"))[0]?.actions, undefined);
  await makeRepository(t, second, "me/new");
  const [answer] = await batch(second, "download", [object], {}, "me/new");
  t.ok(answer?.actions?.download, "the push made the same repository");
});
