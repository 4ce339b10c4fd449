/**
 * All objects of a lakeFS commit in path order, in batches: by raw ranges where the server lets us (100,000 objects: 4 calls), by pages
 * otherwise (101). Both give the same entries.
 */
import { latin1, strictText, fromLatin1, utf8 } from "../base/bytes.js";
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import type { LakefsClient } from "./client.js";
import type { LakeEntry } from "./path-rules.js";
import { readMetarange, readRangeEntries } from "./ranges.js";
import type { LakefsDifference, LakefsObject } from "./types.js";

export interface ListingSource {
  readonly client: LakefsClient;
  readonly repository: string;
  readonly signal: AbortSignal;
  readonly pagesOnly: boolean;
}

const NO_METADATA: Readonly<Record<string, string>> = {};
/** Entries of a range handed on at a time: bounds what is held with their contents. */
const BATCH_ENTRIES = 5_000;

/** `metarange`: the commit's; "" is the empty tree. */
export async function* listCommit(source: ListingSource, commit: string, metarange: string): AsyncGenerator<readonly LakeEntry[], void, undefined> {
  if (metarange === "") return;
  let last = "";
  if (!source.pagesOnly) {
    try {
      for await (const batch of byRanges(source, metarange)) {
        yield batch;
        last = batch.at(-1)?.path ?? last;
      }
      return;
    } catch (error) {
      if (!(error instanceof Fault && error.code === "lakefs/denied")) throw error;
    }
  }
  yield* byPages(source, commit, last);
}

async function* byRanges({ client, repository, signal }: ListingSource, metarange: string): AsyncGenerator<readonly LakeEntry[], void, undefined> {
  const read = (type: "range" | "meta_range", id: string) => client.readRange(repository, type, id, LIMITS.lakefsRangeBytesMax, signal);
  const ranges = [...readMetarange(await read("meta_range", metarange))];
  for (const { id, count } of ranges) {
    let batch: LakeEntry[] = [];
    let entries = 0;
    for (const entry of readRangeEntries(await read("range", id))) {
      batch.push(entry);
      entries++;
      if (batch.length < BATCH_ENTRIES) continue;
      yield batch;
      batch = [];
    }
    if (entries !== count) throw new Fault("lakefs/bad-reply", { call: "readRange", range: id, entries, promised: count });
    if (batch.length > 0) yield batch;
  }
}

async function* byPages({ client, repository, signal }: ListingSource, commit: string, last: string): AsyncGenerator<readonly LakeEntry[], void, undefined> {
  for (let after = strictText(fromLatin1(last)) ?? ""; ; ) {
    const page = await client.listObjects(repository, commit, after, signal);
    yield page.results.map(toEntry);
    if (!page.pagination.has_more) return;
    if (page.pagination.next_offset === after || page.results.length === 0) {
      throw new Fault("lakefs/bad-reply", { call: "listObjects", reason: "a page that does not go on" });
    }
    after = page.pagination.next_offset;
  }
}

export function toEntry({ path, size_bytes, checksum, physical_address, metadata }: LakefsObject): LakeEntry {
  return { path: latin1(utf8(path)), size: size_bytes ?? 0, checksum, address: physical_address, metadata: metadata ?? NO_METADATA };
}

/** One path that differs between two commits. */
export interface LakeChange {
  readonly path: string;
  /** Undefined: it was removed. */
  readonly entry: LakeEntry | undefined;
}

/** What changed from commit `left` to commit `right`, in path order. */
export async function* listChanges(source: ListingSource, left: string, right: string): AsyncGenerator<LakeChange, void, undefined> {
  const { client, repository, signal } = source;
  for await (const change of client.diff(repository, left, right, signal)) {
    const path = latin1(utf8(change.path));
    if (change.type === "removed") yield { path, entry: undefined };
    else if (change.type !== "added" && change.type !== "changed") throw new Fault("lakefs/bad-reply", { call: "diff", type: change.type });
    else yield { path, entry: rightSide(path, change) ?? toEntry(await client.statObject(repository, right, change.path, signal)) };
  }
}

/** Undefined: this server does not say enough. */
function rightSide(path: string, { right, size_bytes }: LakefsDifference): LakeEntry | undefined {
  if (right === undefined || size_bytes === undefined) return undefined;
  return { path, size: size_bytes, checksum: right.checksum, address: undefined, metadata: right.metadata ?? NO_METADATA };
}
