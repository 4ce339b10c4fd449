/**
 * Objects out of stored packs, in a pool thread: whole, or only their type and size. Chains of
 * deltas are followed with an explicit list, never by recursion.
 */
import { constants, inflateSync } from "node:zlib";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { OBJECT_TYPE, type ObjectType, type Oid, typeName } from "../../git/oid.js";
import type { Kernels } from "../../kernels/kernels.js";
import type { PackHandle } from "./handle.js";
import { BaseCache } from "./base-cache.js";
import { BlockCache } from "./block-cache.js";
import { inSpaceOrder, NONE, ObjectNumbers } from "./numbering.js";
import { EntryHeader, PackFile } from "./entries.js";
import type { PackLookup } from "./lookup.js";
import type { StoredObject } from "./stored-object.js";

/**
 * Compressed bytes that yield a delta's two leading numbers in all but made-up cases: the tables of
 * a block with its own codes take up to some 300 bytes, before the first byte comes out. RFC 1951,
 * 3.2.7.
 */
const DELTA_HEAD_BYTES = 1_024;

/** Steps of a chain that are only followed: as long as Git makes chains. */
const LINKS_UNNOTED = 64;

/** Caches that one thread keeps between tasks. */
export interface ReaderCaches {
  readonly blocks: BlockCache;
  readonly bases: BaseCache;
}

/** `basesBytes`: default `deltaBaseCacheBytes`. */
export function createReaderCaches(basesBytes?: number): ReaderCaches {
  return { blocks: new BlockCache(), bases: new BaseCache(basesBytes) };
}

/** Caches of this thread: tasks of a pool thread share nothing but its modules. */
let kept: ReaderCaches | undefined;

/**
 * This thread's caches; started afresh once they have seen so many packs that their keys run out.
 */
export function threadReaderCaches(): ReaderCaches {
  if (kept !== undefined && kept.blocks.slots > LIMITS.packSlotsMax) {
    kept.blocks.close();
    kept = undefined;
  }
  kept ??= createReaderCaches();
  return kept;
}

export class ObjectReader {
  readonly space: ObjectNumbers<PackFile>;
  readonly #bases: BaseCache;
  readonly #kernels: Kernels;
  readonly #header = new EntryHeader();
  /** Entries inflated, for tests and figures. */
  inflated = 0;

  constructor(
    packs: readonly PackHandle[],
    kernels: Kernels,
    caches: ReaderCaches = createReaderCaches(),
  ) {
    this.space = new ObjectNumbers(
      inSpaceOrder(packs).map((pack) => new PackFile(pack, caches.blocks, kernels)),
    );
    this.#bases = caches.bases;
    this.#kernels = kernels;
  }

  /** Number of this object in `space`, NONE where no pack holds it. */
  locate(oid: Oid): number {
    return this.space.findOid(oid);
  }

  /** The object under this id. Throws "odb/missing". */
  readOid(oid: Oid): StoredObject {
    return this.read(this.space.need(oid));
  }

  /**
   * Object `number`. Throws "odb/damaged", "pack/too-large" (its result is more than may be held
   * whole).
   */
  read(number: number): StoredObject {
    const pack = this.space.pack(number);
    return this.readEntry(pack, pack.lookup.offset(this.space.position(number)));
  }

  /** Object `number`, which must be a `type`. Throws "odb/bad-object". */
  readAs(type: ObjectType, number: number): Uint8Array {
    const object = this.read(number);
    if (object.type !== type)
      throw new Fault("odb/bad-object", {
        oid: this.space.oid(number),
        expected: type,
        is: object.type,
      });
    return object.data;
  }

  /** The object whose entry starts at `offset` of `pack`. */
  readEntry(pack: PackFile, offset: number): StoredObject {
    const chain: Link[] = [];
    let link: Link = { pack, offset, delta: undefined };
    for (;;) {
      const known = this.#bases.get(link.pack.slot, link.offset);
      if (known !== undefined)
        return this.#apply(
          chain.length > 0 ? known : { type: known.type, data: known.data.slice() },
          chain,
        );
      const header = this.#header;
      link.pack.readHeader(link.offset, header);
      if (header.size > LIMITS.deltaResultBytesMax)
        throw new Fault("pack/too-large", { offset: link.offset, bytes: header.size });
      this.inflated++;
      if (!header.isDelta) {
        const type = typeName(header.type) as ObjectType;
        const data = link.pack.inflate(header);
        this.#bases.set(link.pack.slot, link.offset, { type, data });
        return this.#apply({ type, data }, chain);
      }
      if (chain.length >= LIMITS.deltaChainLengthMax)
        throw link.pack.damaged(link.offset, "delta chain is too long");
      const base = this.#baseOf(link.pack, header);
      chain.push({ ...link, delta: link.pack.inflate(header) });
      link = base;
    }
  }

  /** Applies the deltas from the last found to the first. */
  #apply(whole: StoredObject, chain: readonly Link[]): StoredObject {
    let object = whole;
    for (let at = chain.length - 1; at >= 0; at--) {
      const { pack, offset, delta } = chain[at] as Link;
      try {
        const data = this.#kernels.applyDelta(
          object.data,
          delta as Uint8Array,
          LIMITS.deltaResultBytesMax,
        );
        object = { type: object.type, data };
      } catch (error) {
        throw pack.damaged(offset, (error as Error).message);
      }
      this.#bases.set(pack.slot, offset, object);
    }
    return object;
  }

  /**
   * Finds the base of the delta under `header`. A ref-delta's is looked for in its own pack first:
   * stored packs are never thin.
   */
  #baseOf(pack: PackFile, header: EntryHeader): Link {
    if (header.type === OBJECT_TYPE.ofsDelta)
      return { pack, offset: header.baseOffset, delta: undefined };
    const position = pack.lookup.find(header.baseOid, 0);
    if (position >= 0) return { pack, offset: pack.lookup.offset(position), delta: undefined };
    throw pack.damaged(header.offset, "a delta's base is not in its pack");
  }

  /**
   * Number in `space` of the base of the entry under `header`, an object's id having one number
   * only.
   */
  baseNumber(pack: PackFile, header: EntryHeader): number {
    if (header.type === OBJECT_TYPE.refDelta) {
      const number = this.space.find(header.baseOid, 0);
      if (number === NONE) throw pack.damaged(header.offset, "a delta's base is missing");
      return number;
    }
    const position = pack.lookup.positionOf(header.baseOffset);
    const { packs, starts } = this.space;
    if (packs[0] === pack) return position;
    // An earlier pack of the space may hold the base as well: then it goes under that number.
    const at = packs.indexOf(pack);
    const oid = pack.lookup.oidView(position);
    for (let earlier = 0; earlier < at; earlier++) {
      const there = (packs[earlier] as PackFile).lookup.find(oid, 0);
      if (there >= 0) return (starts[earlier] as number) + there;
    }
    return (starts[at] as number) + position;
  }

  /**
   * Type of object `number`: headers only, nothing is inflated. It is noted in the pack's table of
   * types.
   */
  type(number: number): ObjectType {
    const { lookup } = this.space.pack(number);
    const position = this.space.position(number);
    const known = lookup.types?.[position] ?? 0;
    if (known !== 0) return typeName(known) as ObjectType;
    const type = this.#readType(number);
    if (lookup.types !== undefined) lookup.types[position] = OBJECT_TYPE[type];
    return type;
  }

  /**
   * Follows the chain to its root. Of a long one the steps are noted as well: the next object on it
   * need not go the whole way.
   */
  #readType(number: number): ObjectType {
    let pack = this.space.pack(number);
    let offset = pack.lookup.offset(this.space.position(number));
    const passed: number[] = [];
    for (let links = 0; links <= LIMITS.deltaChainLengthMax; links++) {
      const header = this.#header;
      pack.readHeader(offset, header);
      if (!header.isDelta) return this.#noteTypes(pack.lookup, passed, header.type);
      ({ pack, offset } = this.#baseOf(pack, header));
      if (links < LINKS_UNNOTED || pack.lookup.types === undefined) continue;
      const position = pack.lookup.positionOf(offset);
      const known = pack.lookup.types[position] ?? 0;
      if (known !== 0) return this.#noteTypes(pack.lookup, passed, known);
      passed.push(position);
    }
    throw pack.damaged(offset, "delta chain is too long");
  }

  #noteTypes({ types }: PackLookup, positions: readonly number[], type: number): ObjectType {
    if (types !== undefined) for (const position of positions) types[position] = type;
    return typeName(type) as ObjectType;
  }

  /** The zlib stream of object `number`: a copy; undefined where a delta is stored. */
  storedWhole(number: number): Uint8Array | undefined {
    const pack = this.space.pack(number);
    pack.readHeader(pack.lookup.offset(this.space.position(number)), this.#header);
    return this.#header.isDelta ? undefined : pack.compressed(this.#header);
  }

  /** Bytes of object `number`. Of a delta only the head is inflated, which says what it makes. */
  size(number: number): number {
    const pack = this.space.pack(number);
    const header = this.#header;
    pack.readHeader(pack.lookup.offset(this.space.position(number)), header);
    return header.isDelta ? this.#deltaResultSize(pack, header) : header.size;
  }

  #deltaResultSize(pack: PackFile, header: EntryHeader): number {
    const known =
      header.size <= DELTA_HEAD_BYTES ? undefined : resultSize(inflateHead(pack, header));
    // Blocks that hold nothing may come before the first that holds something: then all of it is
    // inflated.
    const size = known ?? resultSize(pack.inflate(header));
    if (size === undefined) throw pack.damaged(header.offset, "delta is cut");
    return size;
  }
}

interface Link {
  readonly pack: PackFile;
  readonly offset: number;
  readonly delta: Uint8Array | undefined;
}

function inflateHead(pack: PackFile, header: EntryHeader): Uint8Array {
  const end = Math.min(header.dataAt + DELTA_HEAD_BYTES, pack.handle.bytes);
  try {
    return inflateSync(pack.copy(header.dataAt, end), { finishFlush: constants.Z_SYNC_FLUSH });
  } catch (error) {
    throw pack.damaged(header.offset, (error as Error).message);
  }
}

/** The size of what a delta makes; undefined where so many bytes of it do not tell. */
function resultSize(delta: Uint8Array): number | undefined {
  const base = readDeltaSize(delta, 0);
  return base === undefined ? undefined : readDeltaSize(delta, base.end)?.size;
}

/**
 * One of the two numbers a delta starts with: 7 bits a byte, low bits first. gitformat-pack(5)
 * "Deltified representation".
 */
function readDeltaSize(
  delta: Uint8Array,
  start: number,
): { readonly size: number; readonly end: number } | undefined {
  let size = 0;
  let unit = 1;
  for (let at = start; at < delta.length; at++, unit *= 128) {
    const byte = delta[at] as number;
    size += (byte & 0x7f) * unit;
    if (size > Number.MAX_SAFE_INTEGER) return undefined;
    if (byte < 0x80) return { size, end: at + 1 };
  }
  return undefined;
}
