/**
 * Pointers that a push brings, in a pool thread. Two steps, because the second is needed only where
 * something is wrong: all small blobs of the pushed pack that are pointers by their text; and for
 * those whose object is missing, the paths at which .gitattributes make them pointers. A text that
 * only looks like a pointer is a plain file.
 */
import { parsePointer, POINTER_BYTES_MAX, POINTER_BYTES_MIN } from "../git/lfs-pointer.js";
import { LIMITS } from "../base/limits.js";
import type { Kernels } from "../kernels/kernels.js";
import { ObjectReader, threadReaderCaches } from "../odb/packs/reader.js";
import { EntryHeader } from "../odb/packs/entries.js";
import { TaskWatch } from "../pool/control.js";
import type {
  FindPointersRequest,
  FindPointersResult,
  FoundPointer,
  pointerPathsTask,
  pointersTask,
} from "./tasks.js";
import { type AttributeReading, PointerPaths } from "./pointer-paths.js";
import type { Work } from "../pool/task.js";

/**
 * Instructions of a delta that makes a pointer: all of it inserted, and two sizes and some
 * operation bytes.
 */
const DELTA_BYTES_MAX = POINTER_BYTES_MAX + 32;

export interface PointerWork {
  readonly pointers: Work<typeof pointersTask>;
  readonly paths: Work<typeof pointerPathsTask>;
}

export function pointerWork<R>(kernels: Kernels, attributes: AttributeReading<R>): PointerWork {
  return {
    pointers: (request) => findPointers(request, kernels),
    paths: (request) => {
      const reader = new ObjectReader(request.packs, kernels, threadReaderCaches());
      return new PointerPaths(request, reader, attributes, new TaskWatch(request.control)).find();
    },
  };
}

async function findPointers(
  { packs, pushed, from, control }: FindPointersRequest,
  kernels: Kernels,
): Promise<FindPointersResult> {
  const reader = new ObjectReader(packs, kernels, threadReaderCaches());
  const watch = new TaskWatch(control);
  const { space } = reader;
  const at = space.packs.findIndex(({ handle }) => handle.checksum === pushed);
  const pack = space.packs[at];
  if (pack === undefined) return { found: [], next: undefined };
  const header = new EntryHeader();
  const found: FoundPointer[] = [];
  for (let rank = from; rank < pack.lookup.count; rank++) {
    watch.step();
    if (watch.shouldYield()) await watch.turn();
    if (found.length === LIMITS.pointersAtOnce) return { found, next: rank };
    const position = pack.lookup.positionAt(rank); // as they lie in the pack: each block is read once
    pack.readHeader(pack.lookup.offset(position), header);
    if (header.isDelta ? header.size > DELTA_BYTES_MAX : !isPointerSize(header.size)) continue;
    const number = (space.starts[at] as number) + position;
    if (reader.type(number) !== "blob") continue; // first, since it takes no inflating
    if (header.isDelta && !isPointerSize(reader.size(number))) continue;
    // What lies whole goes past the cache of bases: most small files are no pointers, and nobody's
    // base.
    const pointer = parsePointer(header.isDelta ? reader.read(number).data : pack.inflate(header));
    if (pointer !== undefined) found.push({ blob: pack.lookup.oid(position), ...pointer });
  }
  return { found, next: undefined };
}

function isPointerSize(bytes: number): boolean {
  return bytes >= POINTER_BYTES_MIN && bytes <= POINTER_BYTES_MAX;
}
