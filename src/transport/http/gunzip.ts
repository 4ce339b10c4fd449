/**
 * Bodies that clients compressed: git gzips requests over 1 KiB, JGit small pushes too.
 * gitprotocol-http(5).
 */
import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { Fault } from "../../base/fault.js";
import type { ByteSource } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";

export interface InflatedSource extends ByteSource {
  /** Frees what inflating holds; needed where the source is not read to its end. */
  close(): void;
}

/**
 * The inflated body, as it is read and no further ahead than a chunk. Throws "wire/bad-encoding"
 * where it is not gzip or ends early, "wire/too-much" above `bytesMax` inflated bytes: before they
 * are handed out, whatever the ratio.
 */
export function gunzip(body: ByteSource, bytesMax: number): InflatedSource {
  const stream = createGunzip({ chunkSize: LIMITS.inflateChunkBytes });
  const input = Readable.from(chunks(body), {
    objectMode: false,
    highWaterMark: LIMITS.inflateChunkBytes,
  });
  input.on("error", (error) => stream.destroy(error));
  input.pipe(stream);
  const inflated = stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  let bytes = 0;
  return {
    async read() {
      const next = await inflated.next().catch((error: unknown) => {
        throw asEncodingFault(error);
      });
      if (next.done === true) return undefined;
      bytes += next.value.length;
      if (bytes > bytesMax) throw new Fault("wire/too-much", { inflatedBytesMax: bytesMax });
      return next.value;
    },
    close() {
      input.destroy();
      stream.destroy();
    },
  };
}

async function* chunks(body: ByteSource): AsyncGenerator<Uint8Array> {
  for (let chunk = await body.read(); chunk !== undefined; chunk = await body.read()) yield chunk;
}

/** zlib's complaints become ours; what the body itself threw stays. */
function asEncodingFault(error: unknown): unknown {
  if (error instanceof Fault) return error;
  return new Fault(
    "wire/bad-encoding",
    { reason: error instanceof Error ? error.message : undefined },
    error,
  );
}
