/**
 * A server whose pool is full: pushes are refused before a byte of their body was sent, and who has
 * little waiting is still taken.
 */
import t from "tap";
import { task } from "../../src/pool/task.js";
import { loadKernels } from "../../src/cli/server/kernels.js";
import { createLog } from "../../src/observe/log.js";
import { createPool } from "../../src/pool/pool.js";
import type { Repository } from "../../src/serve/conversation/conversation.js";
import { TRUSTED } from "../../src/auth/caller.js";
import type { RouteDoor } from "../../src/serve/repositories/door.js";
import { GitServer, type ServerOptions } from "../../src/serve/git-server.js";
import { createRoutes } from "../../src/transport/http/routes.js";
import { loadTransport } from "../../src/transport/load.js";
import { RawClient } from "../support/raw-client.js";

const doors = new URL("../pool/doors/", import.meta.url).href;

for (const kind of ["uws", "node"] as const) {
  const transport = await loadTransport(kind).catch(() => undefined);
  if (transport === undefined) {
    t.pass(`${kind} skipped`, { skip: "uWebSockets.js does not load on this machine" });
    continue;
  }
  t.test(`${kind}: 503 with Retry-After before any work`, { timeout: 60_000 }, async (t) => {
    const pool = createPool({ kernelsModule: await loadKernels(), threads: 1, queueMax: 4, doors });
    t.teardown(() => pool.close());
    const offer = {
      agent: "test",
      allowTipInWant: false,
      allowReachableInWant: false,
      atomic: true,
    };
    const options = {
      version: "test",
      pool,
      offer,
      log: createLog("silent"),
      metrics: { requestEnded: () => undefined },
      fetch: {},
    } as unknown as ServerOptions;
    const server = new GitServer(options);
    const resolve: RouteDoor["resolve"] = async ({ namespace, name }) =>
      ({
        id: `${namespace}/${name}`,
        title: name,
        atomic: true,
        notices: [],
      }) as unknown as Repository;
    const door = { identify: async () => TRUSTED, resolve } as unknown as RouteDoor;
    const listener = await transport.listen({
      host: "127.0.0.1",
      port: 0,
      handler: createRoutes(server, door, { loopbackOnly: true, corsOrigins: [] }),
    });
    t.teardown(() => listener.close(0));
    const push = async (name: string) => {
      const client = new RawClient(listener.port).send(
        `POST /ns/${name}.git/git-receive-pack HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-git-receive-pack-request\r\nContent-Length: 1000000\r\n\r\n`,
      );
      t.teardown(() => client.close());
      return client.response();
    };
    const crowd = pool.sharedBy({ repository: "ns/crowded", caller: "somebody" });
    const tasks = Array.from({ length: 4 }, () =>
      crowd.run(task("probe/listen"), { ms: 1_000 } as never),
    );
    const refused = await push("crowded");
    t.match(
      [refused.status, refused.body.toString(), refused.headers.get("retry-after")],
      [503, /^lakepack: the server is busy; try again/, /^\d+$/],
    );
    t.doesNotThrow(
      () => pool.sharedBy({ repository: "ns/other", caller: "127.0.0.1" }).checkRoom(),
      "another repository, another caller: there is room",
    );
    tasks.push(
      pool
        .sharedBy({ repository: "ns/third", caller: "third" })
        .run(task("probe/listen"), { ms: 10 } as never),
    );
    t.equal((await push("other")).status, 503, "until the queue is full");
    await Promise.all(tasks);
  });
}
