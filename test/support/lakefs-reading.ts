/**
 * The reading half alone on a real lakeFS: a repository of lakeFS's, and nodes that make Git
 * objects of it, each with a store of its own.
 */
import { execFileSync } from "node:child_process";
import { cpSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Test } from "tap";
import { Semaphore } from "../../src/base/flow.js";
import { utf8 } from "../../src/base/bytes.js";
import { loadKernels } from "../../src/cli/server/kernels.js";
import { LakefsServer } from "../../src/lakefs/api/client.js";
import { DEFAULT_MAPPING } from "../../src/lakefs/agreed/mapping.js";
import {
  type LakefsReading,
  type LakefsReadingOptions,
  openLakefsReading,
  openLakefsRefs,
} from "../../src/lakefs/repository.js";
import type { LakefsRefs } from "../../src/lakefs/refs.js";
import type { Landing } from "../../src/lakefs/land/contract.js";
import type { LakefsCommit } from "../../src/lakefs/api/types.js";
import type { Log } from "../../src/observe/log.js";
import { writeDerivedFiles } from "../../src/odb/manifest/stock-git-files.js";
import { startIngest } from "../../src/odb/index-pack/spool.js";
import { ManifestObjects } from "../../src/odb/manifest/objects.js";
import { ManifestRefs } from "../../src/odb/manifest/refs.js";
import { ManifestStore } from "../../src/odb/manifest/store.js";
import { PackChecks } from "../../src/odb/packs/checks.js";
import { PackTables } from "../../src/odb/packs/tables.js";
import { createPool, type ThreadPool } from "../../src/pool/pool.js";
import { DiskStore } from "../../src/store/disk.js";
import { tempFolder } from "./temp-folder.js";
import type { RunningLakefs } from "./lakefs-servers.js";

export const { signal } = new AbortController();

/** A pool of two threads for all of a test file. */
export async function testPool(t: Test): Promise<ThreadPool> {
  const pool = createPool({ threads: 2, kernelsModule: await loadKernels() });
  t.teardown(() => pool.close());
  return pool;
}

export class Source {
  readonly client: LakefsServer;
  readonly name: string;

  constructor(client: LakefsServer, name: string) {
    this.client = client;
    this.name = name;
  }

  async put(
    files: Readonly<Record<string, string | Uint8Array>>,
    options: { branch?: string; metadata?: Record<string, string> } = {},
  ): Promise<void> {
    const { branch = "main", metadata = {} } = options;
    for (const [path, content] of Object.entries(files)) {
      const bytes = typeof content === "string" ? utf8(content) : content;
      await this.client.in(this.name).uploadObject(branch, path, bytes, metadata, signal);
    }
  }

  remove(paths: readonly string[], branch = "main"): Promise<void> {
    return this.client.in(this.name).deleteObjects(branch, paths, signal);
  }

  commit(
    message = "change",
    options: { branch?: string; metadata?: Record<string, string> } = {},
  ): Promise<LakefsCommit> {
    const { branch = "main", metadata = {} } = options;
    return this.client
      .in(this.name)
      .commit(branch, { message, metadata, allow_empty: true }, signal);
  }

  async head(branch = "main"): Promise<string> {
    return (await this.client.in(this.name).getBranch(branch, signal)).commit_id;
  }
}

/** Every node of the tests has it, unless a test says otherwise. */
export const SEAL_KEY: Uint8Array = Buffer.alloc(32, "seal");

let made = 0;

export async function createSource(server: RunningLakefs): Promise<Source> {
  const name = `reading-${Date.now().toString(36)}-${made++}`;
  await server.client.createRepository(
    { name, storage_namespace: server.namespace(name), default_branch: "main" },
    signal,
  );
  return new Source(server.client, name);
}

export interface Node extends LakefsReading {
  readonly refs: LakefsRefs;
  close(): void;
  /** A bare repository for stock git: a copy of what is stored now. */
  bare(): Promise<string>;
  /** A work tree of a fresh copy's HEAD. */
  clone(): Promise<string>;
  /** stdout of git in a fresh copy. */
  git(...args: string[]): Promise<string>;
  /** Calls by name since the last look. */
  calls(): Record<string, number>;
  readonly warnings: readonly string[];
  /** The same folder, opened by another process would look so. */
  reopen(): Promise<Node>;
}

export interface NodeOptions
  extends Partial<
    Pick<LakefsReadingOptions, "mappingSeed" | "pagesOnly" | "cutsLookMs" | "sealKeys">
  > {
  readonly refsWaitMs?: number;
  readonly folder?: string;
}

export async function openNode(
  t: Test,
  server: RunningLakefs,
  pool: ThreadPool,
  repository: string,
  options: NodeOptions = {},
): Promise<Node> {
  const { folder = await tempFolder(t), ...more } = options;
  const incoming = join(folder, "incoming");
  await mkdir(incoming, { recursive: true });
  const prefix = "repos/a/b";
  const store = new DiskStore(join(folder, "store"));
  const manifests = new ManifestStore(store, prefix, "refs/heads/main");
  const services = {
    store,
    pool,
    tables: new PackTables(),
    checks: new PackChecks(),
    incoming,
    ingest: { packBytesMax: 2 ** 40, memoryBytes: 2 ** 26 },
    startIngest,
  };
  const objects = new ManifestObjects(services, manifests, prefix);
  const warnings: string[] = [];
  const quiet = () => undefined;
  const log: Log = {
    error: quiet,
    info: quiet,
    debug: quiet,
    trace: quiet,
    warn: (event, facts) => void warnings.push(`${event} ${JSON.stringify(facts)}`),
  };
  const client = new LakefsServer(server.access);
  const { refsWaitMs, ...wishes } = more;
  const reading = await openLakefsReading(
    {
      access: server.access,
      client: client.in(repository),
      store,
      prefix,
      pool,
      objects,
      incoming,
      log,
      mappingSeed: DEFAULT_MAPPING,
      sealKeys: [SEAL_KEY],
      synthesisTasks: new Semaphore(1),
      ...wishes,
    },
    signal,
  );
  const refs = openLakefsRefs(reading, {
    manifestRefs: new ManifestRefs(manifests, store, prefix),
    landing: refusingLanding("these nodes only read"),
    ...(refsWaitMs === undefined ? {} : { waitMs: refsWaitMs }),
    log,
  });
  t.teardown(() => refs.close());
  const opened = { ...reading, refs, close: () => refs.close() };
  let copies = 0;
  const bare = async () => {
    const refs = await opened.refs.read();
    await opened.promised.bringAll(signal);
    await writeDerivedFiles(store, prefix, (await manifests.read()).packs, refs);
    const copy = join(folder, `copy-${copies++}.git`);
    cpSync(join(folder, "store", prefix, "git"), copy, { recursive: true });
    return copy;
  };
  let before: Record<string, number> = {};
  return {
    ...opened,
    bare,
    clone: async () => {
      const [from, to] = [await bare(), join(folder, `work-${copies}`)];
      execFileSync("git", ["clone", "-q", from, to], {
        env: { PATH: process.env["PATH"], HOME: "/nonexistent", GIT_LFS_SKIP_SMUDGE: "1" },
      });
      return to;
    },
    git: async (...args) => {
      const env = { PATH: process.env["PATH"], HOME: "/nonexistent", GIT_CONFIG_NOSYSTEM: "1" };
      return execFileSync("git", ["-c", "safe.directory=*", "-C", await bare(), ...args], {
        encoding: "latin1",
        env,
        stdio: ["ignore", "pipe", "pipe"],
        maxBuffer: 2 ** 30,
      }).trimEnd();
    },
    calls() {
      const now: Record<string, number> = {};
      for (const [name, { calls }] of client.http.figures) now[name] = calls;
      const since = Object.fromEntries(
        Object.entries(now)
          .map(([name, calls]) => [name, calls - (before[name] ?? 0)])
          .filter(([, calls]) => calls !== 0),
      );
      before = now;
      return since;
    },
    warnings,
    reopen: () => openNode(t, server, pool, repository, { ...options, folder }),
  };
}

/** Returns what ls-remote would print. */
export async function refsOf(node: Node): Promise<string[]> {
  return (await node.refs.read()).refs.map(
    ({ name, oid, peeled }) => `${oid} ${name}${peeled === undefined ? "" : ` ^${peeled}`}`,
  );
}

/** Makes the landing of nodes that only read, whoever pushes. */
function refusingLanding(reason: string): Landing {
  const guard = { guard: "unknown" } as const;
  const nothing = async () => undefined;
  return {
    guard,
    update: async (changes) => changes.map(({ name }) => ({ name, ok: false, reason })),
    moving: async () => [],
    settle: nothing,
    forget: nothing,
    complete: nothing,
  };
}
