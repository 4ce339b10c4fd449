/**
 * Pushes to a recorded lakepack, and what a disk may show of them at any moment: every `ok` that
 * was said, nothing that nobody pushed.
 */
import { createHash, randomBytes } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import Libsql from "libsql";
import type { Test } from "tap";
import { Database } from "../../src/database/database.js";
import type { SpoolServices } from "../../src/lfs/hashed-spool.js";
import { OwnLfsStore } from "../../src/lfs/own-store.js";
import { verifyLfsObjects } from "../../src/lfs/verify-objects.js";
import { ManifestRefs } from "../../src/odb/manifest/refs.js";
import { ManifestStore } from "../../src/odb/manifest/store.js";
import { type Beside, type Finding, verifyRepository } from "../../src/odb/manifest/verify.js";
import type { Manifest } from "../../src/odb/manifest/manifest.js";
import type { Pool } from "../../src/pool/task.js";
import { REPOSITORIES_FOLDER, storePrefix } from "../../src/serve/conversation/repository-name.js";
import { DiskStore } from "../../src/store/disk.js";
import { type Lakepack, prefixOf, startLakepack, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { type JournalRecord, type Order, readJournal } from "./journal.js";

const RECORDER = pathToFileURL(join(import.meta.dirname, "recorder.js")).href;
const { signal } = new AbortController();

/** Environment of a recorded process: journal, orders and what it changes are in `folder`. */
export function recording(folder: string): Readonly<Record<string, string>> {
  return {
    NODE_OPTIONS: `--import=${RECORDER}`,
    CRASH_JOURNAL: join(folder, "journal"),
    CRASH_ROOT: join(folder, "root"),
    CRASH_ORDERS: join(folder, "order"),
  };
}

interface Attempt {
  /** Undefined: deleted. */
  readonly oid: string | undefined;
  /** The client was not told that it is done; it may have landed all the same. */
  failed: boolean;
  /**
   * The client was told that it is not done, in words that leave no doubt: from then on it must not
   * be shown.
   */
  refused: boolean;
}

/**
 * Acknowledgements before some moment: how many `ok` of each ref ("ns/name refs/heads/main"), and
 * which LFS objects.
 */
export interface Acknowledged {
  readonly refs: ReadonlyMap<string, number>;
  /** Number of refusals of each ref. */
  readonly refusals: ReadonlyMap<string, number>;
  readonly lfs: ReadonlySet<string>;
}

export class History {
  readonly folder: string;
  readonly #t: Test;
  readonly #attempts = new Map<string, Attempt[]>();
  readonly #others = new Set<string>();
  readonly #prefixes = new Map<string, string>();
  /** Findings by the state of a repository's folder: most crashes leave most repositories alike. */
  readonly #verified = new Map<string, readonly Finding[]>();
  readonly #environment: Readonly<Record<string, string>>;
  server!: Lakepack;

  private constructor(t: Test, folder: string, environment: Readonly<Record<string, string>>) {
    this.#t = t;
    this.folder = folder;
    this.#environment = environment;
  }

  static async begin(
    t: Test,
    environment: Readonly<Record<string, string>> = {},
  ): Promise<History> {
    const history = new History(t, await tempFolder(t), environment);
    await history.start();
    return history;
  }

  get data(): string {
    return join(this.folder, "root", "data");
  }

  /**
   * A recorded server on the history's folder; the folder `root` is there, durably, before anything
   * is recorded.
   */
  async start(): Promise<void> {
    const env = {
      ...recording(this.folder),
      LAKEPACK_TRANSPORT: "node",
      LAKEPACK_POOL_THREADS: "2",
      ...this.#environment,
    };
    this.server = await startLakepack(this.#t, { data: this.data, env });
  }

  async order(order: Order): Promise<void> {
    await rm(join(this.folder, "order.count"), { force: true });
    await writeFile(join(this.folder, "order"), JSON.stringify(order));
  }

  /** Number of operations that an order has let through. */
  get counted(): number {
    return existsSync(join(this.folder, "order.count"))
      ? statSync(join(this.folder, "order.count")).size
      : 0;
  }

  get isOrderOpen(): boolean {
    return existsSync(join(this.folder, "order"));
  }

  async withdraw(): Promise<void> {
    await rm(join(this.folder, "order"), { force: true });
  }

  /** Pushes with stock git; `refs`: full name → id, undefined deletes. What git said. */
  async push(
    work: string,
    repository: string,
    refs: Readonly<Record<string, string | undefined>>,
  ): Promise<string> {
    const attempts = Object.entries(refs).map(([name, oid]) => {
      const attempt: Attempt = { oid, failed: false, refused: false };
      const key = `${repository} ${name}`;
      this.#attempts.set(key, [...(this.#attempts.get(key) ?? []), attempt]);
      return { name, attempt };
    });
    const specs = Object.entries(refs).map(([name, oid]) => `${oid ?? ""}:${name}`);
    const run = await tryGit(
      ["push", "--porcelain", `${this.server.url}/${repository}.git`, ...specs],
      { cwd: work },
    );
    for (const { name, attempt } of attempts) {
      attempt.failed = !new RegExp(`^[ *+=-]\t[^\n]*:${name}\t`, "m").test(run.stdout);
      const no = new RegExp(`^!\t[^\n]*:${name}\t\\[remote rejected\\] \\(([^\n]*)\\)$`, "m").exec(
        run.stdout,
      );
      attempt.refused = no !== null && !no[1]?.includes("outcome unknown");
    }
    return `${run.stdout}${run.stderr}`;
  }

  /**
   * Returns where a repository that nobody has pushed to yet will lie: its row is made as a first
   * push makes it.
   */
  async reserve(repository: string): Promise<string> {
    const id = randomBytes(16).toString("hex");
    const [namespace] = repository.split("/");
    const database = new Libsql(join(this.data, "lakepack.db"));
    const insert =
      "INSERT INTO repositories (id, title, namespace, visibility, created_at, state) VALUES (?, ?, ?, 'private', '2026-01-01', 'making')";
    database.prepare(insert).run(id, repository, namespace);
    database.close();
    return storePrefix({ id, prefix: null });
  }

  /** A repository that nobody pushes to here: what its manifest names must be whole. */
  include(repository: string): void {
    this.#others.add(repository);
  }

  failedPushes(): string[] {
    return [...this.#attempts]
      .filter(([, attempts]) => attempts.some(({ failed }) => failed))
      .map(([key]) => key);
  }

  repositories(): Set<string> {
    return new Set([
      ...[...this.#attempts.keys()].map((key) => key.split(" ")[0] as string),
      ...this.#others,
    ]);
  }

  /** Uploads one LFS object as git-lfs does; whether the server took it. */
  async upload(repository: string, content: Uint8Array): Promise<boolean> {
    const oid = createHash("sha256").update(content).digest("hex");
    const url = `${this.server.url}/${repository}.git/info/lfs/objects/batch`;
    const headers = {
      "Content-Type": "application/vnd.git-lfs+json",
      Accept: "application/vnd.git-lfs+json",
    };
    const batch = await fetch(url, {
      method: "POST",
      headers,
      body: JSON.stringify({
        operation: "upload",
        transfers: ["basic"],
        objects: [{ oid, size: content.length }],
      }),
    });
    const { objects } = (await batch.json()) as {
      objects: [{ actions?: { upload: { href: string; header?: Record<string, string> } } }];
    };
    const upload = objects[0].actions?.upload;
    if (upload === undefined) return true;
    const put = await fetch(upload.href, {
      method: "PUT",
      headers: { ...upload.header, "Content-Type": "application/octet-stream" },
      body: Buffer.from(content),
    });
    return put.status === 200;
  }

  journal(): JournalRecord[] {
    return readJournal(readFileSync(join(this.folder, "journal")));
  }

  /** Returns the faults of `data` after a crash, if by then this was acknowledged. */
  async problems(
    data: string,
    acknowledged: Acknowledged,
    pool: Pool,
    beside?: (store: DiskStore, prefix: string, manifest: Manifest) => Promise<Beside>,
  ): Promise<string[]> {
    const store = new DiskStore(data);
    const folder = join(this.folder, `verify-${randomBytes(6).toString("hex")}`);
    const found: string[] = [];
    const repositories = this.repositories();
    for (const repository of repositories) {
      const prefix = await this.#prefixOf(repository);
      try {
        const state = `${prefix} ${await digest(join(data, prefix))}`;
        const besideIt =
          beside === undefined
            ? {}
            : { beside: (manifest: Manifest) => beside(store, prefix, manifest) };
        const findings =
          this.#verified.get(state) ??
          (await verifyRepository({ store, pool, prefix, folder, signal, ...besideIt })).findings;
        this.#verified.set(state, findings);
        found.push(...findings.map(({ file, problem }) => `${file}: ${problem}`));
        if (findings.length === 0)
          found.push(...(await this.#wrongRefs(store, repository, acknowledged)));
      } catch (error) {
        found.push(`${repository}: ${(error as Error).message}`);
      }
    }
    found.push(...(await this.#lostObjects({ store, pool, incoming: folder }, acknowledged)));
    await rm(folder, { recursive: true, force: true });
    return found;
  }

  /**
   * Returns acknowledged LFS objects that are gone or damaged. Links are those of the database of
   * the folder that was served, whose own changes the journal does not have.
   */
  async #lostObjects(
    services: { readonly store: DiskStore } & SpoolServices,
    { lfs: acknowledged }: Acknowledged,
  ): Promise<string[]> {
    const lost: string[] = [];
    if (acknowledged.size === 0) return lost;
    const database = await Database.openToRead(join(this.data, "lakepack.db"));
    if (database === undefined) return [...acknowledged];
    try {
      for (const key of acknowledged) {
        const [repository = "", oid = ""] = key.split(" ");
        const prefix = await this.#prefixOf(repository);
        const id = prefix.slice(REPOSITORIES_FOLDER.length);
        const lfs = new OwnLfsStore({ ...services, database }, id);
        if ((await lfs.size({ oid, size: 0 }, signal)) === undefined)
          lost.push(`LFS object ${oid} of ${repository} is gone`);
        const { findings } = await verifyLfsObjects({ ...services, database }, id, signal);
        lost.push(
          ...findings
            .filter(({ file }) => file.includes(oid))
            .map(({ file, problem }) => `${file}: ${problem}`),
        );
      }
    } finally {
      await database.close();
    }
    return lost;
  }

  /**
   * As the database of the folder that was served says now: whatever a crash shows of the store,
   * ids stay. Where no row came to be there is nothing to find.
   */
  async #prefixOf(repository: string): Promise<string> {
    const known =
      this.#prefixes.get(repository) ??
      (await prefixOf(this.data, repository).catch(() => undefined));
    if (known !== undefined) this.#prefixes.set(repository, known);
    return known ?? "repos/none";
  }

  async #wrongRefs(
    store: DiskStore,
    repository: string,
    { refs: oks, refusals }: Acknowledged,
  ): Promise<string[]> {
    const prefix = await this.#prefixOf(repository);
    const shown = new Map(
      (
        await new ManifestRefs(
          new ManifestStore(store, prefix, "refs/heads/main"),
          store,
          prefix,
        ).read(signal)
      ).refs.map(({ name, oid }) => [name, oid]),
    );
    const wrong: string[] = [];
    for (const [key, attempts] of this.#attempts) {
      const [of, name = ""] = key.split(" ");
      if (of !== repository) continue;
      const allowed = possible(attempts, oks.get(key) ?? 0, refusals.get(key) ?? 0);
      if (!allowed.includes(shown.get(name)))
        wrong.push(`${key} is ${shown.get(name)}, not ${allowed.join(" or ")}`);
      shown.delete(name);
    }
    return [
      ...wrong,
      ...[...shown.keys()].map((name) => `${repository} shows ${name}, which nobody pushed`),
    ];
  }
}

/**
 * Values a ref may have when so many `ok` and refusals were said: that of the last `ok`, or of what
 * was tried after it and not refused.
 */
function possible(all: readonly Attempt[], oks: number, refusals: number): (string | undefined)[] {
  const refused = new Set(all.filter((attempt) => attempt.refused).slice(0, refusals));
  const attempts = all.filter((attempt) => !refused.has(attempt));
  const done = attempts.findIndex(
    (attempt, at) =>
      !attempt.failed && attempts.slice(0, at + 1).filter(({ failed }) => !failed).length === oks,
  );
  const before = oks === 0 ? undefined : attempts[done]?.oid;
  const after = attempts.slice(oks === 0 ? 0 : done + 1);
  const next = after.findIndex(({ failed }) => !failed);
  return [before, ...after.slice(0, next < 0 ? after.length : next + 1).map(({ oid }) => oid)];
}

/** Follows the answers in a journal. */
export class Acknowledgements implements Acknowledged {
  readonly refs = new Map<string, number>();
  readonly refusals = new Map<string, number>();
  readonly lfs = new Set<string>();

  /** Takes a record; returns whether it acknowledges something. */
  take(record: JournalRecord): boolean {
    if (record.op !== "answer") return false;
    const pushed = /^\/([^?]+)\.git\/git-receive-pack/.exec(record.url)?.[1];
    if (pushed !== undefined) {
      const oks = [
        ...record.bytes.toString("latin1").matchAll(/[0-9a-f]{4}ok (refs\/[^\n]+)\n/g),
      ].map(([, name]) => `${pushed} ${name}`);
      for (const key of oks) this.refs.set(key, (this.refs.get(key) ?? 0) + 1);
      const nos = [
        ...record.bytes.toString("latin1").matchAll(/[0-9a-f]{4}ng (refs\/[^ \n]+) ([^\n]*)\n/g),
      ].filter(([, , reason]) => !reason?.includes("outcome unknown"));
      for (const [, name] of nos)
        this.refusals.set(`${pushed} ${name}`, (this.refusals.get(`${pushed} ${name}`) ?? 0) + 1);
      return oks.length + nos.length > 0;
    }
    const uploaded = /^\/([^?]+)\.git\/info\/lfs\/objects\/([0-9a-f]{64})\//.exec(record.url);
    if (record.method !== "PUT" || uploaded === null || record.status !== 200) return false;
    this.lfs.add(`${uploaded[1]} ${uploaded[2]}`);
    return true;
  }
}

/** An LFS pointer's text. */
export function pointerTo(content: Uint8Array): string {
  return `version https://git-lfs.github.com/spec/v1\noid sha256:${createHash("sha256").update(content).digest("hex")}\nsize ${content.length}\n`;
}

/** Makes a digest of all names and contents below a folder. */
export async function digest(folder: string): Promise<string> {
  const hash = createHash("sha1");
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  for (const entry of entries.sort((left, right) =>
    join(left.parentPath, left.name) < join(right.parentPath, right.name) ? -1 : 1,
  )) {
    hash.update(join(entry.parentPath, entry.name).slice(folder.length));
    if (entry.isFile()) hash.update(await readFile(join(entry.parentPath, entry.name)));
  }
  return hash.digest("hex");
}
