/** Opens the place where repositories are kept, as the settings say. */
import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import type { CallCounts } from "../../observe/metrics.js";
import { DiskStore } from "../../store/disk.js";
import { type LeaseOptions, StoreLease } from "../../store/lease.js";
import { probeStore } from "../../store/probe.js";
import type { Store } from "../../store/store.js";
import { checkProbe, type ProbeRow, probeS3 } from "../../store/s3/probe.js";
import { openS3Store, type S3Options } from "../../store/s3/s3-store.js";
import type { Bucket, Settings } from "./settings.js";

export interface OpenedStore {
  readonly store: Store;
  /** Where it is, for people: "/srv/lakepack", "s3://bucket/prefix". */
  readonly place: string;
  /**
   * Looks whether an object store honours what repositories rest on, a row for each thing: some
   * three seconds. Undefined: it is a disk.
   */
  readonly probe: ((signal?: AbortSignal) => Promise<readonly ProbeRow[]>) | undefined;
  /** Requests to an object store so far, by operation; undefined: it is a disk. */
  readonly figures: (() => ReadonlyMap<string, CallCounts>) | undefined;
  close(): void;
}

/**
 * Opens the store and leaves it as it is found. Throws "store/unreachable", "store/denied" and
 * their like where it is an object store that cannot be used.
 */
export async function openStore(settings: Settings, signal?: AbortSignal): Promise<OpenedStore> {
  const data = resolve(settings.data);
  if (settings.store === "disk")
    return {
      store: new DiskStore(data),
      place: data,
      probe: undefined,
      figures: undefined,
      close: () => undefined,
    };
  const folder = join(data, "store-cache");
  const store = await openS3Store(
    {
      ...s3Connection({ ...settings, store: settings.store }),
      cache: { folder, bytesMax: settings.store_cache_bytes },
    },
    signal,
  );
  return {
    store,
    place: placeOf(settings),
    probe: (asking) => probeS3(store, folder, asking),
    figures: () => store.figures,
    close: () => store.close(),
  };
}

/** Does `work` on the store, and closes it. */
export async function withStore<T>(
  settings: Settings,
  work: (store: Store) => Promise<T>,
): Promise<T> {
  const opened = await openStore(settings);
  try {
    return await work(opened.store);
  } finally {
    opened.close();
  }
}

/** Proves that the store honours what repositories rest on. Throws "store/failed", "store/unfit". */
export async function proveStore(
  { store, probe }: Pick<OpenedStore, "store" | "probe">,
  signal?: AbortSignal,
): Promise<void> {
  if (probe === undefined) return probeStore(store, signal);
  checkProbe(await probe(signal));
}

/**
 * Holds a bucket for the one server that may use it with a database of its own. The data folder's
 * lock is ours, so whoever held it from here is dead.
 */
export async function holdStore({
  store,
  data,
  onLost,
}: Pick<LeaseOptions, "store" | "onLost"> & { readonly data: string }): Promise<StoreLease> {
  const holder = await nodeId(data);
  return StoreLease.take({ store, key: "server", holder, where: hostname(), onLost });
}

/** Tells this data folder from others; made once. */
async function nodeId(data: string): Promise<string> {
  const path = join(data, "node");
  const known = await readFile(path, "utf8").catch(() => "");
  if (NODE_ID.test(known)) return known.trim();
  const made = randomBytes(16).toString("hex");
  await writeFile(path, `${made}\n`);
  return made;
}

const NODE_ID = /^[0-9a-f]{32}\n$/;

function s3Connection(settings: Settings & { readonly store: Bucket }): Omit<S3Options, "cache"> {
  const { store, s3_endpoint: endpoint, s3_region: region, s3_ca: caFile } = settings;
  const style = settings.s3_path_style;
  return {
    bucket: store.bucket,
    silenceMs: settings.s3_timeout_seconds * 1_000,
    pathStyle: style === "auto" ? endpoint !== "" : style,
    ...(store.prefix === "" ? {} : { prefix: store.prefix }),
    ...(endpoint === "" ? {} : { endpoint }),
    ...(region === "" ? {} : { region }),
    ...(caFile === "" ? {} : { caFile }),
  };
}

export function placeOf({ store, data }: Settings): string {
  if (store === "disk") return resolve(data);
  return `s3://${store.bucket}${store.prefix === "" ? "" : `/${store.prefix}`}`;
}
