/**
 * Links that lead out of a new pack: into which stored pack each leads, and whether the object
 * there has the type that the link says. The pack itself is not read again: pass 1 and 2 have noted
 * each id with the types it is linked to as (wasm/links.ts).
 */
import { OBJECT_TYPE, type ObjectType, type Oid, oidAt, typeName } from "../../git/oid.js";
import { LINK } from "../../kernels/abi.js";
import type { TaskWatch } from "../../pool/control.js";
import type { ConcludeRequest } from "./tasks.js";
import type { ObjectReader } from "../packs/reader.js";
import { PackLookup } from "../packs/lookup.js";
import { holdsId } from "../../git/sorted-ids.js";

/** Place of the flags in an entry {id, flags}; the flags are 1 << type. */
const FLAGS_AT = 20;
const OPEN_LINKS_MAX = 100;
const LINKS_PER_LOOK = 1_024;

export interface WrongLink {
  readonly object: Oid;
  readonly expected: ObjectType;
  /** Type of the object; of one that nobody has, the other type it is linked to as. */
  readonly found: ObjectType;
}

export interface OutwardResult {
  /** The first hundred that lead to no closed pack. */
  readonly open: Oid[];
  /** The first to an object of another type. */
  readonly wrong: WrongLink | undefined;
}

interface StoredPack {
  readonly lookup: PackLookup;
  readonly isClosed: boolean;
}

export class OutwardLinks {
  readonly #packs: readonly StoredPack[];
  readonly #promised: readonly Uint8Array[];
  readonly #reader: () => ObjectReader;
  readonly #watch: TaskWatch;

  /** `reader`: of the same packs, made only where a type has to be read. */
  constructor(
    { packs, closed, promised = [] }: ConcludeRequest,
    reader: () => ObjectReader,
    watch: TaskWatch,
  ) {
    const all = packs.map((pack) => ({
      lookup: new PackLookup(pack),
      isClosed: closed.includes(pack.checksum),
    }));
    // Closed ones first: what lies in one is complete, wherever else it lies. Then the largest:
    // most look-ups end there.
    this.#packs = all.sort(
      (left, right) =>
        Number(right.isClosed) - Number(left.isClosed) || right.lookup.count - left.lookup.count,
    );
    this.#promised = promised.map((ids) => new Uint8Array(ids));
    this.#reader = reader;
    this.#watch = watch;
  }

  /** `bytes`: the entries. Stops at the first wrong one. */
  async follow(bytes: Uint8Array): Promise<OutwardResult> {
    const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const open = new Set<Oid>(); // several threads may have met the same link
    for (let at = 0; at < bytes.length; at += LINK.ENTRY_BYTES) {
      if ((at / LINK.ENTRY_BYTES) % LINKS_PER_LOOK === 0) {
        this.#watch.check();
        if (this.#watch.shouldYield()) await this.#watch.turn();
      }
      const expected = words.getUint32(at + FLAGS_AT, true) & LINK.EXPECT;
      const { type, isClosed } = this.#look(bytes, at);
      if (!isClosed && open.size < OPEN_LINKS_MAX) open.add(oidAt(bytes, at));
      const wrong = wrongLink(expected, type);
      if (wrong !== undefined)
        return { open: [...open], wrong: { object: oidAt(bytes, at), ...wrong } };
    }
    return { open: [...open], wrong: undefined };
  }

  #look(
    bytes: Uint8Array,
    at: number,
  ): { readonly type: number | undefined; readonly isClosed: boolean } {
    for (const { lookup, isClosed } of this.#packs) {
      const position = lookup.find(bytes, at);
      if (position < 0) continue;
      const known = lookup.types?.[position] ?? 0;
      const type = known === 0 ? this.#readType(lookup, position) : known;
      return { type, isClosed: isClosed || this.#isPromised(bytes, at) };
    }
    return this.#isPromised(bytes, at)
      ? { type: OBJECT_TYPE.blob, isClosed: true }
      : { type: undefined, isClosed: false };
  }

  #readType({ handle }: PackLookup, position: number): number {
    const reader = this.#reader();
    const at = reader.space.packs.findIndex((pack) => pack.handle === handle);
    return OBJECT_TYPE[reader.type((reader.space.starts[at] as number) + position)];
  }

  #isPromised(bytes: Uint8Array, at: number): boolean {
    return this.#promised.some((ids) => holdsId(ids, bytes, at));
  }
}

/** `type`: what it is; undefined: nobody has it, and it can still be one thing only. */
function wrongLink(
  expected: number,
  type: number | undefined,
): Omit<WrongLink, "object"> | undefined {
  if (type !== undefined) {
    const others = expected & ~(1 << type);
    return others === 0
      ? undefined
      : { expected: firstType(others), found: typeName(type) as ObjectType };
  }
  const first = expected & -expected;
  const others = expected & ~first;
  return others === 0 ? undefined : { expected: firstType(first), found: firstType(others) };
}

/** The first type that these flags of a link name. */
function firstType(flags: number): ObjectType {
  return typeName(31 - Math.clz32(flags & -flags)) as ObjectType;
}

/** A link's flags against the type of the object it leads to. Undefined: they agree. */
export function wrongTypes(flags: number, type: number): Omit<WrongLink, "object"> | undefined {
  return wrongLink(flags & LINK.EXPECT, type);
}
