/**
 * All objects of a lakeFS commit in path order, in batches: by raw ranges where the server lets us
 * (100,000 objects: 4 calls), by pages otherwise (101). Both give the same entries.
 */
import { latin1, strictText, fromLatin1, utf8 } from "../../base/bytes.js";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import type { LakefsClient } from "../api/client.js";
import type { LakeEntry } from "../rules/path-rules.js";
import { type RangeSummary, readMetarange, readRangeEntries } from "./ranges.js";
import type { LakefsDifference, LakefsObject } from "../api/types.js";

export interface ListingSource {
  readonly client: LakefsClient;
  readonly signal: AbortSignal;
  readonly pagesOnly: boolean;
  /** Is told how many entries a listing has, where that is known before they are read. */
  readonly onCount?: (entries: number) => void;
}

const NO_METADATA: Readonly<Record<string, string>> = {};
/**
 * Entries of a range handed on at a time, which bounds what is held with their contents: a page's
 * worth, so that pages can sign them.
 */
const BATCH_ENTRIES = LIMITS.lakefsPageMax;

/** `metarange`: the commit's; "" is the empty tree. */
export async function* listCommit(
  source: ListingSource,
  commit: string,
  metarange: string,
): AsyncGenerator<readonly LakeEntry[], void, undefined> {
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

async function* byRanges(
  source: ListingSource,
  metarange: string,
): AsyncGenerator<readonly LakeEntry[], void, undefined> {
  const ranges = await readRanges(source, metarange);
  source.onCount?.(ranges.reduce((sum, { count }) => sum + count, 0));
  yield* ofRanges(source, ranges);
}

async function* ofRanges(
  source: ListingSource,
  ranges: readonly RangeSummary[],
): AsyncGenerator<readonly LakeEntry[], void, undefined> {
  for (const range of ranges) {
    let batch: LakeEntry[] = [];
    for (const entry of await readEntries(source, range)) {
      batch.push(entry);
      if (batch.length < BATCH_ENTRIES) continue;
      yield batch;
      batch = [];
    }
    if (batch.length > 0) yield batch;
  }
}

async function readRanges(
  { client, signal }: ListingSource,
  metarange: string,
): Promise<RangeSummary[]> {
  if (metarange === "") return [];
  return [
    ...readMetarange(
      await client.readRange("meta_range", metarange, LIMITS.lakefsRangeBytesMax, signal),
    ),
  ];
}

async function readEntries(
  { client, signal }: ListingSource,
  range: RangeSummary,
): Promise<Iterable<LakeEntry>> {
  return counted(
    readRangeEntries(await client.readRange("range", range.id, LIMITS.lakefsRangeBytesMax, signal)),
    range,
  );
}

/** As many as the metarange promises, which is known when the last was taken. */
function* counted(
  all: Iterable<LakeEntry>,
  { id, count }: RangeSummary,
): Generator<LakeEntry, void, undefined> {
  let entries = 0;
  for (const entry of all) {
    entries++;
    yield entry;
  }
  if (entries !== count)
    throw new Fault("lakefs/bad-reply", { call: "readRange", range: id, entries, promised: count });
}

async function* byPages(
  { client, signal }: ListingSource,
  commit: string,
  last: string,
): AsyncGenerator<readonly LakeEntry[], void, undefined> {
  for (let after = strictText(fromLatin1(last)) ?? ""; ; ) {
    const page = await client.listObjects(commit, after, signal);
    yield page.results.map(toEntry);
    if (!page.pagination.has_more) return;
    if (page.pagination.next_offset === after || page.results.length === 0) {
      throw new Fault("lakefs/bad-reply", {
        call: "listObjects",
        reason: "a page that does not go on",
      });
    }
    after = page.pagination.next_offset;
  }
}

export function toEntry({
  path,
  size_bytes,
  checksum,
  physical_address,
  metadata,
}: LakefsObject): LakeEntry {
  return {
    path: latin1(utf8(path)),
    size: size_bytes ?? 0,
    checksum,
    address: physical_address,
    metadata: metadata ?? NO_METADATA,
  };
}

/** One path that differs between two commits. */
export interface LakeChange {
  readonly path: string;
  /** Undefined: it was removed. */
  readonly entry: LakeEntry | undefined;
}

/** A commit and its metarange. */
export interface Side {
  readonly id: string;
  readonly metarange: string;
}

/**
 * Returns the changes from `left` to `right`, in path order; undefined: too many to be held
 * (`listCompared` is the way then). lakeFS's diff tells of a small change in one call; of a large
 * one the ranges that differ tell in fewer, and with addresses.
 */
export async function listChanges(
  source: ListingSource,
  left: Side,
  right: Side,
): Promise<LakeChange[] | undefined> {
  const changes: LakeChange[] = [];
  const asked = { count: 0 };
  let isTried = source.pagesOnly;
  for await (const change of byDiff(source, left.id, right.id, asked)) {
    if (changes.length === LIMITS.lakefsChangesMax) return undefined;
    changes.push(change);
    if (isTried || (changes.length < LIMITS.lakefsDiffMax && asked.count < LIMITS.lakefsStatsMax))
      continue;
    isTried = true;
    const ranged = await changesByRanges(source, left.metarange, right.metarange);
    if (ranged !== "denied") return ranged;
  }
  return changes;
}

/** Undefined: too much. */
async function changesByRanges(
  source: ListingSource,
  left: string,
  right: string,
): Promise<LakeChange[] | undefined | "denied"> {
  try {
    const [before, after] = [await readRanges(source, left), await readRanges(source, right)];
    const [had, has] = [new Set(before.map(({ id }) => id)), new Set(after.map(({ id }) => id))];
    const [old, now] = [
      before.filter(({ id }) => !has.has(id)),
      after.filter(({ id }) => !had.has(id)),
    ];
    const changes: LakeChange[] = [];
    for await (const { left: was, right: is } of merged(
      ofRanges(source, old),
      ofRanges(source, now),
    )) {
      if (was !== undefined && is !== undefined && isSame(was, is)) continue;
      if (changes.length === LIMITS.lakefsChangesMax) return undefined;
      changes.push({ path: ((is ?? was) as LakeEntry).path, entry: is });
    }
    return changes;
  } catch (error) {
    if (error instanceof Fault && error.code === "lakefs/denied") return "denied";
    throw error;
  }
}

/**
 * As `listCommit` of `right`; entries that are in `left` as well, and the same, are added to
 * `same`. Both listings are read, neither is held.
 */
export async function* listCompared(
  source: ListingSource,
  left: Side,
  right: Side,
  same: WeakSet<LakeEntry>,
): AsyncGenerator<readonly LakeEntry[], void, undefined> {
  let batch: LakeEntry[] = [];
  for await (const { left: was, right: is } of merged(
    listCommit(source, left.id, left.metarange),
    listCommit(source, right.id, right.metarange),
  )) {
    if (is === undefined) continue;
    if (was !== undefined && isSame(was, is)) same.add(is);
    batch.push(is);
    if (batch.length < BATCH_ENTRIES) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

type Batches = AsyncIterable<readonly LakeEntry[]>;

/** Two listings side by side: each path once, with what either has there. */
async function* merged(
  lefts: Batches,
  rights: Batches,
): AsyncGenerator<{ readonly left: LakeEntry | undefined; readonly right: LakeEntry | undefined }> {
  const [before, after] = [new Cursor(lefts), new Cursor(rights)];
  for (;;) {
    const [left, right] = [await before.peek(), await after.peek()];
    if (left === undefined && right === undefined) return;
    const order =
      left === undefined
        ? 1
        : right === undefined || left.path < right.path
          ? -1
          : left.path === right.path
            ? 0
            : 1;
    if (order <= 0) before.skip();
    if (order >= 0) after.skip();
    yield { left: order <= 0 ? left : undefined, right: order >= 0 ? right : undefined };
  }
}

/** One entry after the other out of batches. */
class Cursor {
  readonly #batches: AsyncIterator<readonly LakeEntry[]>;
  #batch: readonly LakeEntry[] = [];
  #at = 0;

  constructor(batches: Batches) {
    this.#batches = batches[Symbol.asyncIterator]();
  }

  async peek(): Promise<LakeEntry | undefined> {
    while (this.#at === this.#batch.length) {
      const { done, value } = await this.#batches.next();
      if (done) return undefined;
      [this.#batch, this.#at] = [value, 0];
    }
    return this.#batch[this.#at];
  }

  skip(): void {
    this.#at++;
  }
}

/**
 * Returns whether two entries are the same, as lakeFS's diff sees them: the address does not count.
 */
function isSame(left: LakeEntry, right: LakeEntry): boolean {
  if (left.size !== right.size || left.checksum !== right.checksum) return false;
  const names = Object.keys(left.metadata);
  return (
    names.length === Object.keys(right.metadata).length &&
    names.every((name) => left.metadata[name] === right.metadata[name])
  );
}

/** `asked`: of how many the diff did not say what is new. */
async function* byDiff(
  source: ListingSource,
  left: string,
  right: string,
  asked: { count: number },
): AsyncGenerator<LakeChange, void, undefined> {
  const { client, signal } = source;
  for await (const change of client.diff(left, right, signal)) {
    const path = latin1(utf8(change.path));
    if (change.type === "removed") yield { path, entry: undefined };
    else if (change.type !== "added" && change.type !== "changed")
      throw new Fault("lakefs/bad-reply", { call: "diff", type: change.type });
    else {
      const told = rightSide(path, change);
      if (told === undefined) asked.count++;
      yield {
        path,
        entry: told ?? toEntry(await client.statObject(right, change.path, signal)),
      };
    }
  }
}

/** Undefined: this server does not say enough. */
function rightSide(path: string, { right, size_bytes }: LakefsDifference): LakeEntry | undefined {
  if (right === undefined || size_bytes === undefined) return undefined;
  return {
    path,
    size: size_bytes,
    checksum: right.checksum,
    address: undefined,
    metadata: right.metadata ?? NO_METADATA,
  };
}
