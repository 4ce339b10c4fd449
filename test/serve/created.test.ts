/**
 * A first push whose repository cannot be taken note of: refused in words that git shows, with the
 * request's id.
 */
import { join } from "node:path";
import t from "tap";
import { Fault } from "../../src/base/fault.js";
import { ANONYMOUS } from "../../src/auth/caller.js";
import type { RouteDoor } from "../../src/serve/repositories/door.js";
import type { Repository } from "../../src/serve/conversation/conversation.js";
import { GitServer, type ServerOptions } from "../../src/serve/git-server.js";
import { RefAnswers } from "../../src/serve/fetch/ref-answers.js";
import { createRoutes } from "../../src/transport/http/routes.js";
import { loadTransport } from "../../src/transport/load.js";
import { commit, git, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";

t.test("the database fails", { timeout: 60_000 }, async (t) => {
  const lines: Readonly<Record<string, unknown>>[] = [];
  const log = Object.fromEntries(
    ["error", "warn", "info", "debug", "trace"].map((level) => [
      level,
      (event: string, facts = {}) => void lines.push({ level, event, ...facts }),
    ]),
  );
  const pool = { sharedBy: () => ({ checkRoom: () => undefined }) };
  const offer = { agent: "test", allowTipInWant: false, allowReachableInWant: false, atomic: true };
  const make = async () =>
    Promise.reject(new Fault("database/failed", { reason: "/srv/lakepack.db: disk I/O error" }));
  const server = new GitServer({
    version: "test",
    pool,
    door: { created: make },
    offer,
    fetch: { answers: new RefAnswers() },
    log,
    metrics: { requestEnded: () => undefined },
  } as unknown as ServerOptions);
  const refs = {
    read: async () => ({ revision: "", head: "refs/heads/main", refs: [], byName: new Map() }),
  };
  const resolve = async () =>
    ({
      id: "repos/ns/new",
      title: "ns/new",
      atomic: true,
      notices: [],
      created: true,
      refs,
    }) as unknown as Repository;
  const door = { identify: async () => ANONYMOUS, resolve } as unknown as RouteDoor;
  const listener = await (await loadTransport("node")).listen({
    host: "127.0.0.1",
    port: 0,
    handler: createRoutes(server, door, { loopbackOnly: true, corsOrigins: [] }),
  });
  t.teardown(() => listener.close(0));
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  await commit(work, "one", { "a.txt": "a\n" });
  const { stderr } = await tryGit(
    ["push", `http://127.0.0.1:${listener.port}/ns/new.git`, "main"],
    { cwd: work },
  );
  const id = /remote unpack failed: the database failed \(request ([0-9a-z-]+)\)/.exec(stderr)?.[1];
  t.ok(id, stderr);
  t.notMatch(stderr, "/srv");
  t.match(
    lines.filter((line) => line["id"] === id),
    [
      {
        level: "error",
        event: "request",
        outcome: "failed",
        fault: "database/failed",
        message: /disk I\/O/,
      },
    ],
  );
});
