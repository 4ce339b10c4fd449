/**
 * The writing half on a real lakeFS: stock git makes commits and packs, a node lands them, another
 * with an empty store reads them back.
 */
import { execFileSync } from "node:child_process";
import { cpSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Test } from "tap";
import { Semaphore } from "../../src/base/flow.js";
import type { LfsObjects, Mapping } from "../../src/lakefs/rules/contract.js";
import { createLanding } from "../../src/lakefs/land/landing.js";
import type { Landing, LandingPolicy } from "../../src/lakefs/land/contract.js";
import { DEFAULT_MAPPING } from "../../src/lakefs/agreed/mapping.js";
import {
  type LakefsReading,
  openLakefsReading,
  openLakefsRefs,
} from "../../src/lakefs/repository.js";
import type { LakefsRefs } from "../../src/lakefs/refs.js";
import type { FsckRules } from "../../src/git/fsck/levels.js";
import { LakefsServer } from "../../src/lakefs/api/client.js";
import type { LakefsCall } from "../../src/lakefs/api/http.js";
import type { Log } from "../../src/observe/log.js";
import { writeDerivedFiles } from "../../src/odb/manifest/stock-git-files.js";
import { startIngest } from "../../src/odb/index-pack/spool.js";
import { ManifestObjects, toPackLine } from "../../src/odb/manifest/objects.js";
import { ManifestRefs } from "../../src/odb/manifest/refs.js";
import { ManifestStore } from "../../src/odb/manifest/store.js";
import { PackChecks } from "../../src/odb/packs/checks.js";
import { PackTables } from "../../src/odb/packs/tables.js";
import type { RefOutcome } from "../../src/odb/ref-store.js";
import type { ThreadPool } from "../../src/pool/pool.js";
import { DiskStore } from "../../src/store/disk.js";
import { tempFolder } from "./temp-folder.js";
import { SEAL_KEY, signal } from "./lakefs-reading.js";
import type { RunningLakefs } from "./lakefs-servers.js";

/** No LFS object is known: pushes of pointers are refused. */
const NO_LFS_OBJECTS: LfsObjects = { address: async () => undefined };

const ZERO = "0".repeat(40);
const PREFIX = "repos/a/b";
const ENVIRONMENT = {
  PATH: process.env["PATH"],
  HOME: "/nonexistent",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_AUTHOR_NAME: "A U Thor",
  GIT_AUTHOR_EMAIL: "author@example.com",
  GIT_COMMITTER_NAME: "C O Mitter",
  GIT_COMMITTER_EMAIL: "committer@example.com",
  GIT_AUTHOR_DATE: "1700000000 +0200",
  GIT_COMMITTER_DATE: "1700000100 +0200",
};

/** A working copy of stock git. */
export class Work {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
    this.git("init", "-q", "-b", "main");
  }

  git(...args: string[]): string {
    return this.run(args).toString("latin1").trimEnd();
  }

  run(args: readonly string[], input: string | Uint8Array = ""): Buffer {
    return execFileSync("git", ["-c", "safe.directory=*", "-C", this.folder, ...args], {
      env: ENVIRONMENT,
      input,
      stdio: ["pipe", "pipe", "pipe"],
      maxBuffer: 2 ** 28,
    });
  }

  /** Commits what `change` does to the folder; the commit's id. */
  async commit(
    message: string,
    change: (folder: string) => Promise<unknown> | unknown = () => undefined,
  ): Promise<string> {
    await change(this.folder);
    this.git("add", "-A");
    this.git("commit", "-q", "--allow-empty", "-m", message);
    return this.git("rev-parse", "HEAD");
  }

  tip(ref = "HEAD"): string {
    return this.git("rev-parse", ref);
  }
}

export interface RigNode extends LakefsReading {
  readonly refs: LakefsRefs;
  /**
   * As a push would: a pack of what `not` lacks, then the refs. [name, old, new] each; old
   * undefined: what the node says.
   */
  push(
    work: Work,
    changes: readonly (readonly [name: string, to: string, old?: string])[],
    options?: { readonly atomic?: boolean; readonly rules?: FsckRules },
  ): Promise<readonly RefOutcome[]>;
  /** Objects alone, as the first half of a push: a pack of `tips`, and it stays. */
  load(work: Work, tips: readonly string[]): Promise<void>;
  git(...args: string[]): Promise<string>;
  readonly landing: Landing;
  readonly progress: string[];
  /** Results as pushers were told of them. */
  readonly results: string[];
  /** Calls of the main thread. */
  readonly calls: { name: string; method: string; path: string }[];
}

export interface RigOptions {
  /** Default: its own, of one permit. */
  readonly tasks?: Semaphore;
  readonly client?: LakefsServer;
  readonly lfs?: LfsObjects;
  readonly policy?: LandingPolicy;
  readonly sealKeys?: readonly Uint8Array[];
  readonly mappingSeed?: Mapping;
}

/** Steps around a call of the main thread. */
export interface Steps {
  before?(call: LakefsCall): Promise<void> | void;
  after?(call: LakefsCall): Promise<void> | void;
}

/** A client whose calls are watched; `steps` may be set later. */
export function watchedClient(server: RunningLakefs): { client: LakefsServer; steps: Steps } {
  const client = new LakefsServer(server.access);
  const steps: Steps = {};
  const { http } = client as unknown as {
    http: Record<string, (call: LakefsCall, ...rest: unknown[]) => Promise<unknown>>;
  };
  for (const name of ["json", "done", "bytes"]) {
    const real = (http[name] as (call: LakefsCall, ...rest: unknown[]) => Promise<unknown>).bind(
      http,
    );
    http[name] = async (call, ...rest) => {
      await steps.before?.(call);
      const answer = await real(call, ...rest);
      await steps.after?.(call);
      return answer;
    };
  }
  return { client, steps };
}

let made = 0;

export async function newRepository(server: RunningLakefs): Promise<string> {
  const name = `landing-${Date.now().toString(36)}-${made++}`;
  await server.client.createRepository(
    { name, storage_namespace: server.namespace(name), default_branch: "main" },
    signal,
  );
  return name;
}

export async function newWork(t: Test): Promise<Work> {
  return new Work(await tempFolder(t));
}

export async function rigNode(
  t: Test,
  server: RunningLakefs,
  pool: ThreadPool,
  repository: string,
  options: RigOptions = {},
): Promise<RigNode> {
  const folder = await tempFolder(t);
  const incoming = join(folder, "incoming");
  await mkdir(incoming, { recursive: true });
  const store = new DiskStore(join(folder, "store"));
  const manifests = new ManifestStore(store, PREFIX, "refs/heads/main");
  const services = {
    store,
    pool,
    tables: new PackTables(),
    checks: new PackChecks(),
    incoming,
    ingest: { packBytesMax: 2 ** 40, memoryBytes: 2 ** 26 },
    startIngest,
  };
  const objects = new ManifestObjects(services, manifests, PREFIX);
  const quiet = () => undefined;
  const log: Log = {
    error: quiet,
    info: quiet,
    debug: quiet,
    trace: quiet,
    warn: (event, facts) => void (process.env["LANDING_LOG"] && console.error(event, facts)),
  };
  const calls: RigNode["calls"] = [];
  const lakefs = options.client ?? new LakefsServer(server.access, (call) => void calls.push(call));
  const client = lakefs.in(repository);
  const {
    lfs = NO_LFS_OBJECTS,
    policy = { allowForced: false },
    tasks = new Semaphore(1),
  } = options;
  const { access } = server;
  const parts = { client, access, pool, objects, log };
  const reading = await openLakefsReading(
    {
      ...parts,
      store,
      prefix: PREFIX,
      incoming,
      mappingSeed: options.mappingSeed ?? DEFAULT_MAPPING,
      sealKeys: options.sealKeys ?? [SEAL_KEY],
      synthesisTasks: tasks,
    },
    signal,
  );
  const landing = createLanding({ ...reading, ...parts, tasks, lfs, policy });
  const refs = openLakefsRefs(reading, {
    manifestRefs: new ManifestRefs(manifests, store, PREFIX),
    landing,
    log,
  });
  const opened = { ...reading, refs };
  t.teardown(() => refs.close());
  const progress: string[] = [];
  const results: string[] = [];
  let copies = 0;
  return {
    ...opened,
    landing,
    progress,
    results,
    calls,
    push: async (work, changes, { atomic = false, rules } = {}) => {
      const { byName } = await opened.refs.read();
      const wanted = changes.map(([, to]) => to).filter((to) => to !== ZERO);
      const ingest = await objects.beginIngest({
        fsck: true,
        signal,
        ...(rules === undefined ? {} : { rules }),
      });
      try {
        await ingest.write(
          wanted.length === 0
            ? emptyPack(work)
            : work.run(["pack-objects", "--revs", "--stdout", "-q"], wanted.join("\n")),
        );
        const pack = await ingest.finish();
        await objects.publish(pack);
        const list = changes.map(([name, to, old]) => ({
          name,
          old: old ?? byName.get(name)?.oid ?? ZERO,
          new: to,
          ...peeled(work, to),
        }));
        const packs = pack.objectCount === 0 ? [] : [toPackLine(pack, "push")];
        return await opened.refs.update(
          list,
          {
            atomic,
            denyDeletes: false,
            denyDeleteCurrent: true,
            packs,
            onProgress: (line) => void progress.push(line),
            onResult: (line) => void results.push(line),
          },
          signal,
        );
      } finally {
        await ingest.discard();
      }
    },
    load: async (work, tips) => {
      const ingest = await objects.beginIngest({ fsck: true, signal });
      try {
        await ingest.write(work.run(["pack-objects", "--revs", "--stdout", "-q"], tips.join("\n")));
        const pack = await ingest.finish();
        await objects.publish(pack);
        await objects.keep([toPackLine(pack, "push")], signal);
      } finally {
        await ingest.discard();
      }
    },
    git: async (...args) => {
      await opened.refs.read();
      await opened.promised.bringAll(signal);
      await writeDerivedFiles(
        store,
        PREFIX,
        (await manifests.read()).packs,
        await opened.refs.read(),
      );
      const copy = join(folder, `copy-${copies++}.git`);
      cpSync(join(folder, "store", PREFIX, "git"), copy, { recursive: true });
      return execFileSync("git", ["-c", "safe.directory=*", "-C", copy, ...args], {
        encoding: "latin1",
        env: ENVIRONMENT,
        stdio: ["ignore", "pipe", "pipe"],
      }).trimEnd();
    },
  };
}

function emptyPack(work: Work): Buffer {
  return work.run(["pack-objects", "--stdout", "-q"], "");
}

function peeled(work: Work, oid: string): { readonly peeled?: string } {
  if (oid === ZERO || work.git("cat-file", "-t", oid) !== "tag") return {};
  return { peeled: work.git("rev-parse", `${oid}^{}`) };
}

/** Refs as another node with an empty store sees them, and what stock git says of it all. */
export async function freshView(
  t: Test,
  server: RunningLakefs,
  pool: ThreadPool,
  repository: string,
): Promise<{ refs: Record<string, string>; fsck: string; node: RigNode }> {
  const node = await rigNode(t, server, pool, repository);
  const refs = Object.fromEntries(
    (await node.refs.read()).refs.map(({ name, oid }) => [name, oid]),
  );
  return { refs, fsck: await node.git("fsck", "--strict", "--full"), node };
}
