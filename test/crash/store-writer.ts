/**
 * Writes to a store in the folder `data` as its arguments say: a call, a key, a text. A process of
 * its own, so that it can be recorded, and die.
 */
import { open } from "node:fs/promises";
import { join } from "node:path";
import { Fault } from "../../src/base/fault.js";
import { DiskStore, makeRoot } from "../../src/store/disk.js";

const [data = "", call = "", key = "", text = ""] = process.argv.slice(2);
await makeRoot(data);
const store = new DiskStore(data);
if (call === "publish") await store.publish(key, await finishedFile());
else
  await store.putIfAbsent(key, Buffer.from(text)).catch((error: unknown) => {
    if (!(error instanceof Fault && error.code === "store/exists")) throw error;
  });

/** A file as its writer hands it to `publish`: synced. */
async function finishedFile(): Promise<string> {
  const path = join(data, `finished-${process.pid}`);
  const file = await open(path, "wx");
  await file.writeFile(text);
  await file.datasync();
  await file.close();
  return path;
}
