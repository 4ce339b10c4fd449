/**
 * Checks of `lakepack doctor` beside one lakeFS repository: each says what it found, and what to do
 * where that is not good.
 */
import { access, constants, stat, statfs } from "node:fs/promises";
import { join, resolve } from "node:path";
import { asFault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { Database } from "../../database/database.js";
import { placeOf } from "../../database/postgres-url.js";
import { LakefsServer } from "../../lakefs/api/client.js";
import { DiskStore } from "../../store/disk.js";
import { probeStore } from "../../store/probe.js";
import { databasePlace } from "../server/accounts.js";
import { checkHistories } from "./histories.js";
import { checkRepositories } from "./repositories.js";
import { checkFrontEnd } from "./front-end.js";
import { checkTogether } from "../server/server.js";
import { openStore, placeOf as storePlaceOf } from "../server/store.js";
import type { Settings } from "../server/settings.js";
import type { Check } from "./check.js";

/**
 * Never rejects: what cannot be found out is a finding. Writes a probe of one byte, and removes it.
 */
export async function checkAll(settings: Settings, signal: AbortSignal): Promise<readonly Check[]> {
  const data = resolve(settings.data);
  const checks: Check[] = [await checkSettings(settings)];
  const folder = await checkFolder(data);
  checks.push(folder);
  if (folder.good)
    checks.push(
      await checkPermissions(settings, data),
      await checkRoom(data),
      await checkWrites(data, signal),
    );
  checks.push(await checkDatabase(settings));
  if (settings.store !== "disk" && folder.good)
    checks.push(...(await checkStore(settings, signal)));
  if (folder.good) checks.push(await checkRepositories(settings));
  checks.push(...(await checkClock(settings, data)));
  const frontEnd = await checkFrontEnd(settings);
  if (frontEnd !== undefined) checks.push(frontEnd);
  if (settings.lakefs_endpoint !== "") checks.push(await checkLakefs(settings, signal));
  if (settings.lakefs_endpoint !== "" && folder.good) checks.push(await checkHistories(settings));
  return checks;
}

function good(name: Check["name"], found: string): Check {
  return { name, good: true, found };
}

function bad(name: Check["name"], found: string, advice: string): Check {
  return { name, good: false, found, advice };
}

/** Each alone was allowed, or nobody would be here. */
async function checkSettings(settings: Settings): Promise<Check> {
  try {
    await checkTogether(settings);
    return good("settings", "all are allowed");
  } catch (error) {
    return bad(
      "settings",
      asFault(error).message,
      "lakepack serve will not start with this; lakepack serve --help tells what is allowed",
    );
  }
}

async function checkFolder(data: string): Promise<Check> {
  try {
    if ((await stat(data)).isDirectory()) return good("data", data);
    return bad("data", `${data} is no folder`, "set data to a folder");
  } catch (error) {
    return bad(
      "data",
      `${data}: ${(error as Error).message}`,
      "make the folder, or start the server once: lakepack serve makes it",
    );
  }
}

const DATABASE_ADVICE =
  "see whether it runs and can be reached from here, and the settings database and database_ca";

/** Folders of the data folder, all of which the server reads and writes. */
const FOLDERS = [".", "repos", "lfs", "incoming", "cache"];

async function checkPermissions(settings: Settings, data: string): Promise<Check> {
  for (const name of FOLDERS) {
    try {
      await access(join(data, name), constants.R_OK | constants.W_OK | constants.X_OK);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") continue; // made when it is needed
      return bad(
        "permissions",
        (error as Error).message,
        "give the folder to the user that runs lakepack, and run doctor as that user",
      );
    }
  }
  const { mode } = await stat(data);
  if ((mode & 0o077) !== 0)
    return bad(
      "permissions",
      `${data} is open to other users of this machine`,
      `chmod 700 ${data}, or start the server as its owner: it does that`,
    );
  const database = databasePlace(settings);
  const others = typeof database === "string" ? await othersOf(database) : 0;
  if (others !== 0)
    return bad(
      "permissions",
      `${String(database)} is open to other users of this machine`,
      `chmod 600 ${String(database)}: the hashes of tokens and the key of LFS links are in it`,
    );
  return good("permissions", "the folders can be read and written");
}

/** Rights of others in a file; none where it is not there: it is made when it is needed. */
async function othersOf(file: string): Promise<number> {
  return stat(file).then(
    ({ mode }) => mode & 0o077,
    () => 0,
  );
}

/** What repositories rest on, a line for each thing. */
async function checkStore(settings: Settings, signal: AbortSignal): Promise<readonly Check[]> {
  const place = storePlaceOf(settings);
  try {
    const opened = await openStore(settings, signal);
    const rows = (await opened.probe?.(signal).finally(() => opened.close())) ?? [];
    return rows.map(({ name, ok, words }) =>
      ok
        ? good("store", `${place}: ${name}: ${words}`)
        : bad("store", `${place}: ${name}: ${words}`, STORE_ADVICE),
    );
  } catch (error) {
    return [
      bad("store", `${place}: ${asFault(error).message}`, "correct store and its s3_ settings"),
    ];
  }
}

const STORE_ADVICE =
  "repositories cannot be kept there, two pushes could both win: see what this server and its version say of conditional writes";

/** A database that nothing was done in yet is good: the first start makes its tables. */
async function checkDatabase(settings: Settings): Promise<Check> {
  const place = databasePlace(settings);
  const where = typeof place === "string" ? place : placeOf(place.url);
  try {
    const database = await Database.openToRead(place);
    if (database === undefined)
      return good("database", `${where}: nothing in it yet; lakepack serve makes what it needs`);
    const version = await database.version().finally(() => database.close());
    return good("database", `${version} at ${where}`);
  } catch (error) {
    return bad("database", `${where}: ${asFault(error).message}`, DATABASE_ADVICE);
  }
}

async function checkRoom(data: string): Promise<Check> {
  const { bavail, bsize, ffree, files } = await statfs(data);
  const free = bavail * bsize;
  const says = `${(free / 2 ** 30).toFixed(1)} GiB free`;
  if (free < LIMITS.diskFreeBytesMin)
    return bad(
      "disk",
      says,
      "make room: a push needs its pack's size, and pushes are refused when the disk is full",
    );
  if (files > 0 && ffree < LIMITS.diskFreeFilesMin)
    return bad("disk", `${ffree} files can still be made`, "make room for files (inodes)");
  return good("disk", says);
}

/** Conditional writes and their syncs, as a push does them. */
async function checkWrites(data: string, signal: AbortSignal): Promise<Check> {
  const began = performance.now();
  try {
    await probeStore(new DiskStore(data), signal);
  } catch (error) {
    return bad(
      "disk",
      `a write failed: ${asFault(error).message}`,
      "see what the system's log says of this disk, and whether the file system has hard links",
    );
  }
  const took = performance.now() - began;
  const says = `a handful of durable writes takes ${took.toFixed(0)} ms`;
  return took > LIMITS.diskProbeMsMax
    ? bad(
        "disk",
        says,
        "each push waits for several such writes: use a local disk, not a network file system",
      )
    : good("disk", says);
}

/** Dates of commits, links that expire and signatures hang on it. */
async function checkClock(settings: Settings, data: string): Promise<Check[]> {
  const newest = await stat(data).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  ); // said by another check
  const ahead = newest - Date.now();
  const advice =
    "set the clock (NTP): links to LFS objects expire by it, and storage refuses signatures of another time";
  if (ahead > LIMITS.clockSkewMsMax)
    return [
      bad(
        "clock",
        `files in the data folder are ${Math.round(ahead / 1_000)} s in the future`,
        advice,
      ),
    ];
  if (settings.lakefs_endpoint === "") return [good("clock", new Date().toISOString())];
  const date = await fetch(settings.lakefs_endpoint, {
    method: "HEAD",
    signal: AbortSignal.timeout(LIMITS.lakefsConnectMs),
  }).then(
    ({ headers }) => headers.get("date"),
    () => null,
  );
  if (date === null)
    return [good("clock", `${new Date().toISOString()}; lakeFS does not tell its own`)];
  const apart = Math.abs(Date.parse(date) - Date.now());
  const says = `${Math.round(apart / 1_000)} s from lakeFS's`;
  return [apart > LIMITS.clockSkewMsMax ? bad("clock", says, advice) : good("clock", says)];
}

async function checkLakefs(
  {
    lakefs_endpoint: endpoint,
    lakefs_access_key_id: accessKeyId,
    lakefs_secret_access_key: secretAccessKey,
  }: Settings,
  signal: AbortSignal,
): Promise<Check> {
  try {
    const client = new LakefsServer({ endpoint, accessKeyId, secretAccessKey, patienceMs: 0 });
    const { results } = await client.listRepositories(
      "",
      AbortSignal.any([signal, AbortSignal.timeout(LIMITS.lakefsWaitMs)]),
    );
    return good(
      "lakefs",
      `${endpoint} answers, and lets this key list repositories (${results.length} on the first page)`,
    );
  } catch (error) {
    const fault = asFault(error);
    const advice =
      fault.code === "lakefs/denied"
        ? "see lakefs_access_key_id and lakefs_secret_access_key, and what that key may do"
        : "see lakefs_endpoint, and whether lakeFS runs there";
    return bad("lakefs", fault.message, advice);
  }
}
