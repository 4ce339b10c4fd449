/**
 * Reads the contents that synthesis left in lakeFS, in a pool thread: those of one list, or some of
 * them, into one pack file.
 */
import type { MessagePort } from "node:worker_threads";
import { fromLatin1, lossyText } from "../../base/bytes.js";
import { asFault, type Fault, toRecord } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { oidBytes } from "../../git/oid.js";
import type { Kernels } from "../../kernels/kernels.js";
import { ObjectReader, threadReaderCaches } from "../../odb/packs/reader.js";
import { holdsId } from "../../git/sorted-ids.js";
import type { ContentsRequest, ContentsResult } from "./tasks.js";
import { LakefsServer } from "../api/client.js";
import { SealKeys } from "../rules/claim-seal.js";
import { isContentFault } from "../rules/content-fault.js";
import { Contents } from "./contents.js";
import type { FileToResolve } from "../rules/file-to-resolve.js";
import { HashMemory } from "./hash-memory.js";
import { ObjectOutput } from "./object-output.js";
import { FILE_MODE } from "../rules/path-rules.js";
import { type PromisedBlob, PromisedWriter, readPromised } from "./promised-list.js";
import { threadTreeCache } from "./tree-cache.js";
import { watchedSignal } from "./watched-signal.js";

/**
 * A content that contradicts its id, or is gone, fails all of it and names the path; with a list
 * for what is left it stays promised there.
 */
export async function bringContents(
  request: ContentsRequest,
  kernels: Kernels,
): Promise<ContentsResult> {
  const memory = new HashMemory(request.port as MessagePort);
  const abort = watchedSignal(request.control, memory.leftOff);
  const output = new ObjectOutput(
    request.path,
    new ObjectReader(request.packs, kernels, threadReaderCaches()),
    threadTreeCache(),
  );
  const left = request.leftPath === undefined ? undefined : new PromisedWriter(request.leftPath);
  const client = new LakefsServer(request.access).in(request.repository);
  client.server.lost.know(request.repository, request.ways);
  const { namespace } = request;
  const source = {
    client,
    namespace,
    seals: new SealKeys([]),
    signal: abort.signal,
    pagesOnly: false,
  };
  const leave = (blob: PromisedBlob, fault: Fault) => {
    left?.add(blob);
    memory.tell({
      kind: "left",
      commit: blob.commit,
      path: lossyText(fromLatin1(blob.path)),
      code: fault.code,
      reason: fault.message,
    });
  };
  const told = async (result: Omit<ContentsResult, "figures">): Promise<ContentsResult> => {
    await memory.heard();
    return { ...result, figures: Object.fromEntries(client.http.figures) };
  };
  try {
    const contents = new Contents(source, output, memory);
    let looked = 0;
    let failed = 0;
    for (const batch of inBatches(wantedBlobs(request, output))) {
      if (looked === 0 && request.base !== undefined) output.copyPack(request.base);
      if (left === undefined) await resolveAll(contents, batch);
      else failed += await resolveSome(() => new Contents(source, output, memory), batch, leave);
      looked += batch.length;
      memory.tell({ kind: "contents", blobs: looked });
    }
    const blobs = looked - failed;
    if (blobs > 0) output.finish();
    return await told({ blobs, left: left?.finish(), failure: undefined });
  } catch (error) {
    const fault = asFault(error);
    if (abort.gone.aborted) throw fault;
    return await told({ blobs: output.finishWhole(), left: undefined, failure: toRecord(fault) });
  } finally {
    output.discard();
    left?.close();
    abort.stop();
    request.port.close();
  }
}

async function resolveAll(contents: Contents, batch: readonly PromisedBlob[]): Promise<void> {
  await contents.resolve((batch[0] as PromisedBlob).commit, batch.map(toFile));
}

/**
 * Halves what fails until it is known which contents it is; how many. Contents that have been read
 * meanwhile are not read again.
 */
async function resolveSome(
  newContents: () => Contents,
  batch: readonly PromisedBlob[],
  leave: (blob: PromisedBlob, fault: Fault) => void,
): Promise<number> {
  let failed = 0;
  const pending = [batch];
  for (let part = pending.pop(); part !== undefined; part = pending.pop()) {
    try {
      await resolveAll(newContents(), part);
    } catch (error) {
      const fault = asFault(error);
      if (!isContentFault(fault)) throw fault;
      const half = part.length >>> 1;
      if (half > 0) pending.push(part.slice(0, half), part.slice(half));
      else {
        leave(part[0] as PromisedBlob, fault);
        failed++;
      }
    }
  }
  return failed;
}

/** Those asked for that no pack has yet. */
function* wantedBlobs(
  { list, wanted }: ContentsRequest,
  output: ObjectOutput,
): Generator<PromisedBlob, void, undefined> {
  const ids = wanted && new Uint8Array(wanted);
  for (const blob of readPromised(list)) {
    if ((ids === undefined || holdsId(ids, oidBytes(blob.oid), 0)) && !output.has(blob.oid))
      yield blob;
  }
}

/** Yields batches of one commit each. */
function* inBatches(
  blobs: Iterable<PromisedBlob>,
): Generator<readonly PromisedBlob[], void, undefined> {
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

/**
 * As a listing would give it: a plain file whose blob id is known. Its address is not, and nothing
 * here asks for it.
 */
function toFile({ oid, size, path }: PromisedBlob): FileToResolve {
  return {
    entry: { path, size, checksum: "", address: undefined, metadata: {} },
    crossing: {
      as: "file",
      mode: FILE_MODE.plain,
      claim: undefined,
      linked: undefined,
      pointer: false,
    },
    unchanged: oid,
  };
}
