/** Puts a server together from its settings and starts it; takes it apart again. */
import { randomBytes } from "node:crypto";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Fault } from "../base/fault.js";
import { lockDataFolder } from "../database/data-lock.js";
import { OwnLfsStore } from "../lfs/own-store.js";
import { LinkProofs } from "../lfs/proof.js";
import type { Log } from "../observe/log.js";
import { startIngest } from "../odb/ingest.js";
import { PackTables } from "../odb/pack-tables.js";
import { ResponseCache } from "../odb/response-cache.js";
import { createPool, type ThreadPool } from "../pool/pool.js";
import { LfsService } from "../serve/lfs.js";
import { Maintenance } from "../serve/maintenance.js";
import { type LakefsSettings, Repositories } from "../serve/repositories.js";
import { GitServer } from "../serve/server.js";
import { DiskStore } from "../store/disk.js";
import { probeStore } from "../store/probe.js";
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
  const data = resolve(settings.data);
  await mkdir(data, { recursive: true });
  const lock = lockDataFolder(data);
  const pool = createPool({
    kernelsModule: await loadKernels(),
    queueMax: settings.pool_queue,
    ...(settings.pool_threads === "auto" ? {} : { threads: settings.pool_threads }),
  });
  try {
    return await serveData(settings, data, pool, log, () => lock.release());
  } catch (error) {
    await pool.close();
    lock.release();
    throw error;
  }
}

async function serveData(settings: Settings, data: string, pool: ThreadPool, log: Log, release: () => void): Promise<RunningServer> {
  const incoming = join(data, "incoming");
  await emptyFolder(incoming);
  const store = new DiskStore(data);
  await probeStore(store);
  const cache = await ResponseCache.open({ folder: join(data, "cache"), bytesMax: settings.cache_bytes });
  void warm(pool, log);
  const maintenance = new Maintenance(log);
  const server = assemble(settings, { incoming, store, cache, pool, log, maintenance });
  const transport = await loadTransport(settings.transport === "auto" ? undefined : settings.transport);
  const listener = await transport.listen({
    ...settings.listen,
    handler: createRoutes(server, { loopbackOnly: settings.auth === "none", corsOrigins: settings.cors_origins }),
  });
  const host = listener.host.includes(":") ? `[${listener.host}]` : listener.host;
  return {
    url: `http://${host}:${listener.port}`,
    kind: listener.kind,
    stop: async (graceMs) => {
      server.stop();
      await listener.close(graceMs);
      await maintenance.stop();
      await pool.close();
      release();
    },
  };
}

function lakefsSettings(settings: Settings, pool: ThreadPool, log: Log): LakefsSettings {
  return {
    access: {
      endpoint: settings.lakefs_endpoint,
      accessKeyId: settings.lakefs_access_key_id,
      secretAccessKey: settings.lakefs_secret_access_key,
    },
    mappingSeed: { version: 1, threshold: settings.lfs_threshold, suffixes: [] },
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
}

function assemble(settings: Settings, { incoming, store, cache, pool, log, maintenance }: Parts): GitServer {
  const any = settings.allow_any_want;
  const offer = { agent: `lakepack/${VERSION}`, allowTipInWant: any, allowReachableInWant: any, atomic: true };
  const repositories = new Repositories({
    services: {
      store,
      pool,
      incoming,
      tables: new PackTables(),
      ingest: { packBytesMax: settings.pack_bytes_max, memoryBytes: settings.ingest_memory_bytes },
      startIngest,
    },
    maintenance,
    ...(settings.lakefs_endpoint === "" ? {} : { lakefs: lakefsSettings(settings, pool, log) }),
    defaultBranch: settings.default_branch,
    createOnPush: settings.create_on_push,
  });
  return new GitServer({
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
    fetch: { pool, cache, offer, log, allowAnyWant: settings.allow_any_want },
  });
}

/** What a crash left of pushes under way: nobody was told `ok`, nothing points there. */
async function emptyFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true, force: true });
}
