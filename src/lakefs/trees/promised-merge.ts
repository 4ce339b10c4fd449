/** Lists of promised blobs of packs that are folded become one, in a pool thread. */
import { TaskWatch } from "../../pool/control.js";
import { PackLookup } from "../../odb/packs/lookup.js";
import type { MergePromisedRequest, PromisedIds } from "./tasks.js";
import { PromisedWriter, readPromised } from "./promised-list.js";

/** Each blob once, as the first list has it. Throws as `readPromised`. */
export async function mergePromised({
  lists,
  by,
  path,
  control,
}: MergePromisedRequest): Promise<PromisedIds | undefined> {
  const watch = new TaskWatch(control);
  const lookup = new PackLookup(by);
  const writer = new PromisedWriter(path);
  try {
    for (const list of lists) {
      for (const blob of readPromised(list)) {
        watch.step();
        if (watch.shouldYield()) await watch.turn();
        if (lookup.findOid(blob.oid) < 0) writer.add(blob);
      }
    }
    return writer.finish();
  } finally {
    writer.close();
  }
}
