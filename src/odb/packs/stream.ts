/** A large object as a stream of pieces: inflated from its pack while it is read. */
import { Readable } from "node:stream";
import { createInflate } from "node:zlib";
import { LIMITS } from "../../base/limits.js";
import { EntryHeader, type PackFile } from "./entries.js";
import type { ObjectReader } from "./reader.js";

/**
 * Content of object `number`, which may be read any number of times. One that is stored as a delta
 * is made whole first and comes in one piece; Git makes no deltas of what is really large
 * (core.bigFileThreshold). Throws "odb/damaged".
 */
export async function* readStream(
  reader: ObjectReader,
  number: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const pack = reader.space.pack(number);
  const header = new EntryHeader();
  pack.readHeader(pack.lookup.offset(reader.space.position(number)), header);
  if (header.isDelta) yield reader.read(number).data;
  else yield* inflated(pack, header);
}

async function* inflated(
  pack: PackFile,
  { offset, size, dataAt }: EntryHeader,
): AsyncGenerator<Uint8Array, void, undefined> {
  const source = Readable.from(
    compressed(pack, dataAt, pack.lookup.endAt(pack.lookup.rankOf(offset))),
  );
  const inflate = createInflate({ chunkSize: LIMITS.streamChunkBytes });
  source.on("error", (error) => inflate.destroy(error));
  source.pipe(inflate);
  let bytes = 0;
  try {
    for await (const piece of inflate as AsyncIterable<Uint8Array>) {
      bytes += piece.length;
      yield piece;
    }
  } catch (error) {
    throw pack.damaged(offset, (error as Error).message);
  } finally {
    source.destroy();
    inflate.destroy();
  }
  if (bytes !== size) throw pack.damaged(offset, "an object of another size than its header says");
}

function* compressed(
  pack: PackFile,
  start: number,
  end: number,
): Generator<Uint8Array, void, undefined> {
  for (let at = start; at < end; at += LIMITS.streamChunkBytes)
    yield pack.copy(at, Math.min(at + LIMITS.streamChunkBytes, end));
}
