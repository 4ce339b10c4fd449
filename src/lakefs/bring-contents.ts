/** Reads the contents that synthesis left in lakeFS, in a pool thread: those of one list, or some of them, into one pack file. */
import type { MessagePort } from "node:worker_threads";
import type { Kernels } from "../kernels/kernels.js";
import { LIMITS } from "../base/limits.js";
import { ObjectReader, threadReaderCaches } from "../odb/object-reader.js";
import type { ContentsRequest, ContentsResult } from "../pool/synthesize-tasks.js";
import { LakefsClient } from "./client.js";
import { SealKeys } from "./claim-seal.js";
import { Contents, type FileToResolve } from "./contents.js";
import { HashMemory } from "./hash-memory.js";
import { ObjectOutput } from "./object-output.js";
import { FILE_MODE } from "./path-rules.js";
import { type PromisedBlob, readPromised } from "./promised-list.js";
import { threadTreeCache } from "./tree-cache.js";
import { watchedSignal } from "./watched-signal.js";

/** A content that contradicts its id, or is gone, fails all of it and names the path. */
export async function bringContents(request: ContentsRequest, kernels: Kernels): Promise<ContentsResult> {
  const abort = watchedSignal(request.control);
  const output = new ObjectOutput(request.path, new ObjectReader(request.packs, kernels, threadReaderCaches()), threadTreeCache());
  const client = new LakefsClient(request.access);
  client.lost.know(request.repository, request.ways);
  const memory = new HashMemory(request.port as MessagePort);
  const { repository, namespace } = request;
  const source = { client, repository, namespace, seals: new SealKeys([]), signal: abort.signal, pagesOnly: false };
  try {
    const contents = new Contents(source, output, memory);
    let blobs = 0;
    for (const batch of inBatches(wantedBlobs(request, output))) {
      if (blobs === 0 && request.base !== undefined) output.copyPack(request.base);
      await contents.resolve((batch[0] as PromisedBlob).commit, batch.map(toFile));
      blobs += batch.length;
      memory.tell({ kind: "contents", blobs });
    }
    output.finish();
    return { blobs, figures: Object.fromEntries(client.http.figures) };
  } finally {
    output.discard();
    abort.stop();
    request.port.close();
  }
}

/** Those asked for that no pack has yet. */
function* wantedBlobs({ list, wanted }: ContentsRequest, output: ObjectOutput): Generator<PromisedBlob, void, undefined> {
  const ids = wanted && new Set(wanted);
  for (const blob of readPromised(list)) if (ids?.has(blob.oid) !== false && !output.has(blob.oid)) yield blob;
}

/** Of one commit each. */
function* inBatches(blobs: Iterable<PromisedBlob>): Generator<readonly PromisedBlob[], void, undefined> {
  let batch: PromisedBlob[] = [];
  for (const blob of blobs) {
    const isOther = batch.length > 0 && batch[0]?.commit !== blob.commit;
    if (isOther || batch.length === LIMITS.promisedBatchFiles) {
      yield batch;
      batch = [];
    }
    batch.push(blob);
  }
  if (batch.length > 0) yield batch;
}

/** As a listing would give it: a plain file whose blob id is known. Its address is not, and nothing here asks for it. */
function toFile({ oid, size, path }: PromisedBlob): FileToResolve {
  return {
    entry: { path, size, checksum: "", address: undefined, metadata: {} },
    crossing: { as: "file", mode: FILE_MODE.plain, claim: undefined, linked: undefined, pointer: false },
    unchanged: oid,
  };
}
