/** `lakepack restore`. */
import { existsSync } from "node:fs";
import { chmod, stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { Command } from "commander";
import { asFault, Fault } from "../../base/fault.js";
import { lockDataFolder } from "../../database/data-lock.js";
import { makeRoot } from "../../store/disk.js";
import { checkEmpty, restore } from "../backup/restore.js";
import { folderSettings } from "../terminal/folder-options.js";
import { ProgressLine } from "../terminal/progress.js";
import { print, subcommand } from "../terminal/subcommand.js";
import {
  amounts,
  type BackupCommandOptions,
  checkApart,
  damageOf,
  lockBackup,
  sqlitePath,
} from "./backup.js";

interface Options extends BackupCommandOptions {
  readonly verify?: boolean;
}

export function restoreCommand(): Command {
  return subcommand("restore", "Restore a backup into an empty data folder.")
    .argument("<folder>", "folder of the backup")
    .option("--damaged", "leave out what the backup has lost, and tell what")
    .option("--verify", "then check all that was restored, as lakepack verify --all does")
    .addHelpText(
      "after",
      "\nRepositories keep their ids, and users, tokens, grants, settings and Git LFS objects are as they were. The backup stays as it is, and shares no file with what is restored.\n",
    )
    .action(restoreInto);
}

async function restoreInto(name: string, options: Options): Promise<void> {
  const settings = folderSettings(options);
  const [folder, data] = [resolve(name), resolve(settings.data)];
  const database = sqlitePath(settings);
  await checkBackup(folder);
  checkApart(folder, data);
  process.umask(0o077);
  await makeRoot(data);
  await checkEmpty(data);
  if (existsSync(database)) throw new Fault("restore/not-empty", { database });
  await chmod(data, 0o700);
  const backupLock = lockBackup(folder);
  const line = new ProgressLine();
  try {
    const dataLock = lockDataFolder(data);
    try {
      await checkEmpty(data);
      const { record, tally } = await restore({
        folder,
        data,
        database,
        withoutDamaged: options.damaged === true,
        onProgress: (tally) => line.show(() => amounts(tally)),
        signal: new AbortController().signal,
      });
      line.end();
      print(
        options,
        { ...record, repositories: tally.repositories, damaged_names: tally.named },
        `restored as of ${record.at}: ${amounts(tally)}${damageOf(tally)}`,
      );
    } finally {
      line.end();
      dataLock.release();
    }
  } finally {
    backupLock.release();
  }
  if (options.verify !== true) return;
  const { verifyStored } = await import("./verify-stored.js");
  await verifyStored(settings, [], options.json === true);
}

/** Throws "backup/none": a lock must not make the folder of a name that was mistyped. */
async function checkBackup(folder: string): Promise<void> {
  const found = await stat(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw asFault(error);
  });
  if (found?.isDirectory() !== true) throw new Fault("backup/none", { folder });
}
