/** Connections of any HTTP front end: slow ones, dead ones, and the listener itself. */
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { utf8 } from "../../src/base/bytes.js";
import type { Fault } from "../../src/base/fault.js";
import type { HttpTransport } from "../../src/transport/http/contract.js";
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
} from "./transport-fixtures.js";

export function connectionSuite(transport: HttpTransport): void {
  const serve: Serve = serveOn(transport);

  t.test("a body nobody reads stops the sender: memory is bounded", async (t) => {
    let release: (() => void) | undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { port } = await serve(t, async (request) => {
      await held;
      return reply(utf8(String((await readAll(request.body)).length)));
    });
    const client = new RawClient(port).send(
      `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${64 * MIB}\r\n\r\n`,
    );
    let sent = 0;
    const sending = (async () => {
      for (; sent < 64; sent++) await client.sent(Buffer.alloc(MIB));
    })();
    await sleep(700);
    t.ok(sent < 24, `${sent} MiB left the client while nobody read`);
    release?.();
    await sending;
    t.equal((await client.response()).body.toString(), String(64 * MIB));
    client.close();
  });

  t.test("a reader that stalls stops the writer: memory is bounded", async (t) => {
    let written = 0;
    const data = pattern(256 * 1024);
    const { port } = await serve(t, async () =>
      reply(async (sink) => {
        sink.expect?.("large");
        for (; written < 256; written++) await sink.write(data);
      }),
    );
    const client = new RawClient(port).send(GET);
    client.socket.pause();
    await sleep(700);
    t.ok(written < 80, `${written / 4} MiB were written while nobody read`);
    client.socket.resume();
    const response = await client.response();
    t.ok(response.whole);
    t.equal(response.body.length, 64 * MIB);
    client.close();
  });

  t.test("a sized reply survives a reader that stalls", async (t) => {
    const data = pattern(32 * MIB);
    const { port } = await serve(t, async () =>
      reply(async (sink) => {
        sink.expect?.(data.length);
        for (let at = 0; at < data.length; at += 256 * 1024)
          await sink.write(data.subarray(at, at + 256 * 1024));
      }),
    );
    const client = new RawClient(port).send(GET);
    for (let pause = 0; pause < 4; pause++) {
      client.socket.pause();
      await sleep(100);
      client.socket.resume();
      await sleep(5);
    }
    const response = await client.response();
    t.equal(response.headers.get("content-length"), String(data.length));
    t.equal(sha(response.body), sha(data));
    client.close();
  });

  t.test(
    "connections that are slow but alive outlast the front end's own clock",
    { timeout: 60_000 },
    async (t) => {
      const data = Buffer.alloc(16 * MIB, 7);
      const { port } = await serve(t, async (request) => {
        if (request.path === "/sender")
          return reply(utf8(String((await readAll(request.body)).length)));
        if (request.path === "/thinker") await sleep(14_000);
        return reply(async (sink) => {
          if (request.path === "/reader") sink.expect?.(data.length);
          else if (request.path === "/chunks") sink.expect?.("large");
          await sink.write(data);
        });
      });
      const sender = async () => {
        const client = new RawClient(port).send(
          "POST /sender HTTP/1.1\r\nHost: x\r\nContent-Length: 112000\r\n\r\n",
        );
        for (let second = 0; second < 14; second++) {
          client.send(new Uint8Array(8_000));
          await sleep(1_000);
        }
        return client.response().finally(() => client.close());
      };
      const reader = async (path: string) => {
        const client = new RawClient(port).send(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
        await sleep(50);
        client.socket.pause();
        await sleep(14_000);
        client.socket.resume();
        return client.response().finally(() => client.close());
      };
      const [sent, sized, chunked, thought] = await Promise.all([
        sender(),
        reader("/reader"),
        reader("/chunks"),
        reader("/thinker"),
      ]);
      t.equal(sent.body.toString(), "112000", "a sender at 8 KB/s for 14 s");
      t.ok(
        sized.whole && sized.body.equals(data),
        "a reader of a sized reply that stalls for 14 s",
      );
      t.ok(
        chunked.whole && chunked.body.equals(data),
        "a reader of a chunked reply that stalls for 14 s",
      );
      t.ok(thought.whole && thought.body.equals(data), "a reply that begins after 14 s");
    },
  );

  t.test(
    "a chunked reply is not over before its reader has taken it: the end of one that stalls is not lost",
    { timeout: 60_000 },
    async (t) => {
      const data = pattern(3 * MIB + 12_345);
      let ended = 0;
      const { port } = await serve(t, async () =>
        reply(async (sink) => {
          sink.expect?.("large");
          for (let at = 0; at < data.length; at += 100_000)
            await sink.write(data.subarray(at, at + 100_000));
          ended++;
        }),
      );
      const read = async (pauseAfter: number) => {
        const client = new RawClient(port).send(GET);
        client.socket.on("data", () => {
          if (client.receivedBytes < pauseAfter || client.socket.isPaused()) return;
          client.socket.pause();
          pauseAfter = Number.POSITIVE_INFINITY;
          setTimeout(() => client.socket.resume(), 14_000);
        });
        return client.response().finally(() => client.close());
      };
      const whole = await Promise.all([1, 1_000, 100_000, 500_000, 1_500_000, 3_000_000].map(read));
      for (const { body, whole: isWhole } of whole) t.ok(isWhole && body.equals(data));
      t.equal(ended, whole.length);
    },
  );

  t.test("chunked replies of any size in any pieces arrive as they were written", async (t) => {
    const data = pattern(1_000);
    const { port } = await serve(t, async (request) =>
      reply(async (sink) => {
        sink.expect?.("large");
        const [size = 0, piece = 1] = request.path.slice(1).split("-").map(Number);
        for (let at = 0; at < size; at += piece)
          await sink.write(data.subarray(at, Math.min(size, at + piece)));
      }),
    );
    for (const size of [0, 1, 63, 64, 65, 127, 128, 129, 200, 1_000])
      for (const piece of [1, 7, 63, 64, 65, 128, 1_000]) {
        const { body } = await rawRequest(
          port,
          `GET /${size}-${piece} HTTP/1.1\r\nHost: x\r\n\r\n`,
        );
        if (!body.equals(data.subarray(0, size)))
          t.fail(`${size} bytes in pieces of ${piece}: ${body.length}`);
      }
  });

  t.test(
    "a client that keeps us waiting is cut, whichever way, and nothing waits for it",
    async (t) => {
      const ends: string[] = [];
      const { port } = await serve(
        t,
        async (request) => {
          request.signal.addEventListener("abort", () => ends.push(`${request.path} signal`));
          if (request.path === "/sender")
            await readAll(request.body).catch((error: Fault) => ends.push(`body ${error.code}`));
          return reply(async (sink) => {
            sink.expect?.("large");
            try {
              for (let piece = 0; piece < 400; piece++) await sink.write(Buffer.alloc(256 * 1024));
            } catch (error) {
              if (request.path === "/reader") ends.push(`write ${(error as Fault).code}`);
              throw error;
            }
          });
        },
        { idleMs: 500, tickMs: 100 },
      );
      const sender = new RawClient(port).send(
        "POST /sender HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc",
      );
      const reader = new RawClient(port).send("GET /reader HTTP/1.1\r\nHost: x\r\n\r\n");
      reader.socket.pause();
      await sleep(1_500);
      t.same(ends.sort(), [
        "/reader signal",
        "/sender signal",
        "body base/timeout",
        "write base/timeout",
      ]);
      t.ok(sender.ended, "the sender's connection is closed");
      sender.close();
      reader.close();
    },
  );

  t.test(
    "a body that drips for ever, a byte before each limit of idleness, is cut by its rate; a transfer that goes on is not",
    { timeout: 60_000 },
    async (t) => {
      const ends: string[] = [];
      const { port } = await serve(
        t,
        async (request) => {
          if (request.path === "/sender")
            await readAll(request.body).catch((error: Fault) => {
              ends.push(`sender ${error.code}`);
              throw error;
            });
          return reply(async (sink) => {
            sink.expect?.("large");
            try {
              for (;;) await sink.write(Buffer.alloc(256 * 1024));
            } catch (error) {
              ends.push(`reader ${(error as Fault).code}`);
              throw error;
            }
          });
        },
        { idleMs: 1_000, rateWindowMs: 3_000, bodyRateBytesMin: 20, silentMs: 2_000, tickMs: 100 },
      );
      const sender = new RawClient(port).send(
        "POST /sender HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n",
      );
      const reader = new RawClient(port).send("GET /reader HTTP/1.1\r\nHost: x\r\n\r\n");
      // The system holds what it has taken for the reader: it reads all of that at once, now and
      // then.
      for (let step = 0; step < 20; step++) {
        sender.send("x");
        reader.socket.resume();
        await sleep(100);
        reader.socket.pause();
        await sleep(200);
      }
      t.same(ends, ["sender base/timeout"], "who takes what there is may take as long as it likes");
      await sleep(200);
      t.ok(sender.ended, "the other's connection is closed");
      sender.close();
      reader.close();
    },
  );

  t.test(
    "a reply that is taken too slowly is cut, and one at the least rate is not",
    { timeout: 60_000 },
    async (t) => {
      const ends = new Map<string, string>();
      const { port } = await serve(
        t,
        async (request) =>
          reply(async (sink) => {
            sink.expect?.("large");
            try {
              for (;;) await sink.write(Buffer.alloc(64 * 1024));
            } catch (error) {
              ends.set(request.path, (error as Fault).code);
              throw error;
            }
          }),
        { rateWindowMs: 1_500, rateBytesMin: 1_000_000, tickMs: 100 },
      );
      const slow = new RawClient(port).send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
      const fast = new RawClient(port).send("GET /fast HTTP/1.1\r\nHost: x\r\n\r\n");
      slow.socket.pause();
      for (let step = 0; step < 60 && !ends.has("/slow"); step++) {
        // What the system holds for it is some megabytes; then a little now and again, which a
        // limit of idleness would let pass.
        slow.socket.read(1_000);
        await sleep(100);
      }
      t.equal(ends.get("/slow"), "base/timeout");
      t.notOk(ends.has("/fast"), "who takes all there is goes on");
      slow.close();
      fast.close();
    },
  );

  t.test(
    "an address has so many connections, and another has its own",
    { timeout: 60_000 },
    async (t) => {
      let release: () => void = () => undefined;
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      const { port } = await serve(
        t,
        async (request) => {
          if (request.path === "/hold") await held;
          return reply(utf8("ok"));
        },
        {},
        {
          connections: {
            max: 5,
            exempts: (address) => address.includes("7f00:0009") || address === "127.0.0.9",
          },
        },
      );
      const from = (localAddress: string) =>
        new RawClient(port, "127.0.0.1", connect({ port, host: "127.0.0.1", localAddress }));
      const holding = Array.from({ length: 5 }, () =>
        from("127.0.0.2").send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"),
      );
      await sleep(200);
      await t.rejects(from("127.0.0.2").send(GET).response(), "the sixth is closed");
      t.equal((await from("127.0.0.3").send(GET).response()).status, 200, "another address");
      const many = Array.from({ length: 12 }, () =>
        from("127.0.0.9").send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"),
      );
      await sleep(200);
      t.same(
        many.filter(({ ended }) => ended),
        [],
        "a trusted proxy stands for many",
      );
      release();
      for (const client of [...holding, ...many]) t.equal((await client.response()).status, 200);
      for (const client of holding) client.close();
      await sleep(200);
      const again = from("127.0.0.2").send(GET);
      t.equal((await again.response()).status, 200, "there is room again");
      for (const client of [...many, again]) client.close();
    },
  );

  t.test("a request of which nothing passes for ever is cut", async (t) => {
    let aborted: unknown;
    const { port } = await serve(
      t,
      async (request) => {
        await new Promise<void>((resolve) =>
          request.signal.addEventListener("abort", () => {
            aborted = request.signal.reason;
            resolve();
          }),
        );
        throw aborted;
      },
      { silentMs: 400, tickMs: 100 },
    );
    await t.rejects(rawRequest(port, GET));
    t.match(aborted, { code: "base/timeout" });
  });

  t.test(
    "a connection that idles after its requests is closed, whatever they were",
    { timeout: 60_000 },
    async (t) => {
      const { port } = await serve(t, async (request) => {
        if (request.path === "/read") await readAll(request.body);
        if (request.path === "/late") await sleep(50);
        if (request.path !== "/chunks") return reply(utf8("ok"));
        return reply(async (sink) => {
          sink.expect?.("large");
          await sink.write(utf8("chunk"));
        });
      });
      const idles: readonly (readonly [string, ...(string | Uint8Array)[]])[] = [
        ["one", GET],
        ["two", GET, GET],
        ["a late reply", "GET /late HTTP/1.1\r\nHost: x\r\n\r\n"],
        ["a chunked reply", "GET /chunks HTTP/1.1\r\nHost: x\r\n\r\n"],
        ["a body that is read", post("body", "", "/read")],
        ["a body that is not", post("body")],
        ["none", ""],
      ];
      const left = await Promise.all(
        idles.map(async ([name, ...requests]) => {
          const client = new RawClient(port);
          for (const request of requests)
            if (request.length > 0) await client.send(request).response();
          for (let second = 0; second < 25 && !client.ended; second++) await sleep(1_000);
          client.close();
          return client.ended ? [] : [name];
        }),
      );
      t.same(left.flat(), []);
    },
  );

  t.test(
    "a body that drips on behind its reply is not taken for ever",
    { timeout: 60_000 },
    async (t) => {
      const { port } = await serve(t, async () => reply(utf8("no"), 403), {
        unreadBodyMs: 2_000,
        tickMs: 100,
      });
      const client = new RawClient(port).send(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n",
      );
      t.equal((await client.response()).status, 403);
      for (let second = 0; second < 25 && !client.ended; second++) {
        client.send("x");
        await sleep(1_000); // uWebSockets.js has its own idea of too slow: some 12 s
      }
      t.ok(client.ended);
      client.close();
    },
  );

  t.test("a client that goes is noticed: in its body, while we think, in the reply", async (t) => {
    const ends: string[] = [];
    const { port } = await serve(t, async (request) => {
      const gone = new Promise<void>((resolve) =>
        request.signal.addEventListener("abort", () => resolve()),
      );
      if (request.path === "/body")
        await readAll(request.body).catch((error: Fault) => {
          ends.push(`body ${error.code}`);
          throw error;
        });
      if (request.path === "/think") await gone.then(() => ends.push("think"));
      return reply(async (sink) => {
        sink.expect?.("large");
        try {
          for (;;) await sink.write(Buffer.alloc(256 * 1024));
        } catch (error) {
          if (request.path === "/reply") ends.push(`write ${(error as Fault).code}`);
          throw error;
        }
      });
    });
    const clients = [
      new RawClient(port).send(
        "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf",
      ),
      new RawClient(port).send("GET /think HTTP/1.1\r\nHost: x\r\n\r\n"),
      new RawClient(port).send("GET /reply HTTP/1.1\r\nHost: x\r\n\r\n"),
    ];
    await sleep(150);
    for (const client of clients) client.close();
    await sleep(300);
    t.same(ends.sort(), ["body base/aborted", "think", "write base/aborted"]);
  });

  t.test("a body that ends before its Content-Length is a fault at once", async (t) => {
    const ends: string[] = [];
    const { port } = await serve(t, async (request) => {
      await readAll(request.body).catch((error: Fault) => {
        ends.push(error.code);
        throw error;
      });
      return reply(utf8("whole"));
    });
    const client = new RawClient(port).send(
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf",
    );
    client.socket.end();
    await sleep(300);
    t.same(ends, ["base/aborted"]);
    client.close();
  });

  t.test("closing lets running requests end within their grace, and cuts the rest", async (t) => {
    const listener = await transport.listen({
      host: "127.0.0.1",
      port: 0,
      handler: async (request) => {
        await sleep(request.path === "/short" ? 200 : 60_000, undefined, {
          signal: request.signal,
        }).catch(() => undefined);
        return reply(utf8("done"));
      },
    });
    const short = new RawClient(listener.port).send("GET /short HTTP/1.1\r\nHost: x\r\n\r\n");
    const long = new RawClient(listener.port).send("GET /long HTTP/1.1\r\nHost: x\r\n\r\n");
    await sleep(50);
    const closed = listener.close(600);
    t.equal((await short.response()).body.toString(), "done");
    await closed;
    await t.rejects(long.response(), "the long one is cut");
    await t.rejects(rawRequest(listener.port, GET), "nobody listens any more");
    short.close();
    long.close();
  });

  t.test("a port is taken alone", async (t) => {
    const { port } = await serve(t, async () => reply(utf8("first")));
    await t.rejects(
      transport.listen({ host: "127.0.0.1", port, handler: async () => reply(utf8("second")) }),
      {
        code: "settings/bad-value",
      },
    );
  });
}
