/**
 * Rights that end while a request runs, and links that outlive them: nothing moves, nothing is
 * kept, and why is said in words. On both front ends, for repositories of our own and of lakeFS.
 */
import { createHash, randomBytes } from "node:crypto";
import t, { type Test } from "tap";
import { frontEnds } from "../support/everyday.js";
import { RawClient } from "../support/raw-client.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { type Guarded, startGuarded } from "../support/accounts-rig.js";
import { commit, git } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { emptyRepository, put, settingsFor, signal } from "../support/lakefs-rig.js";
import { slowPush } from "../support/slow-push.js";

t.setTimeout(600_000);

const MEDIA = "application/vnd.git-lfs+json";

interface Place {
  readonly server: Guarded;
  /** Name of the repository. */
  readonly name: string;
  readonly work: string;
  readonly oid: string;
  /** Makes a user who owns nothing and was granted to write. */
  readonly writer: () => Promise<{ readonly user: string; readonly token: string }>;
}

interface Ending {
  readonly what: string;
  readonly end: (place: Place, user: string) => Promise<unknown>;
  /** Text that the pusher reads. */
  readonly says: RegExp;
}

const revoke = async ({ server }: Place, user: string) => {
  for (const { id, revoked } of await server.command("token.list", { user, after: "" }))
    if (revoked === null) await server.command("token.revoke", { id });
};

const ENDINGS: readonly Ending[] = [
  {
    what: "the token is revoked",
    end: revoke,
    says: /the right to push has ended while the push ran: .*it was revoked/,
  },
  {
    what: "the user is disabled",
    end: ({ server }, name) => server.command("user.change", { name, disabled: true }),
    says: /ended while the push ran: .*its user is disabled/,
  },
  {
    what: "the grant is taken away",
    end: ({ server, name }, user) => server.command("repo.grant", { name, user, role: null }),
    says: /ended while the push ran: repository not found/,
  },
  {
    what: "the grant becomes one to read",
    end: ({ server, name }, user) => server.command("repo.grant", { name, user, role: "read" }),
    says: /ended while the push ran: this token may not do that here/,
  },
];

let users = 0;

function placeOf(server: Guarded, name: string, work: string, oid: string): Place {
  const writer = async () => {
    const user = `writer-${users++}`;
    const token = await server.user(user);
    await server.command("repo.grant", { name, user, role: "write" });
    return { user, token };
  };
  return { server, name, work, oid, writer };
}

const refsOf = (place: Place) =>
  git(["ls-remote", place.server.at(place.name, place.server.adminToken), "refs/heads/slow-*"]);

async function pushes(t: Test, place: Place): Promise<void> {
  for (const { what, end, says } of ENDINGS) {
    const { user, token } = await place.writer();
    const refs = ["refs/heads/slow-a", "refs/heads/slow-b"];
    const report = await slowPush(t, place.server, {
      ...place,
      repository: place.name,
      token,
      refs,
      between: () => end(place, user),
    });
    t.equal(report.unpack, "ok", `${what}: what came is a good pack`);
    t.same(
      report.refs.map((line) => line.split(" ").slice(0, 2).join(" ")),
      refs.map((name) => `ng ${name}`),
      `${what}: each ref is told`,
    );
    for (const line of report.refs) t.match(line, says, what);
    t.equal(await refsOf(place), "", `${what}: nothing moved`);
  }
  const { token } = await place.writer();
  const report = await slowPush(t, place.server, {
    ...place,
    repository: place.name,
    token,
    refs: ["refs/heads/slow-good"],
    between: async () => undefined,
  });
  t.same(report, { unpack: "ok", refs: ["ok refs/heads/slow-good"] }, "who may still does");
}

interface Actions {
  readonly [action: string]: { readonly href: string } | undefined;
}

async function batch(
  { server, name }: Place,
  operation: string,
  token: string | undefined,
  object: { oid: string; size: number },
) {
  const headers = {
    "Content-Type": MEDIA,
    Accept: MEDIA,
    ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
  };
  const reply = await fetch(`${server.url}/${name}.git/info/lfs/objects/batch`, {
    method: "POST",
    headers,
    body: JSON.stringify({ operation, transfers: ["basic"], objects: [object] }),
  });
  const { objects } = (await reply.json()) as {
    objects?: readonly { actions?: Actions; error?: { code: number } }[];
  };
  return {
    status: reply.status,
    error: objects?.[0]?.error?.code,
    actions: objects?.[0]?.actions ?? {},
  };
}

function newObject() {
  const content = randomBytes(3_000);
  return {
    content,
    object: { oid: createHash("sha256").update(content).digest("hex"), size: content.length },
  };
}

const hrefOf = (actions: Actions, name: string) => actions[name]?.href ?? "";
/** Status and words of a call by a link. */
async function follow(href: string, init: RequestInit = {}): Promise<readonly [number, string]> {
  const reply = await fetch(href, init);
  const text = await reply.text();
  return [
    reply.status,
    text.startsWith('{"message"')
      ? (JSON.parse(text) as { message: string }).message
      : text.slice(0, 20),
  ];
}

async function links(t: Test, place: Place): Promise<void> {
  for (const { what, end } of ENDINGS) {
    const { user, token } = await place.writer();
    const held = newObject();
    const { actions: first } = await batch(place, "upload", token, held.object);
    t.equal((await follow(hrefOf(first, "upload"), { method: "PUT", body: held.content }))[0], 200);
    const { actions: down } = await batch(place, "download", token, held.object);
    const fresh = newObject();
    const { actions: up } = await batch(place, "upload", token, fresh.object);
    const verify = {
      method: "POST",
      headers: { "Content-Type": MEDIA },
      body: JSON.stringify(held.object),
    };
    t.equal((await follow(hrefOf(first, "verify"), verify))[0], 200);
    const ours = hrefOf(down, "download").startsWith(place.server.url); // S3 blocks: signed by lakeFS, which we cannot take back
    if (ours) t.equal((await follow(hrefOf(down, "download")))[0], 200);
    await end(place, user);
    const mayRead = what.endsWith("one to read");
    const status = what.startsWith("the grant is taken") ? 404 : 403;
    if (ours)
      t.equal(
        (await follow(hrefOf(down, "download")))[0],
        mayRead ? 200 : status,
        `${what}: the link to download`,
      );
    const [upStatus, words] = await follow(hrefOf(up, "upload"), {
      method: "PUT",
      body: fresh.content,
    });
    t.equal(upStatus, status, `${what}: the link to upload`);
    t.match(
      words,
      status === 404 ? /repository not found/ : /the right behind this link has ended: ./,
      `${what}: in words`,
    );
    t.equal(
      (await follow(hrefOf(first, "verify"), verify))[0],
      status,
      `${what}: the link to verify`,
    );
    t.equal(
      (await batch(place, "download", place.server.adminToken, fresh.object)).error,
      404,
      `${what}: nothing was kept`,
    );
  }
}

/** The end comes while the object's bytes are on their way. */
async function slowUpload(t: Test, place: Place): Promise<void> {
  for (const { what, end } of ENDINGS) {
    const { user, token } = await place.writer();
    const { content, object } = newObject();
    const { actions } = await batch(place, "upload", token, object);
    const { pathname, search } = new URL(hrefOf(actions, "upload"));
    const client = new RawClient(place.server.port).send(
      `PUT ${pathname}${search} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${content.length}\r\n\r\n`,
    );
    t.teardown(() => client.close());
    await client.sent(content.subarray(0, 1_000));
    await new Promise((wake) => setTimeout(wake, 300));
    await end(place, user);
    const reply = await client.send(content.subarray(1_000)).response();
    t.equal(reply.status, 403, `${what}: ${reply.body.toString()}`);
    t.match(reply.body.toString(), /ended/, what);
    t.equal(
      (await batch(place, "download", place.server.adminToken, object)).error,
      404,
      `${what}: nothing is linked`,
    );
  }
}

async function anonymousLinks(t: Test, place: Place): Promise<void> {
  const { server, name } = place;
  const { token } = await place.writer();
  const { content, object } = newObject();
  const { actions: up } = await batch(place, "upload", token, object);
  await follow(hrefOf(up, "upload"), { method: "PUT", body: content });
  await server.command("repo.visibility", { name, visibility: "public" });
  const { actions } = await batch(place, "download", undefined, object);
  const href = hrefOf(actions, "download");
  if (!href.startsWith(server.url)) return; // signed by lakeFS
  t.equal((await follow(href))[0], 200);
  await server.command("repo.visibility", { name, visibility: "private" });
  const [status, words] = await follow(href);
  t.equal(status, 403);
  t.match(
    words,
    /the right behind this link has ended: the repository is not open to everybody any more/,
  );
  t.equal(
    (await fetch(href, { headers: { Authorization: `Bearer ${server.adminToken}` } })).status,
    403,
    "a link is its holder's, whoever calls it",
  );
}

for (const kind of frontEnds) {
  t.test(`a repository of our own (${kind})`, { timeout: 300_000 }, async (t) => {
    const server = await startGuarded(t, { args: ["--transport", kind] });
    const acme = await server.user("acme");
    const work = await tempFolder(t);
    await git(["init", "-q", work]);
    const oid = await commit(work, "one", {
      "a.txt": "a\n".repeat(5_000),
      "b.bin": randomBytes(40_000).toString("hex"),
    });
    await git(["push", "-q", server.at("acme/model", acme), "main"], { cwd: work });
    const place = placeOf(
      server,
      "acme/model",
      work,
      await commit(work, "two", { "c.bin": randomBytes(40_000).toString("hex") }),
    );
    t.test("slow pushes", (t) => pushes(t, place));
    t.test("links", (t) => links(t, place));
    t.test("slow uploads", (t) => slowUpload(t, place));
    t.test("links of nobody in particular", (t) => anonymousLinks(t, place));

    t.test("deleted in the middle, and made again under its name", async (t) => {
      const refs = ["refs/heads/main"];
      await git(["push", "-q", server.at("acme/passing", acme), `${oid}:refs/heads/first`], {
        cwd: work,
      });
      const gone = await slowPush(t, server, {
        ...place,
        repository: "acme/passing",
        token: acme,
        refs,
        between: () => server.command("repo.delete", { name: "acme/passing" }),
      });
      t.match(gone.refs, [
        /^ng refs\/heads\/main the right to push has ended while the push ran: repository not found .*another one has its name/,
      ]);
      await git(["push", "-q", server.at("acme/passing", acme), `${oid}:refs/heads/first`], {
        cwd: work,
      });
      const again = async () => {
        await server.command("repo.delete", { name: "acme/passing" });
        await git(["push", "-q", server.at("acme/passing", acme), `${oid}:refs/heads/other`], {
          cwd: work,
        });
      };
      const made = await slowPush(t, server, {
        ...place,
        repository: "acme/passing",
        token: acme,
        refs,
        between: again,
      });
      t.match(made.refs, [/^ng refs\/heads\/main .*another one has its name now/]);
      t.equal(
        await git(["ls-remote", server.at("acme/passing", acme), "refs/*"]),
        `${oid}\trefs/heads/other`,
        "nothing of it landed in the new one",
      );
    });

    t.test(
      "a name that is bound to a lakeFS repository or made by a command while its first push runs",
      async (t) => {
        const { refs } = await slowPush(t, server, {
          ...place,
          repository: "acme/fresh",
          token: acme,
          refs: ["refs/heads/main"],
          between: () => server.command("repo.create", { name: "acme/fresh" }),
        });
        t.same(refs, ["ok refs/heads/main"], "the same repository");
        const removed = await slowPush(t, server, {
          ...place,
          repository: "acme/begun",
          token: acme,
          refs: ["refs/heads/main"],
          between: () => server.command("repo.delete", { name: "acme/begun" }),
        });
        t.match(removed.refs, [/^ng refs\/heads\/main /]);
        t.equal(
          (
            await fetch(server.at("acme/begun").replace("://", "://"), {
              headers: { Authorization: `Bearer ${acme}` },
            })
          ).status,
          404,
        );
      },
    );
  });

  t.test(`a repository of lakeFS (${kind})`, { timeout: 300_000, skip: skipLakefs }, async (t) => {
    const lakefs = await startLakefs(t);
    const name = await emptyRepository(lakefs, "ended");
    await put(lakefs, name, "a.txt", "a\n");
    await lakefs.client.in(name).commit("main", { message: "one" }, signal);
    const server = await startGuarded(t, { args: ["--transport", kind], env: settingsFor(lakefs) });
    const work = await tempFolder(t);
    await git(["init", "-q", work]);
    await git(["fetch", "-q", server.at(`lakefs/${name}`, server.adminToken), "main"], {
      cwd: work,
    });
    await git(["reset", "-q", "--hard", "FETCH_HEAD"], { cwd: work });
    const place = placeOf(
      server,
      `lakefs/${name}`,
      work,
      await commit(work, "two", { "c.bin": randomBytes(40_000).toString("hex") }),
    );
    t.test("slow pushes", (t) => pushes(t, place));
    t.test("links", (t) => links(t, place));
    t.test("slow uploads", (t) => slowUpload(t, place));
    t.test("links of nobody in particular", (t) => anonymousLinks(t, place));
    t.test("it is deleted in lakeFS in the middle", async (t) => {
      const path = `/api/v1/repositories/${name}`;
      const authorization = `Basic ${Buffer.from(`${lakefs.access.accessKeyId}:${lakefs.access.secretAccessKey}`).toString("base64")}`;
      const remove = () =>
        fetch(`${lakefs.access.endpoint}${path}`, { method: "DELETE", headers: { authorization } });
      const wait = () => new Promise((wake) => setTimeout(wake, 8_000)); // lakeFS believes for seven seconds that it is there
      const report = await slowPush(t, server, {
        ...place,
        repository: `lakefs/${name}`,
        token: server.adminToken,
        refs: ["refs/heads/slow-gone"],
        between: () => remove().then(wait),
      });
      t.match(report.refs, [
        /^ng refs\/heads\/slow-gone the right to push has ended while the push ran: the repository that this name leads to is gone/,
      ]);
    });
  });
}
