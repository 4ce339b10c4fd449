/**
 * The read side alone, in this process: bare repositories made by stock git, served by our fetch
 * conversations over HTTP (stateless) and over git:// (one connection, stateful as on SSH).
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { TRUSTED } from "../../src/auth/caller.js";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import type { ByteSink, ByteSource } from "../../src/base/flow.js";
import type { LivePack, ObjectDatabase, PackSet } from "../../src/odb/object-database.js";
import type { Ref, RefSnapshot, RefStore } from "../../src/odb/ref-store.js";
import { Metrics } from "../../src/observe/metrics.js";
import { PackChecks } from "../../src/odb/packs/checks.js";
import { ResponseCache } from "../../src/odb/pack-objects/response-cache.js";
import { createPool, type ThreadPool } from "../../src/pool/pool.js";
import type {
  Exchange,
  ProtocolVersion,
  Repository,
} from "../../src/serve/conversation/conversation.js";
import { PacketInput } from "../../src/serve/conversation/packet-input.js";
import { UNRECORDED } from "../../src/serve/conversation/request-record.js";
import type { RequestEnd, RoutedServer } from "../../src/serve/git-server.js";
import type { RouteDoor } from "../../src/serve/repositories/door.js";
import {
  advertiseUploadPack,
  type UploadPackDeps,
  uploadPack,
} from "../../src/serve/fetch/upload-pack.js";
import { Reached } from "../../src/serve/fetch/reached.js";
import { RefAnswers } from "../../src/serve/fetch/ref-answers.js";
import { createRoutes } from "../../src/transport/http/routes.js";
import { loadTransport } from "../../src/transport/load.js";
import { lineText } from "../../src/wire/pkt-line.js";
import { git } from "./harness.js";
import { packHandles } from "./stock-git.js";

const KERNELS = new URL("../../wasm/kernels.wasm", import.meta.url);

export interface LogLine {
  readonly level: string;
  readonly event: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

export interface FetchServer {
  /** Append "ns/name.git". */
  readonly url: string;
  readonly gitUrl: string;
  readonly cache: ResponseCache;
  readonly cacheFolder: string;
  readonly pool: ThreadPool;
  readonly log: readonly LogLine[];
  readonly ended: readonly RequestEnd[];
  /** Serves the bare repository at `gitDir` as "ns/name"; call again after it has changed. */
  serve(name: string, gitDir: string, flags?: PackFlags): Promise<void>;
}

/** Flags that the manifest would have of the packs. */
export interface PackFlags {
  readonly selfContained?: boolean;
  readonly tips?: readonly string[];
}

export interface FetchServerOptions {
  readonly allowAnyWant?: boolean;
  readonly allowReachableInWant?: boolean;
  readonly allowTipInWant?: boolean;
  readonly threads?: number;
  readonly cacheBytes?: number;
  readonly queueMax?: number;
  readonly transport?: "node" | "uws";
}

export async function startFetchServer(
  t: Test,
  options: FetchServerOptions = {},
): Promise<FetchServer> {
  const folder = await mkdtemp(join(tmpdir(), "lakepack-fetch-"));
  const kernelsModule = new WebAssembly.Module(await readFile(KERNELS));
  const pool = createPool({
    kernelsModule,
    threads: options.threads ?? 2,
    ...(options.queueMax === undefined ? {} : { queueMax: options.queueMax }),
  });
  const cache = await ResponseCache.open({
    folder,
    ...(options.cacheBytes === undefined ? {} : { bytesMax: options.cacheBytes }),
  });
  const log: LogLine[] = [];
  const note =
    (level: string) =>
    (event: string, facts: Readonly<Record<string, unknown>> = {}) =>
      void log.push({ level, event, facts });
  const deps: UploadPackDeps = {
    pool,
    cache,
    checks: new PackChecks(),
    answers: new RefAnswers(),
    reached: new Reached(),
    metrics: new Metrics("test"),
    log: {
      error: note("error"),
      warn: note("warn"),
      info: note("info"),
      debug: note("debug"),
      trace: note("trace"),
    },
    offer: {
      agent: "lakepack/test",
      allowTipInWant: options.allowTipInWant ?? false,
      allowReachableInWant: options.allowReachableInWant ?? false,
      atomic: true,
    },
    allowAnyWant: options.allowAnyWant ?? false,
  };
  const repositories = new Map<string, Repository>();
  const ended: RequestEnd[] = [];
  const listener = await (await loadTransport(options.transport ?? "node")).listen({
    host: "127.0.0.1",
    port: 0,
    handler: createRoutes(served(deps, ended), openDoor(repositories), {
      loopbackOnly: true,
      corsOrigins: [],
    }),
  });
  const daemon = createServer((socket) => void converse(socket, deps, repositories));
  await new Promise<void>((resolve) => daemon.listen(0, "127.0.0.1", resolve));
  t.teardown(async () => {
    daemon.close();
    await listener.close(0);
    await pool.close();
    await rm(folder, { recursive: true, force: true });
  });
  return {
    url: `http://127.0.0.1:${listener.port}`,
    gitUrl: `git://127.0.0.1:${(daemon.address() as AddressInfo).port}`,
    cache,
    cacheFolder: folder,
    pool,
    log,
    ended,
    serve: async (name, gitDir, flags = {}) =>
      void repositories.set(name, await stockBacked(name, gitDir, flags)),
  };
}

/** Whoever comes may all. */
function openDoor(repositories: ReadonlyMap<string, Repository>): RouteDoor {
  const found = (title: string): Repository => {
    const repository = repositories.get(title);
    if (repository === undefined) throw new Error("no such repository in this test");
    return repository;
  };
  return {
    identify: async () => TRUSTED,
    resolve: async ({ namespace, name }) => found(`${namespace}/${name}`),
    resolveLinked: async ({ namespace, name }) => found(`${namespace}/${name}`),
    bearerOf: async () => TRUSTED,
    stillMay: async () => undefined,
    created: async (repository) => repository,
    list: async () => [...repositories.keys()],
  };
}

function served(deps: UploadPackDeps, ended: RequestEnd[]): RoutedServer {
  return {
    version: "test",
    lfs: undefined,
    bundleLinks: undefined,
    openBundle: () => Promise.reject(new Error("no bundles here")),
    lakefs: async () => undefined,
    advertise: (exchange) => advertiseUploadPack(exchange, deps),
    uploadPack: (exchange) => uploadPack(exchange, deps),
    receivePack: () => Promise.reject(new Error("no pushes here")),
    head: async (repository) => (await repository.refs.read()).head,
    metrics: async () => ({
      contentType: deps.metrics.contentType,
      text: await deps.metrics.text(),
    }),
    lakefsChanged: () => undefined,
    readiness: async () => ({ warnings: [] }),
    checkServing: () => undefined,
    ended: (entry) => void ended.push(entry),
  };
}

/**
 * One git:// connection: "git-upload-pack /ns/name.git NUL host=… NUL [NUL version=2 NUL]".
 * gitprotocol-pack(5) "Git Transport".
 */
async function converse(
  socket: Socket,
  deps: UploadPackDeps,
  repositories: ReadonlyMap<string, Repository>,
): Promise<void> {
  const abort = new AbortController();
  socket.on("close", () => abort.abort());
  socket.on("error", () => abort.abort());
  const chunks = socket[Symbol.asyncIterator]();
  const source: ByteSource = {
    async read() {
      const { value, done } = await chunks.next();
      return done === true ? undefined : (value as Uint8Array);
    },
  };
  const packets = new PacketInput(source, 65_536);
  const first = await packets.next();
  const [command = "", , ...extra] =
    first?.kind === "data" ? lineText(first.payload).split("\0") : [];
  const repository = repositories.get(command.replace(/^git-upload-pack \/|\.git$/g, ""));
  const version = Number(
    extra.find((part) => part.startsWith("version="))?.slice(8) ?? 0,
  ) as ProtocolVersion;
  if (repository === undefined) return void socket.destroy();
  const input = packets.rest();
  const output: ByteSink = {
    write: (bytes) =>
      new Promise(
        (resolve, reject) =>
          void socket.write(Buffer.from(bytes), (error) => (error ? reject(error) : resolve())),
      ),
  };
  const exchange: Exchange = {
    request: UNRECORDED,
    repository,
    version,
    caller: "test",
    stillMay: async () => undefined,
    stateless: false,
    input,
    output,
    signal: abort.signal,
  };
  try {
    await advertiseUploadPack(exchange, deps);
    await uploadPack(exchange, deps);
  } catch {
    // The client is gone, or will see the connection cut.
  }
  socket.end();
}

/** Refs and packs of a bare repository as they are now. */
async function stockBacked(name: string, gitDir: string, flags: PackFlags): Promise<Repository> {
  const refs = await readRefs(gitDir);
  const packs: LivePack[] = packHandles(gitDir).map((handle) => ({
    ...handle,
    name: handle.checksum,
    closed: true,
    selfContained: flags.selfContained ?? false,
    tips: flags.tips,
    origin: "push",
  }));
  const set: PackSet = { revision: packs.map(({ checksum }) => checksum).join(" "), packs };
  return {
    id: `repos/${name}`,
    title: name,
    refs: fixedRefs(refs),
    objects: fixedObjects(set),
    type: "models",
    atomic: true,
    notices: [],
    created: false,
    changed: () => undefined,
  };
}

async function readRefs(gitDir: string): Promise<RefSnapshot> {
  const text = await git(["for-each-ref", "--format=%(objectname) %(refname) %(*objectname)"], {
    cwd: gitDir,
  });
  const refs: Ref[] = [];
  for (const line of text.split("\n").filter((each) => each !== "")) {
    const [oid = "", name = ""] = line.split(" ");
    // for-each-ref peels once; nested tags have to be followed to their end.
    const peeled = line.endsWith(" ")
      ? undefined
      : await git(["rev-parse", `${name}^{}`], { cwd: gitDir });
    refs.push({ name, oid, ...(peeled === undefined ? {} : { peeled }) });
  }
  refs.sort((left, right) => (left.name < right.name ? -1 : 1));
  const head = await git(["symbolic-ref", "HEAD"], { cwd: gitDir });
  return {
    revision: `${head} ${text}`,
    head,
    refs,
    byName: new Map(refs.map((ref) => [ref.name, ref])),
  };
}

function fixedRefs(snapshot: RefSnapshot): RefStore {
  return { read: async () => snapshot, update: () => Promise.reject(new Error("read only")) };
}

function fixedObjects(set: PackSet): ObjectDatabase {
  const readOnly = () => Promise.reject(new Error("read only"));
  return {
    packs: async () => set,
    beginIngest: readOnly,
    publish: readOnly,
    keep: readOnly,
    adopt: readOnly,
    makePack: readOnly,
    supersede: readOnly,
    keepPromise: readOnly,
  };
}
