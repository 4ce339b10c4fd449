/**
 * A client that sends faster than its request is read decides nothing about our memory, on either
 * front end.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import type { HttpHandler } from "../../src/transport/http/contract.js";
import { transport as node } from "../../src/transport/http/node.js";
import { transport as uws } from "../../src/transport/http/uws.js";
import { tempFolder } from "../support/temp-folder.js";

const MIB = 1024 * 1024;
const PIECES = 120;
/** Bytes that wait, or that the collector has not taken yet. */
const HELD_MAX = 48 * MIB;

/** A process of its own: one in ours would send nothing while we read. */
const CLIENT = `
const c = require("node:net").connect(Number(process.argv[1]), "127.0.0.1");
c.write("PUT /x HTTP/1.1\\r\\nhost: a\\r\\nconnection: close\\r\\ncontent-length: ${PIECES * MIB}\\r\\n\\r\\n");
let at = 0;
const send = () => { while (at < ${PIECES}) if (!c.write(Buffer.alloc(${MIB}, at++ % 251))) return c.once("drain", send); };
send();
c.resume().on("end", () => process.exit());
`;

for (const transport of [uws, node])
  t.test(
    `${transport.kind}: a body that comes faster than it is read`,
    { timeout: 60_000 },
    async (t) => {
      const expected = createHash("sha256");
      for (let at = 0; at < PIECES; at++) expected.update(Buffer.alloc(MIB, at % 251));
      let most = 0;
      const before = process.memoryUsage().arrayBuffers;
      let onRead: (sha256: string) => void = () => undefined;
      const whole = new Promise<string>((resolve) => {
        onRead = resolve;
      });
      const handler: HttpHandler = async ({ body }) => {
        const hash = createHash("sha256");
        let bytes = 0;
        for (let chunk = await body.read(); chunk !== undefined; chunk = await body.read()) {
          hash.update(chunk);
          most = Math.max(most, process.memoryUsage().arrayBuffers - before);
          const pieces = Math.floor(bytes / MIB);
          bytes += chunk.length;
          if (Math.floor(bytes / MIB) > pieces) await sleep(5);
        }
        onRead(hash.digest("hex"));
        return { status: 200, headers: [], body: new Uint8Array(0) };
      };
      const listener = await transport.listen({
        host: "127.0.0.1",
        port: 0,
        handler,
        overflowFolder: await tempFolder(t),
      });
      t.teardown(() => listener.close(0));
      const client = spawn(process.execPath, ["-e", CLIENT, String(listener.port)], {
        stdio: "inherit",
      });
      t.equal(await whole, expected.digest("hex"), "every byte, in order");
      t.comment(`${Math.round(most / MIB)} MiB were held at most`);
      t.ok(most < HELD_MAX);
      await new Promise((resolve) => void client.once("close", resolve));
    },
  );
