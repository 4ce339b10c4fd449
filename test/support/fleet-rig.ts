/**
 * A fleet: several lakepack processes with data folders of their own on one bucket and one
 * PostgreSQL, and a ledger of what pushers were told.
 */
import { createServer, connect, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Test } from "tap";
import { git, type Lakepack, startLakepack, tryGit } from "./harness.js";
import { postgresDatabase, skipPostgres } from "./postgres.js";
import { type RunningS3, skipS3, startS3Server } from "./s3-server.js";
import { tempFolder } from "./temp-folder.js";

export const skipFleet: false | string = skipS3 || skipPostgres;

/** Between the nodes and the object store: can be cut off, as a network is. */
export interface Line {
  readonly endpoint: string;
  /** Ends all connections, and refuses new ones until `mend`. */
  cut(): void;
  /** Takes connections, and lets nothing through until `mend`. */
  stall(): void;
  mend(): void;
}

export interface Fleet {
  readonly line: Line;
  /** Settings of a node, without its data folder. */
  readonly env: Readonly<Record<string, string>>;
  /** Where the object store keeps the objects below the prefix: files, by their keys. */
  readonly folder: string;
  /** The object store itself, behind the line. */
  readonly s3: RunningS3;
  /** One more node. `data`: an existing folder. `more`: settings that only it has. */
  node(data?: string, more?: Readonly<Record<string, string>>): Promise<Lakepack>;
}

export async function startFleet(
  t: Test,
  more: Readonly<Record<string, string>> = {},
): Promise<Fleet> {
  const s3 = await startS3Server(t);
  const line = await startLine(t, s3.endpoint);
  const env = {
    LAKEPACK_STORE: `s3://${s3.bucket}/fleet`,
    LAKEPACK_S3_ENDPOINT: line.endpoint,
    LAKEPACK_DATABASE: await postgresDatabase(),
    AWS_ACCESS_KEY_ID: s3.credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3.credentials.secretAccessKey,
    ...more,
  };
  return {
    line,
    env,
    folder: join(s3.folder, "fleet"),
    s3,
    node: (data, own) =>
      startLakepack(t, { env: { ...env, ...own }, ...(data === undefined ? {} : { data }) }),
  };
}

/**
 * Files of repositories in the store that no manifest names, beside those that stock git reads;
 * keys below the fleet's prefix. Of repositories that have no manifest: all.
 */
export async function leftovers({ folder }: Fleet): Promise<string[]> {
  const keys = await readdir(folder, { recursive: true });
  const manifests = keys.filter((key) => key.endsWith("/git/manifest"));
  const named = new Set<string>();
  for (const key of manifests) {
    const text = await readFile(join(folder, key), "utf8");
    const { packs, snapshot } = JSON.parse(text) as {
      packs: { name: string }[];
      snapshot?: { key: string };
    };
    for (const { name } of packs) named.add(`${dirname(key)}/objects/pack/pack-${name}`);
    if (snapshot !== undefined) named.add(snapshot.key);
  }
  return keys.filter(
    (key) =>
      /\/(pack|snapshots)\/[^/]+$/.test(key) && !named.has(key.replace(/\.(pack|idx|rev)$/, "")),
  );
}

async function startLine(t: Test, endpoint: string): Promise<Line> {
  const { hostname, port } = new URL(endpoint);
  const open = new Set<Socket>();
  let isCut = false;
  let isStalled = false;
  const server = createServer((near) => {
    if (isCut) return void near.destroy();
    const far = connect(Number(port), hostname);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one);
      one.on("error", () => undefined);
      one.on("close", () => {
        open.delete(one);
        other.destroy();
      });
      one.on("data", (chunk) => other.write(chunk));
      one.on("end", () => other.end());
      if (isStalled) one.pause();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const end = () => {
    for (const one of open) one.destroy();
  };
  t.teardown(() => {
    end();
    server.close();
  });
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut: () => {
      isCut = true;
      end();
    },
    stall: () => {
      isStalled = true;
      for (const one of open) one.pause();
    },
    mend: () => {
      isCut = false;
      isStalled = false;
      for (const one of open) one.resume();
    },
  };
}

/** Requests to the object store that a node has made so far. */
export async function storeCalls(node: Lakepack): Promise<number> {
  const text = await (await fetch(`${node.url}/metrics`)).text();
  return [...text.matchAll(/^lakepack_store_calls_total\{[^}]*\} (\d+)$/gm)].reduce(
    (sum, [, count]) => sum + Number(count),
    0,
  );
}

/** What a pusher was told of one ref of one push. */
interface Entry {
  readonly ref: string;
  /** Wanted value; undefined: it was to be deleted. */
  readonly oid: string | undefined;
  readonly told: "ok" | "refused" | "unknown";
  /** Numbers of its first and its last moment, by which one was over before another began. */
  readonly span: readonly [begun: number, ended: number];
}

/** A push that is under way: moments are counted, as no two are at one time. */
export interface Begun {
  readonly ref: string;
  readonly oid: string | undefined;
  readonly at: number;
}

/**
 * What pushers were told. A ref holds what an acknowledged push has made of it, unless a later one
 * has changed it since, or one whose outcome nobody knows; of pushes that ran at one time either
 * may be the last. What was refused never shows.
 */
export class Ledger {
  readonly entries: Entry[] = [];
  #moment = 0;

  begin(ref: string, oid: string | undefined): Begun {
    return { ref, oid, at: this.#moment++ };
  }

  note(
    { ref, oid, at }: Begun,
    { code, stderr }: { readonly code: number | null; readonly stderr: string },
  ): void {
    const isUnknown = /outcome unknown/.test(stderr);
    const isRefused = !isUnknown && /\[(remote )?rejected\]|remote ref does not exist/.test(stderr);
    const told = code === 0 ? "ok" : isRefused ? "refused" : "unknown";
    this.entries.push({ ref, oid, told, span: [at, this.#moment++] });
  }

  /** Values that a ref may have. */
  #possible(ref: string): readonly string[] {
    const own = this.entries.filter((entry) => entry.ref === ref && entry.told !== "refused");
    // Who was over before an acknowledged one began is what that one has replaced.
    const lastBegun = Math.max(
      -1,
      ...own.filter(({ told }) => told === "ok").map(({ span: [begun] }) => begun),
    );
    const may = own.filter(({ span: [, ended] }) => ended > lastBegun).map(({ oid }) => oid ?? "");
    return own.some(({ told }) => told === "ok") ? may : [...may, ""];
  }

  /** Holds a server's refs against it. */
  async check(t: Test, url: string): Promise<void> {
    const listed = new Map(
      (await git(["ls-remote", url])).split("\n").map((line) => {
        const [oid = "", name = ""] = line.split("\t");
        return [name, oid] as const;
      }),
    );
    const wrong: string[] = [];
    for (const ref of new Set(this.entries.map((entry) => entry.ref))) {
      const may = this.#possible(ref);
      const is = listed.get(ref) ?? "";
      if (!may.includes(is)) wrong.push(`${ref} is ${is}, and may be ${may.join(" or ")}`);
    }
    t.same(wrong, [], `${this.entries.length} pushes`);
  }
}

/** A working copy that pushes commits of its own, most to one branch. */
export class Pusher {
  readonly ref: string;
  readonly #work: string;
  readonly #ledger: Ledger;
  /** Commit that was made last. */
  tip = "";
  #number = 0;

  private constructor(work: string, name: string, ledger: Ledger) {
    this.#work = work;
    this.ref = `refs/heads/${name}`;
    this.#ledger = ledger;
  }

  static async begin(t: Test, name: string, ledger: Ledger): Promise<Pusher> {
    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", "-b", name, work]);
    return new Pusher(work, name, ledger);
  }

  /** Commits, and pushes to this address. Whether it was taken. */
  async push(url: string): Promise<boolean> {
    return this.#send(url, this.ref, await this.#commit());
  }

  /** Pushes a commit beside the last one, which its branch leaves. */
  async force(url: string): Promise<boolean> {
    const oid = await this.#commit(["--amend"]);
    return this.#send(url, this.ref, oid, ["--force"]);
  }

  async remove(url: string): Promise<boolean> {
    return this.#send(url, this.ref, undefined);
  }

  /** Makes a ref that nobody has. */
  async add(url: string): Promise<boolean> {
    return this.#send(url, `${this.ref}-${this.#number}`, await this.#commit());
  }

  /** Moves a ref that others move too, from where it is now. */
  async share(url: string, ref: string): Promise<boolean> {
    const listed = await tryGit(["ls-remote", url, ref]);
    if (listed.code !== 0) return false;
    const lease = `--force-with-lease=${ref}:${listed.stdout.slice(0, 40).trim()}`;
    return this.#send(url, ref, await this.#commit(), [lease]);
  }

  async #commit(more: readonly string[] = []): Promise<string> {
    const text = `${this.ref} ${this.#number++}`;
    const amend = this.#number === 1 ? [] : more; // nothing is there to be amended
    await git(["commit", "-q", "--allow-empty", ...amend, "-m", text], { cwd: this.#work });
    this.tip = await git(["rev-parse", "HEAD"], { cwd: this.#work });
    return this.tip;
  }

  async #send(
    url: string,
    ref: string,
    oid: string | undefined,
    more: readonly string[] = [],
  ): Promise<boolean> {
    const begun = this.#ledger.begin(ref, oid);
    const run = await tryGit(["push", ...more, url, `${oid ?? ""}:${ref}`], { cwd: this.#work });
    this.#ledger.note(begun, run);
    return run.code === 0;
  }
}
