/**
 * The plain resolving of a parsed pack: every delta applied, every object named. Reference for
 * wasm/resolve.ts.
 */
import { Fault } from "../../src/base/fault.js";
import { LIMITS } from "../../src/base/limits.js";
import type { Kernels } from "../../src/kernels/kernels.js";
import { type ObjectType, type Oid, oidAt, typeName } from "../../src/git/oid.js";
import type { PackEntry } from "./pack-parser.js";

export interface ResolvedObject {
  readonly oid: Oid;
  readonly type: ObjectType;
  readonly data: Uint8Array;
  readonly entry: PackEntry;
}

/** Finds the base of a thin pack's delta elsewhere. */
export type FindBase = (
  oid: Oid,
) => { readonly type: ObjectType; readonly data: Uint8Array } | undefined;

/**
 * Objects in the order of `entries`. Throws "pack/base-missing", "pack/bad-entry",
 * "pack/chain-too-long", "pack/bad-delta".
 */
export function resolvePack(
  entries: readonly PackEntry[],
  kernels: Kernels,
  findBase: FindBase = () => undefined,
): ResolvedObject[] {
  const resolver = new Resolver(entries, kernels);
  resolver.start();
  for (const { baseOid } of entries) {
    const base = baseOid === undefined || resolver.holds(baseOid) ? undefined : findBase(baseOid);
    if (base !== undefined) resolver.offer(baseOid as Oid, base.type, base.data);
  }
  return resolver.finish();
}

interface Base {
  readonly type: ObjectType;
  readonly data: Uint8Array;
  readonly depth: number;
}

class Resolver {
  readonly #entries: readonly PackEntry[];
  readonly #kernels: Kernels;
  readonly #objects = new Map<PackEntry, ResolvedObject>();
  readonly #byOffset = new Map<number, PackEntry[]>();
  readonly #byOid = new Map<Oid, PackEntry[]>();
  readonly #held = new Set<Oid>();

  constructor(entries: readonly PackEntry[], kernels: Kernels) {
    this.#entries = entries;
    this.#kernels = kernels;
    const starts = new Set(entries.map((entry) => entry.offset));
    for (const entry of entries) {
      if (entry.baseOffset !== undefined) {
        if (!starts.has(entry.baseOffset))
          throw new Fault("pack/bad-entry", { offset: entry.offset, base: entry.baseOffset });
        push(this.#byOffset, entry.baseOffset, entry);
      } else if (entry.baseOid !== undefined) push(this.#byOid, entry.baseOid, entry);
    }
  }

  holds(oid: Oid): boolean {
    return this.#held.has(oid);
  }

  /** Everything that hangs on whole objects of the pack. */
  start(): void {
    for (const entry of this.#entries) {
      const type = typeName(entry.type);
      if (type !== undefined) this.#grow([this.#take(entry, { type, data: entry.data, depth: 0 })]);
    }
  }

  /** Everything that hangs on an object from elsewhere. */
  offer(oid: Oid, type: ObjectType, data: Uint8Array): void {
    this.#held.add(oid);
    const base = { type, data, depth: 0 };
    this.#grow((this.#byOid.get(oid) ?? []).map((entry) => this.#make(entry, base)));
    this.#byOid.delete(oid);
  }

  finish(): ResolvedObject[] {
    return this.#entries.map((entry) => {
      const object = this.#objects.get(entry);
      if (object === undefined)
        throw new Fault("pack/base-missing", { base: entry.baseOid, offset: entry.offset });
      return object;
    });
  }

  /** Depth first, with a list instead of recursion. */
  #grow(start: (Base & { readonly object: ResolvedObject })[]): void {
    const stack = start;
    for (let base = stack.pop(); base !== undefined; base = stack.pop()) {
      const { entry, oid } = base.object;
      const children = [
        ...(this.#byOffset.get(entry.offset) ?? []),
        ...(this.#byOid.get(oid) ?? []),
      ];
      this.#byOid.delete(oid);
      for (const child of children) stack.push(this.#make(child, base));
    }
  }

  #make(entry: PackEntry, base: Base): Base & { readonly object: ResolvedObject } {
    if (base.depth >= LIMITS.deltaChainLengthMax)
      throw new Fault("pack/chain-too-long", { offset: entry.offset });
    const data = this.#kernels.applyDelta(base.data, entry.data, LIMITS.deltaResultBytesMax);
    return this.#take(entry, { type: base.type, data, depth: base.depth + 1 });
  }

  #take(entry: PackEntry, made: Base): Base & { readonly object: ResolvedObject } {
    const oid = oidAt(this.#kernels.hashObjects([made]), 0);
    const object = { oid, type: made.type, data: made.data, entry };
    this.#objects.set(entry, object);
    this.#held.add(oid);
    return { ...made, object };
  }
}

function push<K>(map: Map<K, PackEntry[]>, key: K, entry: PackEntry): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [entry]);
  else list.push(entry);
}
