/**
 * Permissions: every caller times every operation, as one table, on a real server beside a real
 * lakeFS.
 */
import { createHash } from "node:crypto";
import t, { type Test } from "tap";
import { frontEnds } from "../support/everyday.js";
import { kohakuHubName } from "../../src/lakefs/rules/hub-names.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { type Guarded, startGuarded } from "../support/accounts-rig.js";
import { commit, git, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { emptyRepository, headOf, put, settingsFor, signal } from "../support/lakefs-rig.js";

const CALLERS = [
  "anonymous",
  "reader",
  "writer",
  "owner",
  "admin",
  "stranger",
  "readOnly",
  "expired",
  "revoked",
  "disabled",
] as const;
type CallerName = (typeof CALLERS)[number];
type Row = Readonly<Record<CallerName, number>>;

/**
 * In the order of CALLERS. `readOnly` is the owner with a token of scope read; the last three are
 * the owner's and a writer's dead tokens.
 */
function row(...statuses: readonly number[]): Row {
  return Object.fromEntries(CALLERS.map((name, at) => [name, statuses[at] ?? 401])) as Row;
}

const READ = row(401, 200, 200, 200, 200, 404, 200);
const WRITE = row(401, 403, 200, 200, 200, 404, 403);
const READ_PUBLIC = row(200, 200, 200, 200, 200, 200, 200);
const WRITE_PUBLIC = row(401, 403, 403, 200, 200, 403, 403);
const NOTHING_THERE = row(401, 404, 404, 404, 404, 404, 404);
const CREATE = row(401, 404, 404, 200, 200, 404, 403);
const ADMINISTRATORS = row(401, 404, 404, 404, 200, 404, 404);
const FIGURES = row(401, 403, 403, 403, 200, 403, 403);
/** Whoever calls, with whatever token. */
const all = (status: number) => row(...CALLERS.map(() => status));

const HOOK_SECRET = "hook secret";
const LFS = {
  "Content-Type": "application/vnd.git-lfs+json",
  Accept: "application/vnd.git-lfs+json",
};
const CONTENT = Buffer.from("the content of an LFS object\n");
const OBJECT = { oid: createHash("sha256").update(CONTENT).digest("hex"), size: CONTENT.length };

interface Ask {
  readonly path: string;
  readonly method?: "GET" | "POST" | "PUT";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

const line = (text: string) => (text.length + 4).toString(16).padStart(4, "0") + text;
const service = (path: string, name: string, body: string, version = ""): Ask => ({
  path: `${path}.git/git-${name}`,
  method: "POST",
  headers: {
    "Content-Type": `application/x-git-${name}-request`,
    ...(version === "" ? {} : { "Git-Protocol": version }),
  },
  body,
});
const refs = (path: string, name: string, version = ""): Ask => ({
  path: `${path}.git/info/refs?service=git-${name}`,
  headers: version === "" ? {} : { "Git-Protocol": version },
});
const batch = (path: string, operation: string, object = OBJECT): Ask => ({
  path: `${path}.git/info/lfs/objects/batch`,
  method: "POST",
  headers: LFS,
  body: JSON.stringify({ operation, transfers: ["basic"], objects: [object] }),
});

function fetchV0(path: string, oid: string): Ask {
  return service(path, "upload-pack", `${line(`want ${oid} ofs-delta\n`)}0000${line("done\n")}`);
}
function fetchV2(path: string, oid: string): Ask {
  return service(
    path,
    "upload-pack",
    `${line("command=fetch")}0001${line(`want ${oid}`)}${line("done")}0000`,
    "version=2",
  );
}
function lsRefs(path: string, prefix: string): Ask {
  return service(
    path,
    "upload-pack",
    `${line("command=ls-refs")}0001${line(`ref-prefix ${prefix}`)}0000`,
    "version=2",
  );
}

async function ask(
  server: Guarded,
  { path, method = "GET", headers = {}, body }: Ask,
  token: string | undefined,
): Promise<Response> {
  const credentials: Record<string, string> =
    token === undefined ? {} : { Authorization: `Bearer ${token}` };
  return fetch(new URL(path, server.url), {
    method,
    headers: { ...headers, ...credentials },
    ...(body === undefined ? {} : { body: Buffer.from(body) }),
  });
}

/** A token of each caller; "" : none. */
async function callers(server: Guarded): Promise<Readonly<Record<CallerName, string | undefined>>> {
  const [reader, writer, owner, stranger] = [
    await server.user("rita"),
    await server.user("will"),
    await server.user("acme"),
    await server.user("eve"),
  ];
  const [readOnly, revoked] = [
    await server.token("acme", "read"),
    await server.token("acme", "admin"),
  ];
  const expired = await server.token("acme", "admin", new Date(Date.now() - 1_000).toISOString());
  const disabled = await server.user("dora");
  await server.command("token.revoke", {
    id:
      (await server.command("token.list", { user: "acme", after: "" })).find(
        ({ scope, expires }) => scope === "admin" && expires === null,
      )?.id ?? "",
  });
  await server.command("user.change", { name: "dora", disabled: true });
  return {
    anonymous: undefined,
    reader,
    writer,
    owner,
    admin: server.adminToken,
    stranger,
    readOnly,
    expired,
    revoked,
    disabled,
  };
}

/** acme/private, acme/public; the commit both have. */
async function repositories(t: Test, server: Guarded, owner: string): Promise<string> {
  const work = await tempFolder(t);
  await git(["init", "-q", work]);
  const oid = await commit(work, "one", { "a.txt": "a\n" });
  for (const name of ["acme/private", "acme/public"])
    await git(["push", "-q", server.at(name, owner), "main"], { cwd: work });
  await server.command("repo.visibility", { name: "acme/public", visibility: "public" });
  for (const [user, role] of [
    ["rita", "read"],
    ["will", "write"],
    ["dora", "write"],
  ] as const)
    await server.command("repo.grant", { name: "acme/private", user, role });
  return oid;
}

/**
 * Links of somebody whose right has ended since: a revoked token, a disabled user, a grant that was
 * taken away.
 */
async function endedLinks(
  server: Guarded,
): Promise<
  readonly (readonly [what: string, links: Awaited<ReturnType<typeof links>>, status: number])[]
> {
  const made: [string, Awaited<ReturnType<typeof links>>, number][] = [];
  for (const [what, user, status] of [
    ["revoked", "rose", 403],
    ["disabled", "dina", 403],
    ["no grant", "gil", 404],
  ] as const) {
    const token = await server.user(user);
    await server.command("repo.grant", { name: "acme/private", user, role: "write" });
    const given = await links(server, token, "upload again");
    made.push([what, given, status]);
    if (what === "revoked")
      for (const { id } of await server.command("token.list", { user, after: "" }))
        await server.command("token.revoke", { id });
    else if (what === "disabled")
      await server.command("user.change", { name: user, disabled: true });
    else await server.command("repo.grant", { name: "acme/private", user, role: null });
  }
  return made;
}

/**
 * Links that an owner's batches gave out for the object, as paths. `salt`: for an object of their
 * own, which the batch would not ask for otherwise.
 */
async function links(
  server: Guarded,
  owner: string,
  salt = "",
): Promise<{
  readonly upload: string;
  readonly verify: string;
  readonly download: string;
  readonly content: Uint8Array;
}> {
  const content = salt === "" ? CONTENT : Buffer.from(`${salt} ${Math.random()}`);
  const object = { oid: createHash("sha256").update(content).digest("hex"), size: content.length };
  const actions = async (operation: string) => {
    const reply = await ask(server, batch("/acme/private", operation, object), owner);
    const { objects } = (await reply.json()) as {
      objects: readonly { actions?: Record<string, { href: string }> }[];
    };
    return Object.fromEntries(
      Object.entries(objects[0]?.actions ?? {}).map(([name, { href }]) => [
        name,
        new URL(href).pathname + new URL(href).search,
      ]),
    );
  };
  const { upload = "", verify = "" } = await actions("upload");
  await ask(server, { path: upload, method: "PUT", body: content }, undefined);
  const { download = "" } = await actions("download");
  return { upload, verify, download, content };
}

async function table(
  server: Guarded,
  oid: string,
  owner: string,
): Promise<readonly (readonly [name: string, Ask, Row])[]> {
  const [own, open, none] = ["/acme/private", "/acme/public", "/acme/none"];
  const { upload, verify, download } = await links(server, owner);
  const plain = (href: string) => href.replace(/\?.*/, "");
  const verified = { method: "POST", headers: LFS, body: JSON.stringify(OBJECT) } as const;
  const ended = (await endedLinks(server)).flatMap(([what, each, status]) => [
    [`${what} since: LFS download by its link`, { path: each.download }, all(status)] as const,
    [
      `${what} since: LFS upload by its link`,
      { path: each.upload, method: "PUT", body: each.content } as const,
      all(status),
    ] as const,
  ]);
  const hook = {
    path: "/api/lakefs/webhook",
    method: "POST",
    body: JSON.stringify({ repository_id: "some-repository" }),
  } as const;
  return [
    ["info/refs to fetch, v0", refs(own, "upload-pack"), READ],
    ["info/refs to fetch, v2", refs(own, "upload-pack", "version=2"), READ],
    ["info/refs to push", refs(own, "receive-pack"), WRITE],
    ["fetch, v0", fetchV0(own, oid), READ],
    ["fetch, v2", fetchV2(own, oid), READ],
    ["ls-refs, v2", lsRefs(own, "refs/"), READ],
    ["push", service(own, "receive-pack", "0000"), WRITE],
    ["HEAD", { path: `${own}.git/HEAD` }, READ],
    ["page", { path: own }, READ],
    ["LFS batch download", batch(own, "download"), READ],
    ["LFS batch upload", batch(own, "upload"), WRITE],
    ["LFS download by its link", { path: download }, all(200)],
    ["LFS upload by its link", { path: upload, method: "PUT", body: CONTENT }, all(200)],
    ["LFS verify by its link", { path: verify, ...verified }, all(200)],
    ...ended,
    ["LFS download without proof", { path: plain(download) }, all(403)],
    ["LFS upload without proof", { path: plain(upload), method: "PUT", body: CONTENT }, all(403)],
    ["LFS verify without proof", { path: plain(verify), ...verified }, all(403)],
    [
      "LFS download where nothing is",
      { path: plain(download).replace("private", "none") },
      all(403),
    ],
    ["API, repository", { path: `/api/repos${own}` }, READ],
    ["API, commit", { path: `/api/repos${own}/commits/${oid}` }, READ],
    ["typed name", refs(`/models${own}`, "upload-pack"), READ],
    ["public: info/refs to fetch", refs(open, "upload-pack"), READ_PUBLIC],
    ["public: fetch, v2", fetchV2(open, oid), READ_PUBLIC],
    ["public: page", { path: open }, READ_PUBLIC],
    ["public: HEAD", { path: `${open}/HEAD` }, READ_PUBLIC],
    ["public: LFS batch download", batch(open, "download"), READ_PUBLIC],
    ["public: API", { path: `/api/repos${open}` }, READ_PUBLIC],
    ["public: info/refs to push", refs(open, "receive-pack"), WRITE_PUBLIC],
    ["public: push", service(open, "receive-pack", "0000"), WRITE_PUBLIC],
    ["public: LFS batch upload", batch(open, "upload"), WRITE_PUBLIC],
    ["missing: info/refs to fetch", refs(none, "upload-pack"), NOTHING_THERE],
    ["missing: fetch", fetchV2(none, oid), NOTHING_THERE],
    ["missing: HEAD", { path: `${none}.git/HEAD` }, NOTHING_THERE],
    ["missing: page", { path: none }, NOTHING_THERE],
    ["missing: LFS batch download", batch(none, "download"), NOTHING_THERE],
    ["missing: API", { path: `/api/repos${none}` }, NOTHING_THERE],
    ["create by push: info/refs", refs("/acme/new", "receive-pack"), CREATE],
    ["create by push: LFS batch", batch("/acme/new", "upload"), CREATE],
    ["create by push: push", service("/acme/new", "receive-pack", "0000"), CREATE],
    ["metrics", { path: "/metrics", headers: { "X-Forwarded-For": "192.0.2.1" } }, FIGURES],
    [
      "webhook with its secret",
      { ...hook, headers: { "X-Lakepack-Secret": HOOK_SECRET } },
      all(202),
    ],
    ["webhook without", hook, all(403)],
    ["health", { path: "/healthz" }, all(200)],
    ["readiness", { path: "/readyz" }, all(200)],
  ];
}

async function check(
  t: Test,
  server: Guarded,
  tokens: Awaited<ReturnType<typeof callers>>,
  rows: Awaited<ReturnType<typeof table>>,
): Promise<void> {
  for (const [name, request, expected] of rows) {
    const found: Record<string, number> = {};
    for (const caller of CALLERS) {
      const reply = await ask(server, request, tokens[caller]);
      found[caller] = reply.status;
      const text = await reply.text();
      if (reply.status !== 401) continue;
      t.match(
        reply.headers.get("www-authenticate"),
        /^Basic realm="lakepack"/,
        `${name}: ${caller} is told how to sign in`,
      );
      if (request.path.includes("/info/lfs/"))
        t.match(
          reply.headers.get("lfs-authenticate"),
          /^Basic /,
          `${name}: ${caller}, in git-lfs's own words`,
        );
      t.notMatch(text, /lpk_[a-z2-7]{10}/, "no token is repeated");
    }
    t.same(found, expected, name);
  }
}

for (const kind of frontEnds) {
  t.test(`the permission matrix (${kind})`, { timeout: 180_000 }, async (t) => {
    const server = await startGuarded(t, {
      args: ["--transport", kind],
      env: { LAKEPACK_LAKEFS_WEBHOOK_SECRET: HOOK_SECRET },
    });
    const tokens = await callers(server);
    const oid = await repositories(t, server, tokens.owner ?? "");
    await check(t, server, tokens, await table(server, oid, tokens.owner ?? ""));

    await t.test("the front page lists what each may see", async (t) => {
      const listed = async (caller: CallerName) =>
        (await (await ask(server, { path: "/" }, tokens[caller])).text()).match(/^acme\/.*/gm) ??
        [];
      for (const caller of ["reader", "writer", "owner", "admin", "readOnly"] as const)
        t.same(await listed(caller), ["acme/private", "acme/public"], caller);
      for (const caller of ["anonymous", "stranger"] as const)
        t.same(await listed(caller), ["acme/public"], caller);
    });
    t.notMatch(server.log(), /lpk_/, "no token in the log");
  });
}

t.test(
  "lakeFS's own names and single commits are for administrators, until they are opened",
  { skip: skipLakefs, timeout: 180_000 },
  async (t) => {
    const lakefs = await startLakefs(t);
    const name = await emptyRepository(lakefs, "guarded");
    await put(lakefs, name, "a.txt", "a\n");
    await lakefs.client.in(name).commit("main", { message: "one" }, signal);
    const { id } = await headOf(lakefs, name);
    const server = await startGuarded(t, { env: settingsFor(lakefs) });
    const tokens = await callers(server);
    const path = `/lakefs/${name}`;
    const rows = (place: string, expected: Row): Awaited<ReturnType<typeof table>> => [
      [`${place}: info/refs`, refs(place, "upload-pack"), expected],
      [`${place}: refs/lakefs`, lsRefs(place, `refs/lakefs/${id}`), expected],
      [`${place}: API, by lakeFS id`, { path: `/api/repos${place}/commits/${id}` }, expected],
      [`${place}: page`, { path: place }, expected],
    ];
    await check(t, server, tokens, [
      ...rows(path, ADMINISTRATORS),
      [`${path}: push`, service(path, "receive-pack", "0000"), ADMINISTRATORS],
    ]);
    const calls = async () =>
      Number(
        /lakepack_lakefs_calls_total\{call="getRepository"\} (\d+)/.exec(
          await (await ask(server, { path: "/metrics" }, undefined)).text(),
        )?.[1] ?? 0,
      );
    const before = await calls();
    const other = await emptyRepository(lakefs, "untouched");
    for (const place of [`/lakefs/${other}`, "/lakefs/none"]) {
      for (const token of [tokens.anonymous, tokens.stranger])
        for (const [, request] of rows(place, ADMINISTRATORS)) await ask(server, request, token);
      await ask(
        server,
        {
          path: `${place}.git/info/lfs/objects/${OBJECT.oid}/${OBJECT.size}?proof=9999999999-${"a".repeat(32)}-${"a".repeat(64)}`,
        },
        undefined,
      );
    }
    t.ok(before > 0, "they are counted");
    t.equal(await calls(), before, "for whom it is not, nothing is asked of lakeFS");
    const missing = "/lakefs/no-such-repository";
    t.equal((await ask(server, refs(missing, "upload-pack"), tokens.admin)).status, 404);
    t.equal((await ask(server, refs(missing, "upload-pack"), tokens.anonymous)).status, 401);

    await server.command("repo.create", { name: "acme/bound", lakefs: name });
    await check(t, server, tokens, rows("/acme/bound", row(401, 404, 404, 200, 200, 404, 200)));
    t.match(
      await (await ask(server, lsRefs("/acme/bound", `refs/lakefs/${id}`), tokens.owner)).text(),
      `refs/lakefs/${id}`,
      "who may read may have single commits",
    );
    await server.command("repo.grant", { name: `lakefs/${name}`, user: "rita", role: "read" });
    await check(t, server, tokens, rows(path, row(401, 200, 404, 404, 200, 404, 404)));
    await server.command("repo.visibility", { name: `lakefs/${name}`, visibility: "public" });
    await check(t, server, tokens, [
      ...rows(path, READ_PUBLIC),
      [`${path}: push`, refs(path, "receive-pack"), row(401, 403, 403, 403, 200, 403, 403)],
    ]);
  },
);

t.test(
  "names that a hub computes are for administrators, until they are opened",
  { skip: skipLakefs, timeout: 180_000 },
  async (t) => {
    const lakefs = await startLakefs(t);
    const name = kohakuHubName("model", "acme/hubmodel");
    await lakefs.client.createRepository(
      { name, storage_namespace: lakefs.namespace(name), default_branch: "main" },
      signal,
    );
    const server = await startGuarded(t, {
      env: { ...settingsFor(lakefs), LAKEPACK_NAMING: "kohakuhub" },
    });
    const tokens = await callers(server);
    const rows = (expected: Row, push: Row): Awaited<ReturnType<typeof table>> => [
      ["computed: info/refs", refs("/acme/hubmodel", "upload-pack"), expected],
      ["computed: typed", refs("/models/acme/hubmodel", "upload-pack"), expected],
      ["computed: API", { path: "/api/repos/acme/hubmodel" }, expected],
      ["computed: push", refs("/acme/hubmodel", "receive-pack"), push],
    ];
    await check(t, server, tokens, rows(ADMINISTRATORS, row(401, 404, 404, 404, 403, 404, 404)));
    await server.command("repo.grant", { name: "acme/hubmodel", user: "rita", role: "read" });
    await check(
      t,
      server,
      tokens,
      rows(row(401, 200, 404, 404, 200, 404, 404), row(401, 403, 404, 404, 403, 404, 404)),
    );
  },
);

t.test(
  "what is not for somebody answers as what is not there: words, headers and time",
  { timeout: 120_000 },
  async (t) => {
    const server = await startGuarded(t);
    const [owner, stranger] = [await server.user("acme"), await server.user("eve")];
    for (const name of ["rita", "will", "dora"]) await server.user(name);
    await repositories(t, server, owner);
    const paths = [
      "info/refs?service=git-upload-pack",
      "info/refs?service=git-receive-pack",
      "HEAD",
      "",
      "info/lfs/objects/batch",
    ];
    const asked = async (name: string, file: string) => {
      const path = `/acme/${name}.git/${file}`;
      const reply = await ask(
        server,
        file.endsWith("batch") ? { ...batch("/x", "download"), path } : { path },
        stranger,
      );
      const headers = Object.fromEntries(
        [...reply.headers].filter(([header]) => header !== "date"),
      );
      return {
        status: reply.status,
        headers,
        text: (await reply.text()).replaceAll(name, "NAME").replace(/[0-9a-f]{10}-[0-9a-z]+/, "ID"),
      };
    };
    const lengths = (one: { headers: Record<string, string> }) => ({
      ...one,
      headers: { ...one.headers, "content-length": "" },
    });
    for (const file of paths) {
      const [hidden, missing] = [await asked("private", file), await asked("missing", file)];
      t.equal(hidden.status, 404, file);
      t.same(lengths(hidden), lengths(missing), file);
    }
    // Noise can make any one round differ; what the server itself does differently differs in all.
    const rounds: boolean[] = [];
    while (rounds.length < 4 && !rounds.includes(true))
      rounds.push(
        await sameTime(t, (name) => ask(server, refs(`/acme/${name}`, "upload-pack"), stranger)),
      );
    t.ok(rounds.includes(true), "the same class of time");
  },
);

async function sameTime(t: Test, request: (name: string) => Promise<Response>): Promise<boolean> {
  const times: Record<string, number[]> = { private: [], missing: [] };
  for (let round = 0; round < 200; round++) {
    for (const name of round % 2 === 0 ? ["private", "missing"] : ["missing", "private"]) {
      const startedMs = performance.now();
      await (await request(name)).arrayBuffer();
      times[name]?.push(performance.now() - startedMs);
    }
  }
  const median = (values: readonly number[] = []) =>
    [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
  const [hidden, missing] = [median(times["private"]), median(times["missing"])];
  t.comment(`median of 200: hidden ${hidden.toFixed(2)} ms, missing ${missing.toFixed(2)} ms`);
  return Math.abs(hidden - missing) < 0.25 * Math.min(hidden, missing);
}

t.test("a hub that wants it says 403", { timeout: 60_000 }, async (t) => {
  const server = await startGuarded(t, { env: { LAKEPACK_DENIED_STATUS: "403" } });
  await server.user("acme");
  const stranger = await server.user("eve");
  await server.command("repo.create", { name: "acme/private" });
  const status = async (name: string, token?: string) =>
    (await ask(server, refs(`/acme/${name}`, "upload-pack"), token)).status;
  t.same(
    [
      await status("private", stranger),
      await status("missing", stranger),
      await status("private"),
      await status("missing"),
    ],
    [403, 404, 401, 401],
  );
});

t.test(
  "a name without a type never tells of a repository that is not for the reader",
  { timeout: 60_000 },
  async (t) => {
    const server = await startGuarded(t);
    const [owner, stranger] = [await server.user("acme"), await server.user("eve")];
    const work = await tempFolder(t);
    await git(["init", "-q", work]);
    await commit(work, "one", { "a.txt": "a\n" });
    for (const name of ["acme/x", "datasets/acme/x", "spaces/acme/x"])
      await git(["push", "-q", server.at(name, owner), "main"], { cwd: work });
    const clone = async (token: string) =>
      (await tryGit(["clone", "-q", server.at("acme/x", token), await tempFolder(t)])).stderr;
    t.match(await clone(owner), /the dataset is at .*the space is at/s, "its owner is told");
    t.match(await clone(stranger), /not found/);
    await server.command("repo.visibility", { name: "datasets/acme/x", visibility: "public" });
    t.equal(
      await clone(stranger),
      "",
      "what is hidden does not stand in the way, and is not told of",
    );
  },
);
