/**
 * Files that somebody else has written, made durable. Each path stands for its bytes; its name in
 * the folder is the store's to sync.
 */
import { open } from "node:fs/promises";

/**
 * All at once: the system's journal takes them together. Resolves or throws when none of it is
 * under way any more.
 */
export async function syncFiles(paths: readonly string[]): Promise<void> {
  const failed = (await Promise.allSettled(paths.map(syncFile))).find(
    (one) => one.status === "rejected",
  );
  if (failed !== undefined) throw failed.reason;
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, "r+");
  try {
    await file.datasync();
  } finally {
    await file.close();
  }
}
