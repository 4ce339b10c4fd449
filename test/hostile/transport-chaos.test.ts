/**
 * Clients that break off anywhere, in hundreds at once: the front end neither dies nor forgets one,
 * and serves the next as ever.
 */
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { utf8 } from "../../src/base/bytes.js";
import type { HttpRequest } from "../../src/transport/http/contract.js";
import { loadTransport } from "../../src/transport/load.js";
import { seeded } from "../support/random.js";
import { RawClient, rawRequest } from "../support/raw-client.js";

const PIECE = Buffer.alloc(100_000, 0x61);

/**
 * Does something different for every path, with waits in between so that a client can be gone at
 * any step.
 */
async function handler(request: HttpRequest) {
  if (request.path === "/early") return { status: 403, headers: [], body: utf8("no") };
  let bytes = 0;
  for (
    let chunk = await request.body.read();
    chunk !== undefined;
    chunk = await request.body.read()
  )
    bytes += chunk.length;
  if (request.path === "/wait") await sleep(20);
  if (request.path === "/fail") throw new Error("on purpose");
  return {
    status: 200,
    headers: [],
    body: async (sink: import("../../src/base/flow.js").ByteSink) => {
      if (request.path === "/sized") sink.expect?.(40 * PIECE.length);
      if (request.path === "/large") sink.expect?.("large");
      for (let at = 0; at < 40; at++) {
        await sink.write(PIECE);
        if (at % 7 === 0) await sleep(1);
        if (request.path === "/break" && at === 20) throw new Error(`after ${bytes} bytes`);
      }
    },
  };
}

for (const kind of ["uws", "node"] as const) {
  const transport = await loadTransport(kind).catch(() => undefined);
  if (transport === undefined) {
    t.pass(`${kind} skipped`, { skip: "uWebSockets.js does not load on this machine" });
    continue;
  }
  t.test(`${kind}: 600 connections that end at random`, { timeout: 60_000 }, async (t) => {
    const open = new Set<string>();
    let seen = 0;
    const listener = await transport.listen({
      host: "127.0.0.1",
      port: 0,
      handler: async (request) => {
        seen++;
        open.add(request.id);
        const { status, headers, body } = await handler(request).catch((error: unknown) => {
          open.delete(request.id);
          throw error;
        });
        if (body instanceof Uint8Array) {
          open.delete(request.id);
          return { status, headers, body };
        }
        return {
          status,
          headers,
          body: (sink) => body(sink).finally(() => open.delete(request.id)),
        };
      },
      times: { idleMs: 2_000, tickMs: 50 },
    });
    t.teardown(() => listener.close(0));
    const random = seeded(99);
    const visit = async (): Promise<void> => {
      const path = random.pick(["/sized", "/large", "/held", "/early", "/fail", "/break", "/wait"]);
      const body = random.below(3) === 0 ? 0 : random.below(300_000);
      const sent = random.below(4) === 0 ? random.below(body + 1) : body;
      const client = new RawClient(listener.port)
        .send(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body}\r\n\r\n`)
        .send(Buffer.alloc(sent));
      if (random.below(4) === 0) client.socket.pause();
      await sleep(random.below(120));
      if (random.below(2) === 0) client.socket.resetAndDestroy();
      else client.close();
    };
    for (let round = 0; round < 12; round++) await Promise.all(Array.from({ length: 50 }, visit));
    for (let wait = 0; wait < 60 && open.size > 0; wait++) await sleep(100);
    t.same([...open], [], `all ${seen} requests that came have ended`);
    t.ok(seen > 200, `${seen} requests came`);
    t.equal(
      (
        await rawRequest(
          listener.port,
          "POST /held HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab",
        )
      ).body.length,
      40 * PIECE.length,
    );
  });
}
