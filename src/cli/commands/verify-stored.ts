/**
 * Does the work of `lakepack verify`: holds everything stored against its checksums. Reads only, in
 * a process of its own and without the lock: beside a running server, or where no server starts.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Fault } from "../../base/fault.js";
import { verifyRecords } from "../../lakefs/read/verify-records.js";
import { verifyLfsObjects } from "../../lfs/verify-objects.js";
import { type Finding, verifyRepository } from "../../odb/manifest/verify.js";
import { createPool, type ThreadPool } from "../../pool/pool.js";
import { Database } from "../../database/database.js";
import {
  allRepositories,
  findRepository,
  findRepositoryById,
} from "../../database/repositories.js";
import type { RepositoryRow } from "../../database/schema.js";
import {
  candidatesOf,
  readRepositoryName,
  REPOSITORIES_FOLDER,
  storePrefix,
  titleOf,
} from "../../serve/conversation/repository-name.js";
import { storedRepositories } from "../../serve/repositories/stored.js";
import type { Store } from "../../store/store.js";
import { placeOf, withStore } from "../server/store.js";
import { databasePlace } from "../server/accounts.js";
import { UNNAMED_ADVICE } from "../doctor/repositories.js";
import { loadKernels } from "../server/kernels.js";
import type { Settings } from "../server/settings.js";
import { say, sayJson } from "../terminal/say.js";

interface Report {
  /** Name; for one that no name leads to, its prefix in the store. */
  readonly name: string;
  readonly refs: number;
  readonly packs: number;
  readonly objects: number;
  readonly lfs_objects: number;
  readonly findings: readonly Finding[];
}

/** A repository to be checked. */
interface Checked {
  readonly name: string;
  readonly id: string;
  /** Its place in the store. */
  readonly prefix: string;
  /** It has had a manifest. */
  readonly isMade: boolean;
  /** The database that it stands in. */
  readonly database: Database;
}

/**
 * Checks these repositories, or all where none is named, and prints what it finds. Throws
 * "verify/damaged" where something is, "repository/missing".
 */
export async function verifyStored(
  settings: Settings,
  names: readonly string[],
  json: boolean,
): Promise<void> {
  await withStore(settings, (store) =>
    reading(settings, (database) => verifyWith({ settings, store, database }, names, json)),
  );
}

interface Places {
  readonly settings: Settings;
  readonly store: Store;
  readonly database: Database | undefined;
}

async function verifyWith(
  { settings, store, database }: Places,
  names: readonly string[],
  json: boolean,
): Promise<void> {
  const { checked, reports } = await (names.length === 0
    ? all(store, database)
    : named(database, names));
  const folder = await mkdtemp(join(tmpdir(), "lakepack-verify-"));
  const pool = createPool({
    kernelsModule: await loadKernels(),
    ...(settings.pool_threads === "auto" ? {} : { threads: settings.pool_threads }),
  });
  let damaged = 0;
  const print = (report: Report) => {
    if (report.findings.length > 0) damaged++;
    void (json ? sayJson(report) : say(describe(report)));
  };
  try {
    for (const report of reports) print(report);
    for (const one of checked) print(await verifyOne({ store, pool, folder, ...one }));
    const count = checked.length + reports.length;
    if (damaged > 0) throw new Fault("verify/damaged", { damaged, checked: count });
    if (!json && count === 0) void say(`there is no repository in ${placeOf(settings)}\n`);
  } finally {
    await pool.close();
    await rm(folder, { recursive: true, force: true });
  }
}

interface Place extends Checked {
  readonly store: Store;
  readonly pool: ThreadPool;
  readonly folder: string;
}

async function verifyOne(place: Place): Promise<Report> {
  const { store, pool, name, id, prefix, isMade, folder } = place;
  const { signal } = new AbortController();
  const beside = {
    beside: (manifest: Parameters<typeof verifyRecords>[2]) =>
      verifyRecords(store, prefix, manifest, signal),
  };
  const own = await mkdtemp(join(folder, "repository-"));
  const { refs, packs, objects, findings } = await verifyRepository({
    store,
    pool,
    prefix,
    isMade,
    folder: own,
    signal,
    ...beside,
  });
  await rm(own, { recursive: true });
  const lfs = await verifyLfsObjects(place, id, signal);
  return {
    name,
    refs,
    packs,
    objects,
    lfs_objects: lfs.objects,
    findings: [...findings, ...lfs.findings],
  };
}

interface ToVerify {
  readonly checked: readonly Checked[];
  /** Reports of what lies in the store and stands in no row. */
  readonly reports: readonly Report[];
}

/** `work` on the database, beside whoever owns it; undefined where there is none. */
async function reading<T>(
  settings: Settings,
  work: (database: Database | undefined) => Promise<T>,
): Promise<T> {
  const database = await Database.openToRead(databasePlace(settings));
  try {
    return await work(database);
  } finally {
    await database?.close();
  }
}

/** Those that have files: no second names, and none that nothing was pushed to yet. */
async function all(store: Store, database: Database | undefined): Promise<ToVerify> {
  if (database === undefined) return { checked: [], reports: await unnamed(store, []) };
  const rows = await allRepositories(database);
  const held = rows.filter(({ state, leads_to: target }) => state === "made" && target === null);
  const checked = held.flatMap((row) =>
    row.title === null
      ? []
      : [{ name: row.title, id: row.id, prefix: storePrefix(row), isMade: true, database }],
  );
  return { checked, reports: await unnamed(store, rows) };
}

/** Throws "repository/missing". */
async function named(database: Database | undefined, names: readonly string[]): Promise<ToVerify> {
  const checked: Checked[] = [];
  for (const name of names) checked.push(await checkedOf(database, name));
  return { checked, reports: [] };
}

async function checkedOf(database: Database | undefined, text: string): Promise<Checked> {
  const asked = readRepositoryName(text);
  if (database === undefined) throw new Fault("repository/missing", { name: titleOf(asked) });
  for (const name of candidatesOf(asked)) {
    const row = await findRepository(database, titleOf(name));
    const target = row?.leads_to ?? undefined;
    const held = target === undefined ? row : await findRepositoryById(database, target);
    if (held !== undefined)
      return {
        name: titleOf(name),
        id: held.id,
        prefix: storePrefix(held),
        isMade: held.state === "made",
        database,
      };
  }
  throw new Fault("repository/missing", { name: titleOf(asked) });
}

/** Reports repositories that lie in the store and stand in no row. */
async function unnamed(store: Store, rows: readonly RepositoryRow[]): Promise<Report[]> {
  const known = new Set(rows.map(({ id }) => id));
  const unknown = (await storedRepositories(store)).filter(({ id }) => !known.has(id));
  return unknown.map(({ id }) => {
    const finding = {
      file: `${REPOSITORIES_FOLDER}${id}`,
      problem: "the database knows no repository of this id",
      advice: UNNAMED_ADVICE,
    };
    return {
      name: `${REPOSITORIES_FOLDER}${id}`,
      refs: 0,
      packs: 0,
      objects: 0,
      lfs_objects: 0,
      findings: [finding],
    };
  });
}

function describe({ name, refs, packs, objects, lfs_objects: lfs, findings }: Report): string {
  const size = `${refs} refs, ${packs} packs, ${objects} objects${lfs > 0 ? `, ${lfs} LFS objects` : ""}`;
  if (findings.length === 0) return `${name}: good (${size})\n`;
  const lines = findings.map(
    ({ file, problem, advice }) => `  ${file}: ${problem}\n    what to do: ${advice}\n`,
  );
  return `${name}: DAMAGED (${size})\n${lines.join("")}`;
}
