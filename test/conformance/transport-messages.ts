/** Messages over any HTTP front end: what arrives, what leaves, and how it is framed. */
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { utf8 } from "../../src/base/bytes.js";
import { Fault } from "../../src/base/fault.js";
import type { HttpRequest, HttpTransport } from "../../src/transport/http/contract.js";
import { RawClient, rawRequest } from "../support/raw-client.js";
import {
  GET,
  MIB,
  pattern,
  post,
  readAll,
  reply,
  type Serve,
  serveOn,
  sha,
  type Write,
} from "./transport-fixtures.js";

export function messageSuite(transport: HttpTransport): void {
  const serve: Serve = serveOn(transport);

  t.test("a request arrives as it was sent", async (t) => {
    let seen: HttpRequest | undefined;
    const { port } = await serve(t, async (request) => {
      seen = request;
      return reply(utf8("ok"));
    });
    await rawRequest(
      port,
      "GET /a%2fb//c.git/info/refs?service=x&y=%20 HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\nGit-Protocol: version=2\r\n\r\n",
    );
    t.match(seen, {
      method: "GET",
      path: "/a%2fb//c.git/info/refs",
      query: "service=x&y=%20",
      remote: "127.0.0.1",
    });
    t.equal(seen?.header("x-a"), "1, 2");
    t.equal(seen?.header("git-protocol"), "version=2");
    t.equal(seen?.header("absent"), undefined);
    t.match(seen?.id, /^\S{8,}$/);
  });

  t.test("bytes, and writers of few bytes, carry Content-Length and Date", async (t) => {
    const bodies: Record<string, Uint8Array | Write> = {
      "/bytes": utf8("hello"),
      "/empty": new Uint8Array(0),
      "/writer": async (sink) => {
        await sink.write(utf8("hel"));
        await sleep(20);
        await sink.write(utf8("lo"));
      },
      "/nothing": async () => undefined,
    };
    const { port } = await serve(t, async (request) => reply(bodies[request.path] ?? utf8("?")));
    for (const [path, text] of [
      ["/bytes", "hello"],
      ["/empty", ""],
      ["/writer", "hello"],
      ["/nothing", ""],
    ] as const) {
      const response = await rawRequest(port, `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
      t.equal(response.body.toString(), text, path);
      t.equal(response.headers.get("content-length"), String(text.length), path);
      t.equal(response.headers.get("content-type"), "text/plain");
      t.ok(
        Math.abs(Date.parse(response.headers.get("date") ?? "") - Date.now()) < 5_000,
        "one Date, of now",
      );
      t.notOk(response.headers.has("transfer-encoding"));
    }
  });

  t.test("a writer may reuse its buffer as soon as write resolves", async (t) => {
    const expected = Buffer.concat([1, 2, 3, 4].map((fill) => Buffer.alloc(700_000, fill)));
    const { port } = await serve(t, async (request) =>
      reply(async (sink) => {
        if (request.path === "/large") sink.expect?.("large");
        if (request.path === "/sized") sink.expect?.(expected.length);
        const buffer = Buffer.alloc(700_000);
        for (const fill of [1, 2, 3, 4]) {
          buffer.fill(fill);
          await sink.write(buffer);
        }
        buffer.fill(9);
      }),
    );
    for (const path of ["/held", "/large", "/sized"]) {
      const response = await rawRequest(port, `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
      t.ok(response.whole && response.body.equals(expected), path);
      t.equal(response.headers.has("content-length"), path !== "/large", path);
    }
  });

  t.test("above 8 MiB a reply is chunked, and whole", async (t) => {
    const data = pattern(20 * MIB);
    const { port } = await serve(t, async () =>
      reply(async (sink) => {
        for (let at = 0; at < data.length; at += 256 * 1024)
          await sink.write(data.subarray(at, at + 256 * 1024));
      }),
    );
    const response = await rawRequest(port, GET);
    t.equal(response.headers.get("transfer-encoding"), "chunked");
    t.ok(response.whole);
    t.equal(sha(response.body), sha(data));
  });

  t.test("a slow writer is chunked after the holding time", async (t) => {
    const { port } = await serve(
      t,
      async () =>
        reply(async (sink) => {
          await sink.write(utf8("first "));
          await sleep(400);
          await sink.write(utf8("second"));
        }),
      { holdMs: 100 },
    );
    const client = new RawClient(port).send(GET);
    await sleep(250);
    t.ok(client.receivedBytes > 0, "the first part is there before the second is written");
    const response = await client.response();
    client.close();
    t.equal(response.headers.get("transfer-encoding"), "chunked");
    t.equal(response.body.toString(), "first second");
  });

  t.test("what a writer throws before the head has left is an error reply", async (t) => {
    const { port } = await serve(
      t,
      async (request) => {
        if (request.path === "/handler") throw new Fault("repository/missing", { name: "a/b" });
        return reply(async (sink) => {
          if (request.path === "/late") await sleep(250);
          else if (request.path === "/expected") sink.expect?.(10_000);
          else await sink.write(utf8("some bytes, held back"));
          throw new Fault("pool/saturated");
        });
      },
      { holdMs: 100 },
    );
    for (const [path, status] of [
      ["/handler", 404],
      ["/held", 503],
      ["/late", 503],
      ["/expected", 503],
    ] as const) {
      const response = await rawRequest(port, `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
      t.equal(response.status, status, path);
      t.match(response.headers.get("content-type"), /^text\/plain/);
      t.match(response.body.toString(), /^lakepack: .*\nrequest \S+\n$/s, path);
      t.equal(response.headers.has("retry-after"), status === 503);
      t.notMatch(response.body.toString(), /some bytes/);
    }
  });

  t.test(
    "what it throws after that cuts the connection: no part is taken for the whole",
    async (t) => {
      const { port } = await serve(t, async (request) =>
        reply(async (sink) => {
          if (request.path === "/chunked") sink.expect?.("large");
          if (request.path === "/sized" || request.path === "/short") sink.expect?.(1_000);
          await sink.write(utf8("part"));
          await sleep(20);
          if (request.path === "/more") {
            sink.expect?.(1);
            return;
          }
          if (request.path !== "/short") throw new Error("broken");
        }),
      );
      for (const path of ["/chunked", "/sized", "/short"]) {
        const response = await rawRequest(port, `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
        t.equal(response.status, 200, path);
        t.notOk(response.whole, path);
      }
    },
  );

  t.test("HEAD has the head of GET and no body, and keeps the connection in step", async (t) => {
    const { port } = await serve(t, async () => reply(async (sink) => sink.write(utf8("hello"))));
    const client = new RawClient(port).send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    const head = await client.response({ method: "HEAD" });
    t.equal(head.headers.get("content-length"), "5");
    client.send(GET);
    t.equal((await client.response()).body.toString(), "hello");
    client.close();
  });

  t.test("bodies arrive whole: by length, by chunks, in one byte pieces, large", async (t) => {
    const { port } = await serve(t, async (request) =>
      reply(utf8(sha(await readAll(request.body)))),
    );
    const data = pattern(20 * MIB);
    t.equal((await rawRequest(port, post(data))).body.toString(), sha(data), "20 MiB by length");
    const client = new RawClient(port).send(
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    for (let at = 0; at < data.length; at += 300_001) {
      const piece = data.subarray(at, at + 300_001);
      client
        .send(`${piece.length.toString(16)}\r\n`)
        .send(piece)
        .send("\r\n");
    }
    client.send("0\r\n\r\n");
    t.equal((await client.response()).body.toString(), sha(data), "20 MiB in chunks");
    for (const byte of Buffer.from(post("0011command=x0000\n")))
      await client.sent(Uint8Array.of(byte));
    t.equal(
      (await client.response()).body.toString(),
      sha(utf8("0011command=x0000\n")),
      "byte by byte, on the same connection",
    );
    client.close();
    t.equal((await rawRequest(port, GET)).body.toString(), sha(utf8("")), "no body");
  });

  t.test("an answer before the body is read leaves the connection in step", async (t) => {
    const { port } = await serve(t, async (request) => {
      if (request.path === "/early") return reply(utf8("no"), 403);
      return reply(await readAll(request.body));
    });
    for (const size of [10, 70_000, 3 * MIB]) {
      const client = new RawClient(port).send(post(pattern(size), "", "/early")).send(post("next"));
      t.equal((await client.response()).status, 403, `${size}`);
      t.equal((await client.response()).body.toString(), "next", `${size}`);
      client.close();
    }
  });

  t.test("requests on one connection are answered in order", async (t) => {
    const { port } = await serve(t, async (request) => {
      if (request.path === "/slow") await sleep(100);
      return reply(utf8(request.path));
    });
    const client = new RawClient(port).send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
    t.equal((await client.response()).body.toString(), "/slow");
    client.send("GET /fast HTTP/1.1\r\nHost: x\r\n\r\n");
    t.equal((await client.response()).body.toString(), "/fast");
    client.close();
  });

  t.test("a body whose length is ambiguous is refused", async (t) => {
    const reached: string[] = [];
    const { port } = await serve(t, async (request) => {
      reached.push((await readAll(request.body)).toString());
      return reply(utf8("taken"));
    });
    const requests = {
      "two lengths": "Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
      "length and chunks":
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
      "not a length": "Content-Length: +3\r\n\r\nabc",
      negative: "Content-Length: -3\r\n\r\nabc",
      "a coding we do not undo": "Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    };
    for (const [name, rest] of Object.entries(requests)) {
      const client = new RawClient(port).send(`POST / HTTP/1.1\r\nHost: x\r\n${rest}`);
      const status = await client.response().then(
        (response) => response.status,
        () => 0,
      );
      t.ok(status === 400 || status === 0, `${name}: ${status}`);
      await sleep(30);
      t.ok(client.ended, `${name}: nothing more is read from this connection`);
      client.close();
    }
    t.same(reached, []);
  });

  t.test("Expect: 100-continue is answered", async (t) => {
    const { port } = await serve(t, async (request) => reply(await readAll(request.body)));
    const client = new RawClient(port).send(
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
    );
    t.equal((await client.response()).status, 100);
    client.send("body");
    t.equal((await client.response()).body.toString(), "body");
    client.close();
  });

  t.test("headers of 3 KB pass, of 20 KB are refused", async (t) => {
    const { port } = await serve(t, async () => reply(utf8("ok")));
    const withHeader = (bytes: number) =>
      `GET / HTTP/1.1\r\nHost: x\r\nAuthorization: ${"a".repeat(bytes)}\r\n\r\n`;
    t.equal((await rawRequest(port, withHeader(3_000))).status, 200);
    t.equal((await rawRequest(port, withHeader(20_000))).status, 431);
  });
}
