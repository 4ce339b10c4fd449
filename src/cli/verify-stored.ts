/**
 * What `lakepack verify` does: holds what is stored against its checksums. Reads only, in a process of its own and without the lock: beside a running server, or
 * where no server starts.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Fault } from "../base/fault.js";
import { verifyRecords } from "../lakefs/verify-records.js";
import { verifyLfsObjects } from "../lfs/verify-objects.js";
import { type Finding, verifyRepository } from "../odb/verify.js";
import { createPool, type ThreadPool } from "../pool/pool.js";
import { candidatesOf, readRepositoryName, storePrefix, titleOf, type TypedName } from "../serve/repository-name.js";
import { DiskStore } from "../store/disk.js";
import { loadKernels } from "./kernels.js";
import type { Settings } from "./settings.js";
import { say, sayJson } from "./say.js";

interface Report {
  readonly name: string;
  readonly refs: number;
  readonly packs: number;
  readonly objects: number;
  readonly lfs_objects: number;
  readonly findings: readonly Finding[];
}

const MANIFEST_SUFFIX = "/git/manifest";

/** Checks these repositories, or all where none is named, and prints what it finds. Throws "verify/damaged" where something is, "repository/missing". */
export async function verifyStored(settings: Settings, names: readonly string[], json: boolean): Promise<void> {
  const store = new DiskStore(resolve(settings.data));
  const prefixes = names.length === 0 ? await allPrefixes(store) : await Promise.all(names.map((name) => prefixOf(store, name)));
  const folder = await mkdtemp(join(tmpdir(), "lakepack-verify-"));
  const pool = createPool({ kernelsModule: await loadKernels(), ...(settings.pool_threads === "auto" ? {} : { threads: settings.pool_threads }) });
  try {
    let damaged = 0;
    for (const prefix of prefixes) {
      const report = await verifyOne({ store, pool, prefix, folder });
      if (report.findings.length > 0) damaged++;
      void (json ? sayJson(report) : say(describe(report)));
    }
    if (damaged > 0) throw new Fault("verify/damaged", { damaged, checked: prefixes.length });
    if (!json && prefixes.length === 0) void say(`there is no repository in ${resolve(settings.data)}\n`);
  } finally {
    await pool.close();
    await rm(folder, { recursive: true, force: true });
  }
}

interface Place {
  readonly store: DiskStore;
  readonly pool: ThreadPool;
  readonly prefix: string;
  readonly folder: string;
}

async function verifyOne({ store, pool, prefix, folder }: Place): Promise<Report> {
  const { signal } = new AbortController();
  const beside = { beside: (manifest: Parameters<typeof verifyRecords>[2]) => verifyRecords(store, prefix, manifest, signal) };
  const own = await mkdtemp(join(folder, "repository-"));
  const { refs, packs, objects, findings } = await verifyRepository({ store, pool, prefix, folder: own, signal, ...beside });
  await rm(own, { recursive: true });
  const lfs = await verifyLfsObjects(store, prefix, signal);
  return { name: prefix.slice("repos/".length), refs, packs, objects, lfs_objects: lfs.objects, findings: [...findings, ...lfs.findings] };
}

async function allPrefixes(store: DiskStore): Promise<string[]> {
  const prefixes: string[] = [];
  for await (const { key } of store.list("repos/")) if (key.endsWith(MANIFEST_SUFFIX)) prefixes.push(key.slice(0, -MANIFEST_SUFFIX.length));
  return prefixes;
}

/** Throws "repository/missing". */
async function prefixOf(store: DiskStore, text: string): Promise<string> {
  const asked = readRepositoryName(text);
  for (const name of candidatesOf(asked) as readonly TypedName[]) {
    if ((await store.size(storePrefix(name) + MANIFEST_SUFFIX)) !== undefined) return storePrefix(name);
  }
  throw new Fault("repository/missing", { name: titleOf(asked) });
}

function describe({ name, refs, packs, objects, lfs_objects: lfs, findings }: Report): string {
  const size = `${refs} refs, ${packs} packs, ${objects} objects${lfs > 0 ? `, ${lfs} LFS objects` : ""}`;
  if (findings.length === 0) return `${name}: good (${size})\n`;
  const lines = findings.map(({ file, problem, advice }) => `  ${file}: ${problem}\n    what to do: ${advice}\n`);
  return `${name}: DAMAGED (${size})\n${lines.join("")}`;
}
