/**
 * A backup's folder:
 *
 *   backup.json                 which run is the backup; replaced last, in one
 *   runs/<run>/lakepack.db      the database
 *   runs/<run>/<prefix>/git/    manifests, and records of lakeFS repositories
 *   files/<key>                 packs, lists of refs, LFS objects, by their keys in the store
 *   lock                        held by the command that works on it
 *
 * Names of files are used once and their contents never change, so runs share them: one that dies
 * leaves some that nothing names, and the run of the record as it was.
 */
import { join } from "node:path";
import { z } from "zod";
import { strictText, utf8 } from "../../base/bytes.js";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { DiskStore } from "../../store/disk.js";

const RECORD_NAME = "backup.json";
export const DATABASE_COPY = "lakepack.db";
/** All that a backup's folder has. */
export const BACKUP_NAMES: ReadonlySet<string> = new Set([
  RECORD_NAME,
  "runs",
  "files",
  "lock",
  "lock-journal",
]);

const RECORD = z.object({
  format: z.literal(1),
  /** The version of lakepack that wrote it. */
  lakepack: z.string(),
  /** When it began: what was acknowledged before is in it. */
  at: z.iso.datetime(),
  run: z.string().regex(/^[0-9a-f]{16}$/),
  repositories: z.number().int().nonnegative(),
  lfs_objects: z.number().int().nonnegative(),
  /** Those that were missing or damaged, and were left out. */
  damaged: z.number().int().nonnegative(),
});

export type BackupRecord = Readonly<z.infer<typeof RECORD>>;

/** Undefined: no run has ended. Throws "backup/unreadable". */
export async function readRecord(folder: string): Promise<BackupRecord | undefined> {
  const stored = await new DiskStore(folder).get(RECORD_NAME, LIMITS.backupRecordBytesMax);
  if (stored === undefined) return undefined;
  try {
    return RECORD.parse(JSON.parse(strictText(stored.bytes) ?? ""));
  } catch (error) {
    throw new Fault("backup/unreadable", { file: join(folder, RECORD_NAME) }, error);
  }
}

/** Makes a run the backup, durably. */
export async function writeRecord(folder: string, record: BackupRecord): Promise<void> {
  const text = `${JSON.stringify(record, undefined, 1)}\n`;
  await new DiskStore(folder).put(RECORD_NAME, utf8(text));
}

export function runFolder(folder: string, run: string): string {
  return join(folder, "runs", run);
}

export function filesFolder(folder: string): string {
  return join(folder, "files");
}
