/** Puts a server together from its settings and starts it; takes it apart again. */
import { randomBytes } from "node:crypto";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { RepositoryApi } from "../api/repositories.js";
import { Fault } from "../base/fault.js";
import { lockDataFolder } from "../database/data-lock.js";
import { LakefsClient } from "../lakefs/client.js";
import { LINKED_MAPPING } from "../lakefs/mapping.js";
import { OwnLfsStore } from "../lfs/own-store.js";
import { LinkProofs } from "../lfs/proof.js";
import type { Log } from "../observe/log.js";
import { Metrics } from "../observe/metrics.js";
import { startIngest } from "../odb/ingest.js";
import { PackChecks } from "../odb/pack-checks.js";
import { PackTables } from "../odb/pack-tables.js";
import { ResponseCache } from "../odb/response-cache.js";
import { createPool, type ThreadPool } from "../pool/pool.js";
import { LfsService } from "../serve/lfs.js";
import { Maintenance } from "../serve/maintenance.js";
import { type LakefsSettings, Repositories } from "../serve/repositories.js";
import { GitServer } from "../serve/server.js";
import { DiskStore, makeRoot } from "../store/disk.js";
import { probeStore } from "../store/probe.js";
import { listenControl } from "../transport/control-socket.js";
import type { HttpListener } from "../transport/http.js";
import { createRoutes } from "../transport/http-routes.js";
import { loadTransport } from "../transport/load.js";
import { loadKernels } from "./kernels.js";
import type { Settings } from "./settings.js";
import { VERSION } from "./version.js";

export interface RunningServer {
  readonly url: string;
  readonly kind: "uws" | "node";
  stop(graceMs: number): Promise<void>;
}

const LOOPBACK = new Set(["127.0.0.1", "::1", "localhost"]);

export async function startServer(settings: Settings, log: Log): Promise<RunningServer> {
  if (settings.auth === "none" && !LOOPBACK.has(settings.listen.host)) {
    const value = `${settings.listen.host}:${settings.listen.port}`;
    throw new Fault("settings/bad-value", { name: "listen", value, allowed: "with auth none only a loopback host (127.0.0.1, [::1], localhost)" });
  }
  const opened = await openData(settings, log);
  try {
    return await serveData(settings, opened, log);
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** All that stands on one data folder, of which this process holds the lock; nothing of it listens. */
export interface OpenedData {
  /** Absolute. */
  readonly data: string;
  readonly server: GitServer;
  readonly api: RepositoryApi;
  readonly pool: ThreadPool;
  readonly metrics: Metrics;
  /** Ends what runs and gives the folder back. */
  close(): Promise<void>;
}

/** Throws "store/locked" while another process has the folder. */
export async function openData(settings: Settings, log: Log): Promise<OpenedData> {
  if (settings.naming === "kohakuhub" && settings.lakefs_endpoint === "") {
    throw new Fault("settings/bad-value", { name: "naming", value: settings.naming, allowed: "with lakefs_endpoint only: a hub's repositories are in lakeFS" });
  }
  const data = resolve(settings.data);
  await makeRoot(data);
  const lock = lockDataFolder(data);
  const pool = createPool({
    kernelsModule: await loadKernels(),
    queueMax: settings.pool_queue,
    ...(settings.pool_threads === "auto" ? {} : { threads: settings.pool_threads }),
  });
  const maintenance = new Maintenance(log);
  let repositories: Repositories | undefined;
  const close = async () => {
    await repositories?.close();
    await maintenance.stop();
    await pool.close();
    lock.release();
  };
  try {
    const incoming = join(data, "incoming");
    await emptyFolder(incoming);
    const store = new DiskStore(data);
    await probeStore(store);
    const cache = await ResponseCache.open({ folder: join(data, "cache"), bytesMax: settings.cache_bytes });
    const metrics = new Metrics(VERSION);
    const lakefs = settings.lakefs_endpoint === "" ? undefined : lakefsSettings(settings, pool, log);
    metrics.watch({ pool: () => pool.figures(), cache: () => cache, lakefs: () => lakefs?.client.http.figures ?? new Map() });
    const assembled = assemble(settings, { incoming, store, cache, pool, log, maintenance, metrics, lakefs });
    repositories = assembled.repositories;
    return { data, pool, close, metrics, server: assembled.server, api: assembled.api };
  } catch (error) {
    await close();
    throw error;
  }
}

async function serveData(settings: Settings, opened: OpenedData, log: Log): Promise<RunningServer> {
  const { data, server, api, pool, close } = opened;
  void warm(pool, log);
  const control = await listenControl(data, { repositories: api, log });
  try {
    const listener = await listen(settings, opened);
    const host = listener.host.includes(":") ? `[${listener.host}]` : listener.host;
    return {
      url: `http://${host}:${listener.port}`,
      kind: listener.kind,
      stop: async (graceMs) => {
        server.stop();
        await control.close();
        await listener.close(graceMs);
        await close();
      },
    };
  } catch (error) {
    await control.close();
    throw error;
  }
}

async function listen(settings: Settings, { server, api, metrics }: OpenedData): Promise<HttpListener> {
  const transport = await loadTransport(settings.transport === "auto" ? undefined : settings.transport);
  metrics.servedBy(transport.kind);
  return transport.listen({
    ...settings.listen,
    handler: createRoutes(server, { loopbackOnly: settings.auth === "none", corsOrigins: settings.cors_origins, api, webhookSecret: settings.lakefs_webhook_secret }),
  });
}

function lakefsSettings(settings: Settings, pool: ThreadPool, log: Log): LakefsSettings {
  const access = {
    endpoint: settings.lakefs_endpoint,
    accessKeyId: settings.lakefs_access_key_id,
    secretAccessKey: settings.lakefs_secret_access_key,
  };
  return {
    access,
    client: new LakefsClient(access),
    pollMs: settings.lakefs_poll_seconds * 1_000,
    naming: settings.naming,
    refsWaitMs: settings.lakefs_refs_wait_seconds * 1_000,
    mappingSeed: settings.naming === "kohakuhub" ? LINKED_MAPPING : { version: 1, threshold: settings.lfs_threshold, suffixes: [] },
    threads: Math.max(1, pool.threads - 1),
    landing: { allowForced: settings.lakefs_forced_pushes, commitsMax: settings.push_commits_max, plainFileBytesMax: settings.plain_file_bytes_max },
    log,
  };
}

/** Threads time their kernels once, and before the first push has to wait for it. */
async function warm(pool: ThreadPool, log: Log): Promise<void> {
  const calibrations = Array.from({ length: pool.threads }, () => pool.run("hash/calibrate", {}, { priority: "background" }));
  for (const one of await Promise.allSettled(calibrations)) {
    if (one.status === "fulfilled") log.info("kernels", { picks: one.value.picks });
  }
}

interface Parts {
  readonly incoming: string;
  readonly store: DiskStore;
  readonly cache: ResponseCache;
  readonly pool: ThreadPool;
  readonly log: Log;
  readonly maintenance: Maintenance;
  readonly metrics: Metrics;
  readonly lakefs: LakefsSettings | undefined;
}

interface Assembled {
  readonly server: GitServer;
  readonly api: RepositoryApi;
  readonly repositories: Repositories;
}

function assemble(settings: Settings, { incoming, store, cache, pool, log, maintenance, metrics, lakefs }: Parts): Assembled {
  const any = settings.allow_any_want;
  const offer = { agent: `lakepack/${VERSION}`, allowTipInWant: any, allowReachableInWant: any, atomic: true };
  const checks = new PackChecks();
  const repositories = new Repositories({
    services: {
      store,
      pool,
      incoming,
      tables: new PackTables(),
      checks,
      ingest: { packBytesMax: settings.pack_bytes_max, memoryBytes: settings.ingest_memory_bytes },
      startIngest,
    },
    maintenance,
    ...(lakefs === undefined ? {} : { lakefs }),
    defaultBranch: settings.default_branch,
    createOnPush: settings.create_on_push,
  });
  const fetch = { pool, cache, checks, offer, log, metrics, allowAnyWant: settings.allow_any_want };
  const server = new GitServer({
    version: VERSION,
    repositories,
    pool,
    log,
    lfs: new LfsService({ proofs: new LinkProofs(randomBytes(32)), storeOf: ({ id, lfs }) => lfs ?? new OwnLfsStore({ store, pool, incoming }, id) }),
    offer,
    policy: {
      fsck: settings.fsck,
      denyNonFastForwards: settings.deny_non_fast_forwards,
      denyDeletes: settings.deny_deletes,
      denyDeleteCurrent: settings.deny_delete_current,
    },
    fetch,
    metrics,
  });
  const api = new RepositoryApi({ resolve: (name, toPush, signal) => server.resolve(name, toPush, signal), repositories, fetch });
  return { server, api, repositories };
}

/** What a crash left of pushes under way: nobody was told `ok`, nothing points there. */
async function emptyFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true, force: true });
}
