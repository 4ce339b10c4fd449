/** The routes over both front ends, with services that only say what they were asked. */
import { gzipSync } from "node:zlib";
import t from "tap";
import type { RepositoryApi } from "../../src/api/repositories.js";
import { latin1, utf8 } from "../../src/base/bytes.js";
import { type Caller, TRUSTED } from "../../src/auth/caller.js";
import { Fault } from "../../src/base/fault.js";
import type { Exchange, Repository } from "../../src/serve/conversation/conversation.js";
import type { RouteDoor, Wants } from "../../src/serve/repositories/door.js";
import { tell } from "../../src/serve/conversation/request-record.js";
import { type RepositoryName, titleOf } from "../../src/serve/conversation/repository-name.js";
import type { LfsService } from "../../src/serve/lfs/lfs.js";
import type { RequestEnd, RoutedServer } from "../../src/serve/git-server.js";
import { answer, HoldBudget } from "../../src/transport/http/body.js";
import {
  createRoutes,
  protocolVersion,
  type RouteOptions,
} from "../../src/transport/http/routes.js";
import { loadTransport } from "../../src/transport/load.js";
import { type RawResponse, rawRequest } from "../support/raw-client.js";

const NO_CACHE = {
  expires: "Fri, 01 Jan 1980 00:00:00 GMT",
  pragma: "no-cache",
  "cache-control": "no-cache, max-age=0, must-revalidate",
};

async function readAll(exchange: Exchange): Promise<string> {
  let text = "";
  for (
    let chunk = await exchange.input.read();
    chunk !== undefined;
    chunk = await exchange.input.read()
  )
    text += latin1(chunk);
  return text;
}

/** Server and door. */
class FakeServices implements RoutedServer, RouteDoor {
  readonly version = "9.9.9";
  readonly ends: RequestEnd[] = [];
  readonly changed: string[] = [];
  /** Parts of the pool that were asked for. */
  readonly shares: string[] = [];
  caller: Caller = TRUSTED;
  /** Holder of every link. */
  holder = "";
  readonly lfs = {
    admit: () => this.holder,
    upload: async (_call: unknown, _content: unknown, by: { share: string; account?: string }) =>
      void this.shares.push(
        `lfs ${by.share}${by.account === undefined ? "" : ` as ${by.account}`}`,
      ),
  } as unknown as LfsService;
  readonly bundleLinks = undefined;
  openBundle = () => Promise.reject(new Error("no bundles here"));
  titles: readonly string[] = ["ns/real", "datasets/ns/<b>"];

  /** Credentials, and where they were said to come from. */
  readonly shown: string[] = [];

  async identify(authorization: string | undefined, source: string) {
    this.shown.push(`${authorization} ${source}`);
    return this.caller;
  }
  async bearerOf(holder: string): Promise<Caller> {
    return holder === ""
      ? TRUSTED
      : { kind: "user", id: holder, name: "ada", isAdmin: false, token: "t", scope: "write" };
  }
  resolveLinked(name: RepositoryName, _bearer: Caller, wants: Wants): Promise<Repository> {
    return this.resolve(name, TRUSTED, wants);
  }
  async stillMay(): Promise<void> {}
  async created(repository: Repository): Promise<Repository> {
    return repository;
  }
  async resolve(name: RepositoryName, _caller: unknown, wants: Wants): Promise<Repository> {
    const title = titleOf(name);
    if (name.name !== "real" && wants === "read")
      throw new Fault("repository/missing", { name: title });
    return { id: title, title, created: name.name !== "real" } as Repository;
  }
  async advertise(exchange: Exchange, service: string): Promise<void> {
    await exchange.output.write(
      utf8(
        `<${service} v${exchange.version} ${exchange.repository.title}${exchange.repository.created ? " new" : ""}>`,
      ),
    );
  }
  async uploadPack(exchange: Exchange): Promise<void> {
    const text = await readAll(exchange);
    this.shares.push(exchange.caller);
    if (text === "told")
      return exchange.output.write(
        utf8(
          tell(
            exchange.request,
            new Fault("store/failed", { key: "repos/x", reason: "/srv/data is gone" }),
          ),
        ),
      );
    if (text === "given up") throw new Fault("base/aborted");
    if (text === "fail") throw new Fault("odb/not-our-ref", { oid: "x" });
    if (text === "0000") return;
    await exchange.output.write(
      utf8(`upload v${exchange.version} ${text.length} ${text.slice(0, 20)}`),
    );
  }
  async receivePack(exchange: Exchange): Promise<void> {
    const text = await readAll(exchange);
    if (text !== "0000") await exchange.output.write(utf8(`receive ${text}`));
  }
  async head(): Promise<string> {
    return "refs/heads/trunk";
  }
  async lakefs(): Promise<string | undefined> {
    return undefined;
  }
  async list(_after: string, count: number): Promise<readonly string[]> {
    return this.titles.slice(0, count);
  }
  async readiness() {
    return { warnings: [], ...(this.titles.length === 0 ? { refusal: "starting" } : {}) };
  }
  checkServing(): void {}
  lakefsChanged(repository: string): void {
    this.changed.push(repository);
  }
  async metrics() {
    return { contentType: "text/plain", text: "a 1\n" };
  }
  ended(entry: RequestEnd): void {
    this.ends.push(entry);
  }
}

interface Ask {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
}

function requestText(path: string, { method = "GET", headers = {}, body }: Ask): Buffer {
  const bytes = body === undefined ? undefined : Buffer.from(body as string);
  const all = {
    Host: "localhost:80",
    ...headers,
    ...(bytes === undefined ? {} : { "Content-Length": String(bytes.length) }),
  };
  const head = Object.entries(all)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("");
  return Buffer.concat([
    Buffer.from(`${method} ${path} HTTP/1.1\r\n${head}\r\n`, "latin1"),
    bytes ?? Buffer.alloc(0),
  ]);
}

const UPLOAD = { "Content-Type": "application/x-git-upload-pack-request" };
const RECEIVE = { "Content-Type": "application/x-git-receive-pack-request" };

for (const kind of ["uws", "node"] as const) {
  const transport = await loadTransport(kind).catch(() => undefined);
  if (transport === undefined) {
    t.pass(`${kind} skipped`, { skip: "uWebSockets.js does not load on this machine" });
    continue;
  }
  t.test(kind, async (t) => {
    const start = async (options: Partial<RouteOptions> = {}) => {
      const services = new FakeServices();
      const handler = createRoutes(services, services, {
        loopbackOnly: true,
        corsOrigins: [],
        ...options,
      });
      const { port, close } = await transport.listen({ host: "127.0.0.1", port: 0, handler });
      t.teardown(() => close(0));
      const ask = (path: string, options: Ask = {}): Promise<RawResponse> =>
        rawRequest(port, requestText(path, options), options.method);
      return { services, ask };
    };

    t.test("work that was given up is told as such to who is still there", async (t) => {
      const { services, ask } = await start();
      const response = await ask("/ns/real.git/git-upload-pack", {
        method: "POST",
        headers: UPLOAD,
        body: "given up",
      });
      t.equal(response.status, 503);
      t.match(response.body.toString(), /gave up the work for this request; ask again/);
      t.match(services.ends, [{ failure: { code: "base/aborted" } }]);
    });

    t.test("info/refs: service line, version, content type, no caching", async (t) => {
      const { ask } = await start();
      const cases = [
        ["upload-pack", undefined, "001e# service=git-upload-pack\n0000<upload-pack v0 ns/real>"],
        ["upload-pack", "version=0", "001e# service=git-upload-pack\n0000<upload-pack v0 ns/real>"],
        ["upload-pack", "version=1", "001e# service=git-upload-pack\n0000<upload-pack v1 ns/real>"],
        ["upload-pack", "version=2", "<upload-pack v2 ns/real>"],
        [
          "receive-pack",
          "version=1",
          "001f# service=git-receive-pack\n0000<receive-pack v1 ns/real>",
        ],
        ["receive-pack", "version=2", "<receive-pack v2 ns/real>"],
      ] as const;
      for (const [service, version, text] of cases) {
        const headers: Record<string, string> =
          version === undefined ? {} : { "Git-Protocol": version };
        const response = await ask(`/ns/real.git/info/refs?service=git-${service}`, { headers });
        t.equal(response.status, 200);
        t.equal(response.body.toString(), text, `${service} ${version}`);
        t.match(Object.fromEntries(response.headers), {
          ...NO_CACHE,
          "content-type": `application/x-git-${service}-advertisement`,
        });
        t.ok(response.headers.has("content-length"));
      }
    });

    t.test("statuses of http-backend", async (t) => {
      const { ask } = await start();
      const cases: readonly (readonly [string, Ask, number])[] = [
        ["/ns/real.git/info/refs", {}, 403],
        ["/ns/real.git/info/refs?service=git-upload-archive", {}, 403],
        ["/ns/real.git/info/refs?service=", {}, 403],
        ["/ns/real.git/info/refs?service=<script>alert(1)</script>", {}, 403],
        ["/ns/none.git/info/refs?service=git-upload-pack", {}, 404],
        ["/ns/none.git/info/refs?service=git-receive-pack", {}, 200],
        ["/ns/none.git/git-upload-pack", { method: "POST", headers: UPLOAD, body: "x" }, 404],
        ["/ns/none.git", {}, 404],
        ["/ns/none.git/HEAD", {}, 404],
        ["/ns/real.git/objects/info/packs", {}, 403],
        ["/ns/real.git/config", {}, 404],
        ["/ns", {}, 404],
        ["/ns/..%2freal/HEAD", {}, 400],
        ["/ns/real.git/info/refs?service=git-upload-pack", { method: "POST", body: "" }, 405],
        ["/ns/real.git/git-upload-pack", {}, 405],
        ["/ns/real.git/git-upload-pack", { method: "PUT", headers: UPLOAD, body: "x" }, 405],
        ["/ns/real.git/git-upload-pack", { method: "POST", body: "x" }, 415],
        ["/ns/real.git/git-upload-pack", { method: "POST", headers: RECEIVE, body: "x" }, 415],
        [
          "/ns/real.git/git-upload-pack",
          {
            method: "POST",
            headers: { "Content-Type": `${UPLOAD["Content-Type"]}; charset=utf-8` },
            body: "x",
          },
          415,
        ],
        ["/ns/real.git/git-receive-pack", { method: "POST", headers: UPLOAD, body: "x" }, 415],
        [
          "/ns/real.git/git-upload-pack",
          { method: "POST", headers: { ...UPLOAD, "Content-Encoding": "br" }, body: "x" },
          415,
        ],
        ["/ns/real.git/git-upload-pack", { method: "POST", headers: UPLOAD, body: "fail" }, 403],
        ["/ns/real.git/info/refs?service=git-upload-pack", { method: "OPTIONS" }, 405],
      ];
      for (const [path, options, status] of cases) {
        const response = await ask(path, options);
        t.equal(
          response.status,
          status,
          `${options.method ?? "GET"} ${path} ${JSON.stringify(options.headers ?? {})}`,
        );
        t.match(Object.fromEntries(response.headers), NO_CACHE);
        if (status >= 400) t.match(response.body.toString(), /^lakepack: .+\nrequest \S+\n$/);
        if (status >= 400)
          t.match(Object.fromEntries(response.headers), {
            "content-type": "text/plain; charset=utf-8",
            "x-content-type-options": "nosniff",
          });
      }
      t.equal((await ask("/ns/real.git/git-upload-pack")).headers.get("allow"), "POST");
      t.equal(
        (await ask("/ns/real.git/HEAD", { method: "DELETE" })).headers.get("allow"),
        "GET, HEAD",
      );
    });

    t.test("requests reach their service: plain, gzip, x-gzip, the lone flush", async (t) => {
      const { ask } = await start();
      const text = "0032want ".repeat(1_000);
      for (const encoding of [undefined, "gzip", "x-gzip", "GZIP", "identity"]) {
        const headers: Record<string, string> = {
          ...UPLOAD,
          "Git-Protocol": "version=2",
          ...(encoding === undefined ? {} : { "Content-Encoding": encoding }),
        };
        const body = encoding?.toLowerCase().endsWith("gzip") === true ? gzipSync(text) : text;
        const response = await ask("/ns/real/git-upload-pack", { method: "POST", headers, body });
        t.equal(response.body.toString(), `upload v2 9000 ${text.slice(0, 20)}`, String(encoding));
        t.match(Object.fromEntries(response.headers), {
          ...NO_CACHE,
          "content-type": "application/x-git-upload-pack-result",
          "content-length": /\d+/,
        });
      }
      const pushed = await ask("/ns/new.git/git-receive-pack", {
        method: "POST",
        headers: { ...RECEIVE, "Content-Encoding": "gzip" },
        body: gzipSync("pack"),
      });
      t.equal(pushed.body.toString(), "receive pack");
      for (const [path, headers] of [
        ["/ns/real.git/git-upload-pack", UPLOAD],
        ["/ns/new.git/git-receive-pack", RECEIVE],
      ] as const) {
        const probe = await ask(path, { method: "POST", headers, body: "0000" });
        t.match(
          {
            status: probe.status,
            length: probe.headers.get("content-length"),
            body: probe.body.length,
          },
          { status: 200, length: "0", body: 0 },
          path,
        );
      }
    });

    t.test("gzip that is none, or too much, is a 4xx", async (t) => {
      const { ask } = await start({ packBytesMax: 1 });
      const gzip = { ...UPLOAD, "Content-Encoding": "gzip" };
      t.equal(
        (await ask("/ns/real/git-upload-pack", { method: "POST", headers: gzip, body: "0032want" }))
          .status,
        400,
      );
      t.equal(
        (
          await ask("/ns/real/git-upload-pack", {
            method: "POST",
            headers: gzip,
            body: gzipSync("x".repeat(900)).subarray(0, 20),
          })
        ).status,
        400,
      );
      t.equal(
        (
          await ask("/ns/real/git-upload-pack", {
            method: "POST",
            headers: gzip,
            body: gzipSync(Buffer.alloc(17 * 1024 * 1024)),
          })
        ).status,
        413,
      );
      const push = { ...RECEIVE, "Content-Encoding": "gzip" };
      t.equal(
        (
          await ask("/ns/real/git-receive-pack", {
            method: "POST",
            headers: push,
            body: gzipSync(Buffer.alloc(25 * 1024 * 1024)),
          })
        ).status,
        413,
      );
    });

    t.test("HEAD, health, readiness", async (t) => {
      const { ask, services } = await start();
      t.equal((await ask("/ns/real/HEAD")).body.toString(), "ref: refs/heads/trunk\n");
      t.equal(
        (await ask("/ns/real/info/refs?service=git-upload-pack", { method: "HEAD" })).status,
        200,
      );
      t.equal((await ask("/healthz")).body.toString(), "ok\n");
      t.equal((await ask("/readyz")).status, 200);
      services.titles = [];
      const notReady = await ask("/readyz");
      t.equal(notReady.status, 503);
      t.match(notReady.body.toString(), "starting");
    });

    t.test("pages: HTML for a browser, text for others, nothing unescaped", async (t) => {
      const { ask } = await start();
      const browser = { headers: { Accept: "text/html,application/xhtml+xml" } };
      const page = (await ask("/", browser)).body.toString();
      t.match(
        page,
        /<!doctype html>[\s\S]*lakepack 9\.9\.9[\s\S]*git clone http:\/\/localhost:80\/me\/model\.git[\s\S]*href="\/ns\/real"/,
      );
      t.match(page, "datasets/ns/&#60;b&#62;");
      const repository = await ask("/ns/real", browser);
      t.match(repository.body.toString(), "git clone http://localhost:80/ns/real.git");
      t.match(repository.headers.get("content-type"), "text/html");
      t.match((await ask("/")).headers.get("content-type"), "text/plain");
    });

    t.test(
      "without authentication: this machine only, no other name, no proxy, no foreign page",
      async (t) => {
        const { ask } = await start();
        for (const host of ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "127.1.2.3", "[::1]:80"])
          t.equal((await ask("/healthz", { headers: { Host: host } })).status, 200, host);
        for (const host of [
          "evil.example",
          "localhost.evil.example",
          "127.0.0.1.evil.example",
          "10.0.0.1",
          "0.0.0.0",
          "localhost@evil",
          "[::]",
        ])
          t.equal((await ask("/healthz", { headers: { Host: host } })).status, 403, host);
        for (const origin of ["http://localhost:3000", "http://127.0.0.1"])
          t.equal((await ask("/healthz", { headers: { Origin: origin } })).status, 200, origin);
        for (const origin of ["https://evil.example", "null", "http://localhost.evil.example"])
          t.equal((await ask("/healthz", { headers: { Origin: origin } })).status, 403, origin);
        for (const name of ["Forwarded", "X-Forwarded-For", "X-Forwarded-Anything"])
          t.equal((await ask("/healthz", { headers: { [name]: "127.0.0.1" } })).status, 403, name);
        const open = await start({ loopbackOnly: false });
        t.equal(
          (
            await open.ask("/healthz", {
              headers: { Host: "git.example", "X-Forwarded-For": "1.2.3.4" },
            })
          ).status,
          200,
        );
      },
    );

    t.test("CORS only for listed origins", async (t) => {
      const { ask } = await start({ corsOrigins: ["https://app.example"] });
      const from = (origin: string) => ({
        headers: { Origin: origin, "Access-Control-Request-Method": "POST" },
      });
      const preflight = await ask("/ns/real.git/git-upload-pack", {
        method: "OPTIONS",
        ...from("https://app.example"),
      });
      t.equal(preflight.status, 204);
      t.equal(preflight.headers.get("access-control-allow-origin"), "https://app.example");
      t.match(preflight.headers.get("access-control-allow-headers"), "Git-Protocol");
      const read = await ask(
        "/ns/real.git/info/refs?service=git-upload-pack",
        from("https://app.example"),
      );
      t.equal(read.headers.get("access-control-allow-origin"), "https://app.example");
      t.equal(read.headers.get("vary"), "Origin");
      const missing = await ask(
        "/ns/none.git/info/refs?service=git-upload-pack",
        from("https://app.example"),
      );
      t.equal(missing.status, 404);
      t.ok(missing.headers.has("access-control-allow-origin"), "a page may read why");
      const failed = await ask("/ns/real.git/git-upload-pack", {
        method: "POST",
        headers: { ...UPLOAD, Origin: "https://app.example" },
        body: "fail",
      });
      t.equal(failed.status, 403);
      t.ok(failed.headers.has("access-control-allow-origin"), "also where a conversation failed");
      const foreign = await ask("/ns/real.git/git-upload-pack", {
        method: "OPTIONS",
        ...from("https://evil.example"),
      });
      t.equal(foreign.status, 403);
      t.notOk(foreign.headers.has("access-control-allow-origin"));
      const none = await (await start()).ask("/ns/real.git/HEAD", from("http://localhost:1"));
      t.notOk(none.headers.has("access-control-allow-origin"));
    });

    t.test(
      "the pool's share is a user's, from wherever he comes; without one it is the address",
      async (t) => {
        const { ask, services } = await start({
          loopbackOnly: false,
          clients: { trustedProxies: ["127.0.0.1"], publicUrl: "", tls: false },
        });
        const fetches = async (from: string) => {
          await ask("/ns/real.git/git-upload-pack", {
            method: "POST",
            headers: { ...UPLOAD, "X-Forwarded-For": from },
            body: "x",
          });
          return services.shares.at(-1);
        };
        services.caller = {
          kind: "user",
          id: "u1",
          name: "192.0.2.1",
          isAdmin: false,
          token: "t1",
          scope: "read",
        };
        t.same([await fetches("192.0.2.1"), await fetches("192.0.2.2")], ["user u1", "user u1"]);
        services.caller = { kind: "anonymous" };
        t.same(
          [await fetches("192.0.2.1"), await fetches("192.0.2.2")],
          ["address 192.0.2.1", "address 192.0.2.2"],
        );
        t.same(
          [await fetches("2001:db8:1:2::1"), await fetches("2001:db8:1:2::9")],
          ["address 2001:db8:1:2", "address 2001:db8:1:2"],
          "one network is one",
        );
        services.caller = TRUSTED;
        t.equal(await fetches("192.0.2.1"), "address 192.0.2.1");
        await ask(`/ns/real.git/info/lfs/objects/${"a".repeat(64)}/1?proof=x`, {
          method: "PUT",
          headers: { "X-Forwarded-For": "192.0.2.3" },
          body: "x",
        });
        t.equal(
          services.shares.at(-1),
          "lfs address 192.0.2.3",
          "a link that was given to nobody in particular",
        );
        services.holder = "u9";
        await ask(`/ns/real.git/info/lfs/objects/${"a".repeat(64)}/1?proof=x`, {
          method: "PUT",
          headers: { "X-Forwarded-For": "192.0.2.3" },
          body: "x",
        });
        t.match(services.shares.at(-1), /^lfs user u9/, "a link is its holder's");
      },
    );

    t.test(
      "failed logins are counted where they come from, as a trusted proxy says and nobody else",
      async (t) => {
        const login = { headers: { Authorization: "Bearer x", "X-Forwarded-For": "192.0.2.1" } };
        const behind = await start({
          loopbackOnly: false,
          clients: { trustedProxies: ["127.0.0.1"], publicUrl: "", tls: false },
        });
        await behind.ask("/ns/real/HEAD", login);
        t.same(behind.services.shown, ["Bearer x 192.0.2.1"]);
        const direct = await start({
          loopbackOnly: false,
          clients: { trustedProxies: ["10.0.0.1"], publicUrl: "", tls: false },
        });
        await direct.ask("/ns/real/HEAD", login);
        t.same(direct.services.shown, ["Bearer x 127.0.0.1"]);
      },
    );

    t.test("the API asks for the same part", async (t) => {
      const asked: unknown[] = [];
      const api = {
        commit: async (...given: unknown[]) => void asked.push(given[3]),
      } as unknown as RepositoryApi;
      const { ask, services } = await start({ api });
      services.caller = {
        kind: "user",
        id: "u1",
        name: "ada",
        isAdmin: false,
        token: "t1",
        scope: "read",
      };
      await ask(`/api/repos/ns/real/commits/${"a".repeat(40)}`);
      t.match(asked, [{ caller: { id: "u1" }, share: "user u1" }]);
    });

    t.test(
      "a failure that is told under a good status: the id for the client, facts and outcome for the log, the caller's name",
      async (t) => {
        const { ask, services } = await start();
        services.caller = {
          kind: "user",
          id: "u1",
          name: "ada",
          isAdmin: false,
          token: "t1",
          scope: "read",
        };
        const told = await ask("/ns/real.git/git-upload-pack", {
          method: "POST",
          headers: UPLOAD,
          body: "told",
        });
        const [end] = services.ends;
        t.equal(
          told.body.toString(),
          `storage failed (request ${end?.id})`,
          "what is ours stays ours",
        );
        t.match(end, {
          status: 200,
          failure: { code: "store/failed", message: /srv.data is gone/ },
          caller: "user ada",
          noted: { repository: "ns/real" },
          bytesIn: 4,
          bytesOut: told.body.length,
        });
        services.caller = { kind: "anonymous" };
        await ask("/ns/real/HEAD");
        t.equal(services.ends[1]?.caller, "anonymous");
      },
    );

    t.test("a request whose end nobody can know is in the log, too", async (t) => {
      const services = new FakeServices();
      const headers = new Map([
        ["content-length", "5, 6"],
        ["host", "localhost"],
      ]);
      const request = {
        id: "r9",
        method: "POST",
        path: "/ns/real.git/HEAD",
        query: "",
        remote: "192.0.2.7",
        header: (name: string) => headers.get(name),
        headerNames: () => headers.keys(),
        body: { read: async () => undefined },
        signal: new AbortController().signal,
      };
      let said = "";
      const raw = {
        begin: () => undefined,
        end: async () => undefined,
        cut: () => undefined,
        write: async (bytes: Uint8Array) => {
          said += latin1(bytes);
        },
      };
      await answer(
        createRoutes(services, services, { loopbackOnly: true, corsOrigins: [] }),
        request,
        raw,
        {
          budget: new HoldBudget(),
          holdMs: 1_000,
        },
      );
      t.match(services.ends, [
        { id: "r9", status: 400, remote: "192.0.2.7", failure: { code: "http/bad-request" } },
      ]);
      t.match(said, /ambiguous.*\nrequest r9\n/);
    });

    t.test("a Host that names none, or two, is in no link", async (t) => {
      const { ask } = await start({ loopbackOnly: false });
      for (const host of [
        'x"><b>',
        "a b",
        "a, b",
        "user@hub.example",
        "hub.example/path",
        "hub.example:x",
      ]) {
        const reply = await ask("/", { headers: { Host: host, Accept: "text/html" } });
        t.equal(reply.status, 400, host);
        t.notMatch(reply.body.toString(), host);
      }
      t.equal((await ask("/", { headers: { Host: "hub_1.example:8443" } })).status, 200);
    });

    t.test("names that every object has are no routes", async (t) => {
      const { ask, services } = await start();
      for (const file of ["constructor", "__proto__", "toString"])
        await ask(`/ns/real.git/${file}`);
      t.same(
        services.ends.map(({ status, operation }) => `${status} ${operation}`),
        ["404 none", "404 none", "404 none"],
      );
    });

    t.test("every request ends in the log once, with what the client saw", async (t) => {
      const { ask, services } = await start();
      const response = await ask("/ns/none.git/HEAD");
      await ask("/ns/real.git/HEAD");
      await ask("/ns/real.git/git-upload-pack", { method: "POST", headers: UPLOAD, body: "fail" });
      t.match(services.ends, [
        {
          method: "GET",
          path: "/ns/none.git/HEAD",
          status: 404,
          failure: { code: "repository/missing" },
        },
        { status: 200, failure: undefined },
        { method: "POST", status: 403, failure: { code: "odb/not-our-ref" } },
      ]);
      t.equal(services.ends.length, 3);
      t.match(response.body.toString(), `request ${services.ends[0]?.id}`);
    });
  });
}

t.test("the version is the highest the header names", async (t) => {
  const cases = {
    "": 0,
    "version=2": 2,
    "version=1": 1,
    "version=1:version=2": 2,
    "foo:version=2:bar=1": 2,
    "version=3": 0,
    "version=02": 0,
    version2: 0,
  };
  for (const [header, version] of Object.entries(cases))
    t.equal(protocolVersion(header), version, header);
  t.equal(protocolVersion(undefined), 0);
});
