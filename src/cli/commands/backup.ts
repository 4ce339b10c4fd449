/** `lakepack backup`. Beside a running server or where none runs: it only reads there. */
import { readdir } from "node:fs/promises";
import { resolve, sep } from "node:path";
import type { Command } from "commander";
import { Fault } from "../../base/fault.js";
import { type DataLock, lockDataFolder } from "../../database/data-lock.js";
import { makeRoot } from "../../store/disk.js";
import { backUp } from "../backup/backup.js";
import { BACKUP_NAMES } from "../backup/record.js";
import type { Tally } from "../backup/tally.js";
import { databasePlace } from "../server/accounts.js";
import type { Settings } from "../server/settings.js";
import { folderSettings } from "../terminal/folder-options.js";
import { ProgressLine } from "../terminal/progress.js";
import { print, subcommand, type SubcommandOptions } from "../terminal/subcommand.js";

export interface BackupCommandOptions extends SubcommandOptions {
  readonly damaged?: boolean;
}

export function backupCommand(): Command {
  return subcommand(
    "backup",
    "Back up repositories, Git LFS objects and the database into a folder, while they are served. A backup that is there is brought up to date.",
  )
    .argument("<folder>", "folder of the backup, made where it is not there")
    .option("--damaged", "leave out what is missing or damaged, and tell what")
    .addHelpText(
      "after",
      "\nFor a store on disk with SQLite. All that was acknowledged before the beginning is in it. On one file system with the data folder the files are shared by hard links: such a backup does not outlive the disk. One that dies leaves the backup before it.\n",
    )
    .action(backup);
}

async function backup(name: string, options: BackupCommandOptions): Promise<void> {
  const settings = folderSettings(options);
  const folder = resolve(name);
  const database = sqlitePath(settings);
  const data = resolve(settings.data);
  checkApart(folder, data);
  process.umask(0o077);
  await makeRoot(folder);
  await checkOurs(folder);
  const lock = lockBackup(folder);
  const line = new ProgressLine();
  try {
    const { record, tally } = await backUp({
      data,
      database,
      folder,
      withoutDamaged: options.damaged === true,
      onProgress: (tally) => line.show(() => amounts(tally)),
      signal: new AbortController().signal,
    });
    line.end();
    print(
      options,
      { ...record, files_new: tally.files, bytes_new: tally.bytes, damaged_names: tally.named },
      `backed up as of ${record.at}: ${amounts(tally)}${damageOf(tally)}`,
    );
  } finally {
    line.end();
    lock.release();
  }
}

/** Throws "backup/elsewhere". */
export function sqlitePath(settings: Settings): string {
  const place = databasePlace(settings);
  if (settings.store === "disk" && typeof place === "string") return place;
  throw new Fault("backup/elsewhere");
}

/** Throws "settings/bad-value" where one of them lies in the other. */
export function checkApart(folder: string, data: string): void {
  const isWithin = (inner: string, outer: string) => (inner + sep).startsWith(outer + sep);
  if (isWithin(folder, data) || isWithin(data, folder))
    throw new Fault("settings/bad-value", {
      name: "folder",
      value: folder,
      allowed: `one apart from the data folder ${data}`,
    });
}

/** Throws "backup/busy". */
export function lockBackup(folder: string): DataLock {
  try {
    return lockDataFolder(folder);
  } catch (error) {
    throw new Fault("backup/busy", { folder }, error);
  }
}

/** Throws "backup/foreign". */
async function checkOurs(folder: string): Promise<void> {
  const other = (await readdir(folder)).find((name) => !BACKUP_NAMES.has(name));
  if (other !== undefined && other !== "lost+found")
    throw new Fault("backup/foreign", { folder, holds: other });
}

export function amounts({ repositories, lfsObjects, files, bytes }: Tally): string {
  return `${repositories} repositories, ${lfsObjects} LFS objects; ${files} files copied or linked (${bytes} bytes)`;
}

export function damageOf({ damaged, named }: Tally): string {
  if (damaged === 0) return "";
  const more = damaged > named.length ? ` and ${damaged - named.length} more` : "";
  return `\nLEFT OUT, missing or damaged: ${named.join(", ")}${more}`;
}
