/**
 * Answers of lakeFS and block stores as they arrive: slow readers, and servers that close the
 * connection behind an answer.
 */
import { createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import type { Test } from "tap";
import { LakefsHttp } from "../../src/lakefs/api/http.js";

/** A server that answers every request with `answer`; each connection serves one. */
async function serve(t: Test, answer: (socket: Socket) => void): Promise<LakefsHttp> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.once("data", () => answer(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return new LakefsHttp({
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    accessKeyId: "key",
    secretAccessKey: "secret",
  });
}

const CALL = { name: "test", method: "GET", path: "/x", repeatable: false } as const;

t.test(
  "a slow reader of an answer behind which the connection is closed gets all of it",
  { timeout: 120_000 },
  async (t) => {
    for (const bytes of [
      1, 16_384, 65_536, 65_537, 131_072, 262_144, 262_145, 300_000, 524_288, 1_000_000,
    ]) {
      const http = await serve(t, (socket) =>
        socket.end(
          Buffer.concat([
            Buffer.from(`HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${bytes}\r\n\r\n`),
            Buffer.alloc(bytes, 7),
          ]),
        ),
      );
      const { body } = await http.stream({ ...CALL, signal: new AbortController().signal });
      await sleep(60);
      let read = 0;
      for await (const piece of body) {
        read += piece.length;
        if (read === piece.length) await sleep(60);
      }
      t.equal(read, bytes);
    }
  },
);

t.test(
  "a connection that is cut in the middle throws; nobody takes a part for the whole",
  async (t) => {
    const http = await serve(t, (socket) =>
      socket.end(
        Buffer.concat([
          Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n"),
          Buffer.alloc(300_000),
        ]),
      ),
    );
    const { body } = await http.stream({ ...CALL, signal: new AbortController().signal });
    await t.rejects(
      async () => {
        for await (const _ of body) await sleep(1);
      },
      { code: "lakefs/unreachable" },
    );
  },
);

t.test("what is not read is not held: a server may not fill our memory", async (t) => {
  let sent = 0;
  const http = await serve(t, (socket) => {
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    const more = () => {
      for (let taken = true; taken && sent < 1_000_000_000; sent += 65_536)
        taken = socket.write(Buffer.alloc(65_536));
    };
    socket.on("drain", more);
    more();
  });
  const abort = new AbortController();
  const { body } = await http.stream({ ...CALL, signal: abort.signal });
  await sleep(500);
  t.ok(sent < 50_000_000, `${sent} bytes were taken of a gigabyte nobody read`);
  for await (const piece of body) {
    t.ok(piece.length > 0);
    break;
  }
  abort.abort();
});

t.test("an abort ends the reading", async (t) => {
  const http = await serve(
    t,
    (socket) => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"),
  );
  const abort = new AbortController();
  const { body } = await http.stream({ ...CALL, signal: abort.signal });
  setTimeout(() => abort.abort(), 50);
  await t.rejects(
    async () => {
      for await (const _ of body) await sleep(1);
    },
    { code: "base/aborted" },
  );
});
