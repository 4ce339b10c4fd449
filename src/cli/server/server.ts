/** Puts a server together from its settings and starts it; takes it apart again. */
import { chmod, mkdir, readdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { AccountApi } from "../../api/accounts.js";
import { PoolApi } from "../../api/pool.js";
import { RepositoryApi } from "../../api/repositories.js";
import type { FirstToken } from "../../auth/accounts.js";
import { utf8 } from "../../base/bytes.js";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { lockDataFolder } from "../../database/data-lock.js";
import type { Database } from "../../database/database.js";
import { probeWrite } from "../../database/write-probe.js";
import { TRUSTED } from "../../auth/caller.js";
import { LakefsServer } from "../../lakefs/api/client.js";
import { hearCalls, type LakefsAccess, type OnCall } from "../../lakefs/api/http.js";
import { LINKED_MAPPING } from "../../lakefs/agreed/mapping.js";
import { takeInFormerLinks } from "../../lfs/former-links.js";
import { OwnLfsStore } from "../../lfs/own-store.js";
import { LinkProofs } from "../../lfs/proof.js";
import { faultFacts, type Log } from "../../observe/log.js";
import { Metrics } from "../../observe/metrics.js";
import { startIngest } from "../../odb/index-pack/spool.js";
import { PackChecks } from "../../odb/packs/checks.js";
import { PackTables } from "../../odb/packs/tables.js";
import { ResponseCache } from "../../odb/pack-objects/response-cache.js";
import { createPool, type ThreadPool } from "../../pool/pool.js";
import { LakefsLook } from "../../serve/repositories/lakefs-look.js";
import { LfsService } from "../../serve/lfs/lfs.js";
import { Maintenance } from "../../serve/repositories/maintenance.js";
import { type LakefsSettings, Repositories } from "../../serve/repositories/repositories.js";
import { Door, type Guard } from "../../serve/repositories/door.js";
import type { PushPolicy } from "../../serve/conversation/push-policy.js";
import { Readiness } from "../../serve/readiness.js";
import { RepositoryTable } from "../../serve/repositories/table.js";
import { BundleKeeper } from "../../serve/fetch/bundle-keeper.js";
import { BundleLinks } from "../../serve/fetch/bundle-links.js";
import { Reached } from "../../serve/fetch/reached.js";
import { RefAnswers } from "../../serve/fetch/ref-answers.js";
import { GitServer } from "../../serve/git-server.js";
import { claimStore } from "../../store/claim.js";
import type { StoreLease } from "../../store/lease.js";
import { makeRoot } from "../../store/disk.js";
import type { Store } from "../../store/store.js";
import { listenControl } from "../../transport/control-socket.js";
import type { ConnectionLimit, HttpListener } from "../../transport/http/contract.js";
import {
  type ClientOptions,
  Clients,
  isWithin,
  readNetworks,
} from "../../transport/http/client.js";
import { createRoutes } from "../../transport/http/routes.js";
import { loadTransport } from "../../transport/load.js";
import {
  guardOf,
  installationId,
  linkKey,
  openAccounts,
  type OpenedAccounts,
  sealKeys,
} from "./accounts.js";
import { readTls, type TlsFiles } from "../../transport/http/tls.js";
import { readSkipListFile } from "./fsck-skip-list.js";
import { readCredentialsFile } from "./lakefs-credentials.js";
import { loadKernels } from "./kernels.js";
import { holdStore, type OpenedStore, openStore, proveStore } from "./store.js";
import type { Settings } from "./settings.js";
import { VERSION } from "./version.js";
import { calibrateTask } from "../../pool/calibrate.js";

export interface RunningServer {
  readonly url: string;
  readonly kind: "uws" | "node";
  /** Tells which lakeFS is there and whether it answers; undefined: none is set. */
  readonly lakefs: string | undefined;
  /**
   * An administrator's token, where this is the first start with `auth: token` and there was no
   * user: to be shown once.
   */
  readonly firstToken: FirstToken | undefined;
  /** First phase of the end: not ready, and serving. */
  drain(): void;
  /** Second phase: takes no new request, gives running ones `graceMs`, ends. */
  stop(graceMs: number): Promise<void>;
}

const LOOPBACK: ReadonlySet<string> = new Set(["127.0.0.1", "::1", "localhost"]);

export async function startServer(settings: Settings, log: Log): Promise<RunningServer> {
  await checkTogether(settings);
  const opened = await openData(settings, log);
  try {
    return await serveData(settings, opened, log);
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/**
 * Checks faults that no setting shows by itself: settings that do not go together, and files that
 * cannot be used. Throws "settings/bad-value".
 */
export async function checkTogether(settings: Settings): Promise<void> {
  checkListen(settings);
  checkNaming(settings);
  new Clients(clientOptions(settings));
  const tls = tlsFiles(settings);
  if (tls !== undefined) await readTls(tls);
  await readSkipListFile(settings.fsck_skip_list);
  await readCredentialsFile(settings, lakefsAccess(settings));
}

function checkNaming({ naming, lakefs_endpoint: endpoint }: Settings): void {
  if (naming === "kohakuhub" && endpoint === "")
    throw new Fault("settings/bad-value", {
      name: "naming",
      value: naming,
      allowed: "with lakefs_endpoint only: a hub's repositories are in lakeFS",
    });
}

function clientOptions(settings: Settings): ClientOptions {
  return {
    trustedProxies: settings.trusted_proxies,
    publicUrl: settings.public_url,
    tls: settings.tls_cert !== "",
  };
}

/**
 * Tokens do not travel in clear text beyond this machine, unless it is a proxy of ours that they
 * come from. Throws "settings/bad-value".
 */
function checkListen({
  auth,
  listen: { host, port },
  tls_cert: certificate,
  tls_key: key,
  trusted_proxies: proxies,
}: Settings): void {
  if ((certificate === "") !== (key === "")) {
    throw new Fault("settings/bad-value", {
      name: certificate === "" ? "tls_cert" : "tls_key",
      value: "",
      allowed: "tls_cert and tls_key together, or neither",
    });
  }
  const isSafe = auth === "token" && (certificate !== "" || proxies.length > 0);
  if (isSafe || LOOPBACK.has(host)) return;
  const loopback = "a loopback host (127.0.0.1, [::1], localhost)";
  const allowed =
    auth === "none"
      ? `with auth none only ${loopback}`
      : `with auth token ${loopback}; any other with tls_cert and tls_key, or behind trusted_proxies`;
  throw new Fault("settings/bad-value", { name: "listen", value: `${host}:${port}`, allowed });
}

/**
 * All that stands on one data folder, of which this process holds the lock; nothing of it listens.
 */
export interface OpenedData {
  /** Absolute. */
  readonly data: string;
  readonly server: GitServer;
  readonly door: Door;
  readonly api: RepositoryApi;
  readonly accounts: AccountApi;
  readonly opened: OpenedAccounts;
  readonly pool: ThreadPool;
  readonly poolApi: PoolApi;
  readonly metrics: Metrics;
  /** Ends what runs and gives the folder back. */
  close(): Promise<void>;
}

/**
 * `isTrusted`: that the store honours what it must is not looked at again, as for a command. Throws
 * "store/locked" while another process has the folder.
 */
export async function openData(
  settings: Settings,
  log: Log,
  isTrusted = false,
): Promise<OpenedData> {
  checkNaming(settings);
  const fsckSkip = await readSkipListFile(settings.fsck_skip_list);
  const data = resolve(settings.data);
  await makePrivate(data);
  const lock = lockDataFolder(data);
  const metrics = new Metrics(VERSION);
  const pool = createPool({
    kernelsModule: await loadKernels(),
    queueMax: settings.pool_queue,
    onWaited: (priority, ms) => metrics.taskWaited(priority, ms / 1_000),
    ...(settings.pool_threads === "auto" ? {} : { threads: settings.pool_threads }),
  });
  const maintenance = new Maintenance(log);
  let database: OpenedAccounts | undefined;
  let repositories: Repositories | undefined;
  let kept: OpenedStore | undefined;
  let lease: StoreLease | undefined;
  let server: GitServer | undefined;
  const lost = (fault: Fault) => {
    log.error("another server has the bucket now: this one serves no more", faultFacts(fault));
    server?.stop();
  };
  const close = async () => {
    await repositories?.close();
    await maintenance.stop();
    await pool.close();
    await database?.database.close();
    await lease?.release();
    kept?.close();
    lock.release();
  };
  try {
    const incoming = join(data, "incoming");
    await emptyFolder(incoming);
    kept = await openStore(settings);
    if (!isTrusted || settings.store === "disk") await proveStore(kept);
    const { store, figures } = kept;
    const cache = await ResponseCache.open({
      folder: join(data, "cache"),
      bytesMax: settings.cache_bytes,
    });
    const opened = await openAccounts(settings, log);
    database = opened;
    if (store.kind === "s3") await claimStore(store, await installationId(database));
    if (store.kind === "s3" && !opened.database.isShared)
      lease = await holdStore({ store, data, onLost: (fault) => lost(fault) });
    const places = { store, database: opened.database };
    const links = await takeInFormerLinks(places, new AbortController().signal);
    if (links > 0) log.info("links of Git LFS are in the database now", { links });
    const lakefs =
      settings.lakefs_endpoint === ""
        ? undefined
        : await lakefsSettings(settings, await sealKeys(settings, opened), log);
    metrics.watch({
      pool: () => pool.figures(),
      cache: () => cache,
      lakefs: () => lakefs?.client.http.figures ?? new Map(),
      store: () => figures?.() ?? new Map(),
    });
    const table = new RepositoryTable(opened.database, Date.now, settings.repository_prefix);
    const probeDatabase = () => probeWrite(opened.database);
    const identity = {
      table,
      database: opened.database,
      guard: guardOf(settings, opened),
      linkKey: await linkKey(settings, opened),
      probeDatabase,
      fsckSkip,
    };
    const assembled = assemble(settings, {
      incoming,
      store,
      cache,
      pool,
      log,
      maintenance,
      metrics,
      lakefs,
      ...identity,
    });
    repositories = assembled.repositories;
    server = assembled.server;
    const accounts = new AccountApi(database);
    const poolApi = new PoolApi({
      pool,
      resized: () => {
        assembled.repositories.resized(pool.threads);
        void warm(pool, log);
      },
    });
    return {
      data,
      pool,
      poolApi,
      close,
      metrics,
      server: assembled.server,
      door: assembled.door,
      api: assembled.api,
      accounts,
      opened: database,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function serveData(settings: Settings, opened: OpenedData, log: Log): Promise<RunningServer> {
  const { data, server, api, accounts, pool, close } = opened;
  void warm(pool, log);
  const control = await listenControl(data, {
    repositories: api,
    accounts,
    pool: opened.poolApi,
    log,
  });
  try {
    const listener = await listen(settings, opened, log);
    const host = listener.host.includes(":") ? `[${listener.host}]` : listener.host;
    return {
      url: `${settings.tls_cert === "" ? "http" : "https"}://${host}:${listener.port}`,
      kind: listener.kind,
      lakefs: await server.lakefs(TRUSTED),
      // Last: once it is made, nothing may keep it from being shown.
      firstToken: settings.auth === "token" ? await opened.opened.accounts.bootstrap() : undefined,
      drain: () => {
        server.drain();
        log.info("draining: not ready any more, requests are still served");
      },
      stop: async (graceMs) => {
        server.stop();
        log.info("stopping: no new requests", { graceMs });
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

async function listen(
  settings: Settings,
  { server, door, api, metrics }: OpenedData,
  log: Log,
): Promise<HttpListener> {
  // Read by uWebSockets.js when it is loaded.
  process.env["UWS_HTTP_MAX_HEADERS_SIZE"] ??= String(LIMITS.headersBytesMax);
  const transport = await loadTransport(settings.transport, {
    passedOver: ({ kind, reason }) =>
      log[kind === "changed" ? "warn" : "info"]("node:http serves in place of uWebSockets.js", {
        reason,
      }),
  });
  metrics.servedBy(transport.kind);
  const tls = tlsFiles(settings);
  const handler = createRoutes(server, door, {
    loopbackOnly: settings.auth === "none",
    clients: clientOptions(settings),
    corsOrigins: settings.cors_origins,
    hstsSeconds: settings.hsts_seconds,
    api,
    webhookSecret: settings.lakefs_webhook_secret,
  });
  return transport.listen({
    ...settings.listen,
    ...(tls === undefined ? {} : { tls }),
    handler,
    connections: connectionLimit(settings),
    keepAliveMs: settings.keep_alive_seconds * 1_000,
    overflowFolder: join(settings.data, "incoming"),
  });
}

function connectionLimit({
  connections_per_address: max,
  trusted_proxies: proxies,
}: Settings): ConnectionLimit {
  const trusted = readNetworks(proxies);
  return {
    max: max === 0 ? Number.POSITIVE_INFINITY : max,
    exempts: (address) => isWithin(trusted, address),
  };
}

function tlsFiles({ tls_cert: certificate, tls_key: key }: Settings): TlsFiles | undefined {
  return certificate === "" ? undefined : { certificate, key };
}

function lakefsAccess({
  lakefs_endpoint: endpoint,
  lakefs_access_key_id: accessKeyId,
  lakefs_secret_access_key: secretAccessKey,
  lakefs_patience_seconds: patienceSeconds,
}: Settings): LakefsAccess {
  return { endpoint, accessKeyId, secretAccessKey, patienceMs: patienceSeconds * 1_000 };
}

async function lakefsSettings(
  settings: Settings,
  keys: readonly Uint8Array[],
  log: Log,
): Promise<LakefsSettings> {
  const access = { ...lakefsAccess(settings), trace: log.tracing === true };
  const onCall: OnCall = ({ ms, ...call }) =>
    log.trace("lakefs call", { ...call, milliseconds: Math.round(ms) });
  if (access.trace) hearCalls(onCall);
  return {
    access,
    client: new LakefsServer(access, access.trace ? onCall : undefined),
    pollMs: settings.lakefs_poll_seconds * 1_000,
    serveStale: settings.lakefs_serve_stale,
    naming: settings.naming,
    sealKeys: keys,
    refsWaitMs: settings.lakefs_refs_wait_seconds * 1_000,
    credentials: await readCredentialsFile(settings, access),
    mappingSeed:
      settings.naming === "kohakuhub"
        ? LINKED_MAPPING
        : { version: 3, threshold: settings.lfs_threshold, suffixes: [] },
    landing: {
      allowForced: settings.lakefs_forced_pushes,
      preCommit: settings.lakefs_pre_commit,
      commitsMax: settings.push_commits_max,
      plainFileBytesMax: settings.plain_file_bytes_max,
    },
    log,
  };
}

/** Threads time their kernels once, and before the first push has to wait for it. */
async function warm(pool: ThreadPool, log: Log): Promise<void> {
  const calibrations = Array.from({ length: pool.threads }, () =>
    pool.run(calibrateTask, {}, { priority: "background" }),
  );
  for (const one of await Promise.allSettled(calibrations)) {
    if (one.status === "fulfilled") log.info("kernels", { picks: one.value.picks });
  }
}

interface Parts {
  readonly incoming: string;
  readonly store: Store;
  readonly cache: ResponseCache;
  readonly pool: ThreadPool;
  readonly log: Log;
  readonly maintenance: Maintenance;
  readonly metrics: Metrics;
  readonly lakefs: LakefsSettings | undefined;
  readonly table: RepositoryTable;
  readonly database: Database;
  readonly guard: Guard | undefined;
  readonly linkKey: Uint8Array;
  readonly probeDatabase: () => Promise<void>;
  readonly fsckSkip: SharedArrayBuffer | undefined;
}

interface Assembled {
  readonly server: GitServer;
  readonly door: Door;
  readonly api: RepositoryApi;
  readonly repositories: Repositories;
}

function assemble(settings: Settings, parts: Parts): Assembled {
  const {
    incoming,
    store,
    cache,
    pool,
    log,
    maintenance,
    metrics,
    lakefs,
    table,
    database,
    guard,
    linkKey,
    probeDatabase,
  } = parts;
  const policy: PushPolicy = {
    fsck: settings.fsck,
    fsckLevels: settings.fsck_levels,
    fsckSkip: parts.fsckSkip,
    lfsMissingObjects: settings.lfs_missing_objects,
    denyNonFastForwards: settings.deny_non_fast_forwards,
    denyDeletes: settings.deny_deletes,
    denyDeleteCurrent: settings.deny_delete_current,
  };
  // What is reachable from a visible ref may be wanted by its id in every version: old clients and
  // libraries ask for it only where that is said.
  const offer = {
    agent: `lakepack/${VERSION}`,
    allowTipInWant: true,
    allowReachableInWant: true,
    atomic: true,
  };
  const checks = new PackChecks();
  const tables = new PackTables();
  const repositories = new Repositories({
    services: {
      store,
      pool,
      incoming,
      tables,
      checks,
      ingest: { packBytesMax: settings.pack_bytes_max, memoryBytes: settings.ingest_memory_bytes },
      startIngest,
    },
    table,
    database,
    maintenance,
    ...(lakefs === undefined ? {} : { lakefs }),
    defaultBranch: settings.default_branch,
    createOnPush: settings.create_on_push,
    perNamespaceMax: settings.repositories_per_user,
    gcGraceMs: settings.gc_grace_hours * 3_600_000,
    manifestFreshMs: settings.manifest_fresh_ms,
    log,
  });
  const proofs = new LinkProofs(linkKey);
  const fetch = {
    pool,
    bundles: settings.bundle_uri
      ? new BundleKeeper(new BundleLinks(proofs), maintenance)
      : undefined,
    cache,
    checks,
    answers: new RefAnswers(),
    reached: new Reached(),
    offer,
    log,
    metrics,
    allowAnyWant: settings.allow_any_want,
  };
  const door = new Door(repositories, guard);
  const server = new GitServer({
    version: VERSION,
    repositories,
    door,
    pool,
    tables,
    log,
    lfs: new LfsService({
      proofs,
      storeOf: ({ id, lfs }) => lfs ?? new OwnLfsStore({ store, database, pool, incoming }, id),
      pool,
    }),
    offer,
    policy,
    fetch,
    metrics,
    lakefs: lakefs && new LakefsLook(lakefs.access),
    readiness: new Readiness({
      store: (signal) => store.put("probe/ready", utf8(`${Date.now()}\n`), signal),
      cache: () => cache.probeWrite(),
      database: probeDatabase,
    }),
  });
  const api = new RepositoryApi({
    door,
    repositories,
    policy,
    fetch,
  });
  return { server, door, api, repositories };
}

/**
 * Makes the data folder one that its owner alone can look into, and every file of this process from
 * here on as well: private repositories, hashes of tokens and keys lie there.
 */
async function makePrivate(data: string): Promise<void> {
  process.umask(0o077);
  await makeRoot(data);
  // Of an operator whose folder belongs to another user, doctor tells.
  await chmod(data, 0o700).catch(() => undefined);
  for (const name of ["lock", "lakepack.db"])
    await chmod(join(data, name), 0o600).catch(() => undefined);
}

/**
 * Removes the leftovers of pushes that a crash interrupted: nobody was told `ok`, nothing points
 * there.
 */
async function emptyFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const name of await readdir(folder))
    await rm(join(folder, name), { recursive: true, force: true });
}
