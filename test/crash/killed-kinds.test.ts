/**
 * kill -9 at random moments under everything else that is reported done: many refs at once and
 * their deletion, LFS uploads, and commands: repositories, bindings to lakeFS, visibility, grants,
 * users, tokens. What was reported is there after a new start; refs that moved together are all
 * there or none. `--rounds N` (or ROUNDS=N) for more than every day's.
 */
import { createHash, randomBytes } from "node:crypto";
import { join } from "node:path";
import t, { type Test } from "tap";
import { type Guarded, startGuarded } from "../support/accounts-rig.js";
import { checkFsck, commit, git, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { settingsFor, seed } from "../support/lakefs-rig.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { seeded } from "../support/random.js";

const ROUNDS_EVERY_DAY = 8;
/** More than a manifest holds (limits: manifestRefsMax): a snapshot and changes on top of it. */
const MANY_REFS = 430;
const KILL_WITHIN_MS = 1_500;

const argument = process.argv.indexOf("--rounds");
const rounds = Number(
  (argument < 0 ? undefined : process.argv[argument + 1]) ??
    process.env["ROUNDS"] ??
    ROUNDS_EVERY_DAY,
);
const chosen = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
t.setTimeout(240_000 + rounds * 20_000);

/** Does one thing after the other until the server is gone, and knows what must be there then. */
interface Actor {
  act(server: Guarded): Promise<void>;
  check(t: Test, server: Guarded): Promise<void>;
}

/** Pushes many tags at once to one commit or another, deletes them, and branches one by one. */
class RefsActor implements Actor {
  readonly #work: string;
  readonly #commits: readonly string[];
  /** The object that all tags point at; undefined: none is there. */
  #told: string | undefined;
  #tried: (string | undefined)[] = [];

  constructor(work: string, commits: readonly string[]) {
    this.#work = work;
    this.#commits = commits;
  }

  async act(server: Guarded): Promise<void> {
    for (let turn = 0; ; turn++) {
      const oid = turn % 3 === 2 ? undefined : this.#commits[turn % 3];
      this.#tried.push(oid);
      const specs = Array.from(
        { length: MANY_REFS },
        (_, n) => `${oid === undefined ? "" : `+${oid}`}:refs/tags/t${n}`,
      );
      const run = await tryGit(
        ["push", "--porcelain", server.at("kinds/refs", server.adminToken), ...specs],
        { cwd: this.#work },
      );
      if (run.code !== 0) return;
      this.#told = oid;
      this.#tried = [];
    }
  }

  async check(t: Test, server: Guarded): Promise<void> {
    const run = await tryGit([
      "ls-remote",
      server.at("kinds/refs", server.adminToken),
      "refs/tags/*",
    ]);
    const shown = run.stdout
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => line.slice(0, 40));
    const values = new Set(shown);
    t.ok(
      shown.length === 0 || (shown.length === MANY_REFS && values.size === 1),
      `all or none: ${shown.length} tags, ${values.size} values`,
    );
    const [value] = values;
    t.ok([this.#told, ...this.#tried].includes(value), "what was reported, or tried after it");
    this.#told = value;
    this.#tried = [];
    if (run.code !== 0) t.match(run.stderr, /not found/, "not yet made");
  }
}

class LfsActor implements Actor {
  readonly #kept = new Map<string, Buffer>();

  async act(server: Guarded): Promise<void> {
    for (;;) {
      const bytes = randomBytes(40_000);
      const oid = createHash("sha256").update(bytes).digest("hex");
      const link = await this.#link(server, "upload", oid, bytes.length);
      const put =
        link &&
        (await fetch(link.href, {
          method: "PUT",
          headers: { ...link.header, "Content-Type": "application/octet-stream" },
          body: bytes,
        }).catch(() => undefined));
      if (put?.status !== 200) return;
      this.#kept.set(oid, bytes);
    }
  }

  async check(t: Test, server: Guarded): Promise<void> {
    for (const [oid, bytes] of this.#kept) {
      const link = await this.#link(server, "download", oid, bytes.length);
      const got = link && (await fetch(link.href, { headers: link.header ?? {} }));
      t.ok(
        got?.status === 200 && Buffer.from(await got.arrayBuffer()).equals(bytes),
        `LFS object ${oid.slice(0, 8)}`,
      );
    }
    this.#kept.clear(); // each is looked at once
  }

  async #link(
    server: Guarded,
    operation: string,
    oid: string,
    size: number,
  ): Promise<{ href: string; header?: Record<string, string> } | undefined> {
    const headers = {
      "Content-Type": "application/vnd.git-lfs+json",
      Accept: "application/vnd.git-lfs+json",
      Authorization: `Bearer ${server.adminToken}`,
    };
    const body = JSON.stringify({ operation, transfers: ["basic"], objects: [{ oid, size }] });
    const answer = await fetch(`${server.url}/kinds/refs.git/info/lfs/objects/batch`, {
      method: "POST",
      headers,
      body,
    }).catch(() => undefined);
    const { objects } = ((await answer?.json().catch(() => undefined)) ?? {}) as {
      objects?: [{ actions?: Record<string, { href: string }> }];
    };
    return objects?.[0].actions?.[operation];
  }
}

class CommandActor implements Actor {
  readonly #bound: string | undefined;
  #count = 0;
  /** Repository → what is sure of it. */
  readonly #sure = new Map<string, { visibility?: string; grant?: string; lakefs?: string }>();
  readonly #tokens: string[] = [];

  constructor(bound: string | undefined) {
    this.#bound = bound;
  }

  async act(server: Guarded): Promise<void> {
    try {
      for (;;) await this.#round(server, this.#count++);
    } catch {
      return; // the server is gone
    }
  }

  async #round(server: Guarded, number: number): Promise<void> {
    const name = `kinds/repo-${number}`;
    const lakefs = number % 2 === 0 ? this.#bound : undefined;
    await server.command("repo.create", { name, ...(lakefs === undefined ? {} : { lakefs }) });
    const sure: { visibility?: string; grant?: string; lakefs?: string } =
      lakefs === undefined ? {} : { lakefs };
    this.#sure.set(name, sure);
    await server.command("repo.visibility", { name, visibility: "public" });
    sure.visibility = "public";
    const user = `user${number}`;
    await server.command("user.create", { name: user, admin: false });
    await server.command("repo.grant", { name, user, role: "write" });
    sure.grant = user;
    this.#tokens.push(await server.token(user));
  }

  async check(t: Test, server: Guarded): Promise<void> {
    for (const [name, sure] of this.#sure) {
      const access = await server.command("repo.access", { name });
      if (sure.visibility !== undefined)
        t.equal(access.visibility, sure.visibility, `${name} is ${sure.visibility}`);
      if (sure.grant !== undefined)
        t.match(
          JSON.stringify(access),
          new RegExp(`"${sure.grant}".*"write"`),
          `${name} is granted`,
        );
      if (sure.lakefs !== undefined)
        t.match(
          JSON.stringify(await server.command("repo.show", { name })),
          new RegExp(`"${sure.lakefs}"`),
          `${name} is bound`,
        );
    }
    for (const token of this.#tokens)
      t.not(
        (
          await fetch(`${server.url}/kinds/refs.git/info/refs`, {
            headers: { Authorization: `Bearer ${token}` },
          })
        ).status,
        401,
        "a token signs in",
      );
    this.#sure.clear();
    this.#tokens.length = 0;
  }
}

t.test(`${rounds} rounds, seed ${chosen}`, async (t) => {
  const random = seeded(chosen);
  const folder = await tempFolder(t);
  const data = join(folder, "data");
  const work = join(folder, "work");
  await git(["init", "-q", work]);
  const commits = [
    await commit(work, "one", { "a.txt": "a\n" }),
    await commit(work, "two", { "b.txt": "b\n" }),
  ];
  const lakefs = skipLakefs === false ? await startLakefs(t) : undefined;
  if (lakefs !== undefined) await seed(lakefs, "bound", { "README.md": "# bound\n" });
  const env = lakefs === undefined ? {} : settingsFor(lakefs);
  const actors: readonly Actor[] = [
    new RefsActor(work, commits),
    new LfsActor(),
    new CommandActor(lakefs && "bound"),
  ];
  let adminToken = "";
  for (let round = 0; round <= rounds; round++) {
    const started = await startGuarded(t, { data, env, args: ["--pool-threads", "2"] });
    adminToken ||= started.adminToken;
    const server: Guarded = { ...started, adminToken };
    for (const actor of actors) await actor.check(t, server);
    if (round === 0)
      await git(["push", "-q", server.at("kinds/refs", adminToken), "main"], { cwd: work });
    if (round === rounds) {
      const clone = join(folder, "clone.git");
      await git(["clone", "-q", "--mirror", server.at("kinds/refs", adminToken), clone]);
      await checkFsck(t, clone);
      return;
    }
    const acting = actors.map((actor) => actor.act(server));
    await new Promise((wake) => setTimeout(wake, random.below(KILL_WITHIN_MS)));
    await server.kill("SIGKILL");
    await Promise.all(acting);
  }
});
