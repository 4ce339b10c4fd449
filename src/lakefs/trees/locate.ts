/**
 * Finds single objects of a commit, which a diff does not tell: one call for each of a few, pages
 * of the listing for many that are near one another.
 */
import { unlessMissing } from "../api/missing.js";
import { fromLatin1, latin1, lossyText, utf8 } from "../../base/bytes.js";
import { Semaphore } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { type ListingSource, toEntry } from "./listing.js";
import type { LakeEntry } from "../rules/path-rules.js";
import type { LakefsObject } from "../api/types.js";

/** Up to so many are asked for one by one. */
const SINGLE_MAX = 4;
/** A page pays where it brings at least so many of them. */
const FOUND_MIN = 4;

/** By path; paths (latin1 text) are UTF-8, in any order. Throws "lakefs/missing". */
export async function locate(
  source: ListingSource,
  commit: string,
  paths: readonly string[],
): Promise<ReadonlyMap<string, LakeEntry>> {
  return toEntries(await locateObjects(source, commit, paths));
}

/** As `locate`, with all that lakeFS says of them. */
export async function locateObjects(
  source: ListingSource,
  commit: string,
  paths: readonly string[],
): Promise<ReadonlyMap<string, LakefsObject>> {
  const found = await byPages(source, commit, paths);
  const turns = new Semaphore(LIMITS.lakefsReadsMax);
  const left = paths.filter((path) => !found.has(path));
  await Promise.all(
    left.map((path) =>
      turns.run(async () => void found.set(path, await stat(source, commit, path)), source.signal),
    ),
  );
  return found;
}

/**
 * As `locate`, of files that may be sent in place of being found: those that are not there are left
 * out, and so are many `small` ones that are far from one another, as a call for each costs what
 * sending it costs.
 */
export async function locateSome(
  source: ListingSource,
  commit: string,
  small: readonly string[],
  large: readonly string[],
): Promise<ReadonlyMap<string, LakeEntry>> {
  const found = toEntries(await byPages(source, commit, [...small, ...large]));
  const isLeft = (path: string) => !found.has(path);
  const few = small.filter(isLeft);
  const left = [...(few.length > SINGLE_MAX ? [] : few), ...large.filter(isLeft)];
  for (const entry of await locateThere(source, commit, left)) found.set(entry.path, entry);
  return found;
}

/**
 * Finds entries at single paths (latin1 text that is UTF-8), a call each; those that are not there
 * are left out.
 */
export async function locateThere(
  source: ListingSource,
  commit: string,
  paths: readonly string[],
): Promise<LakeEntry[]> {
  const turns = new Semaphore(LIMITS.lakefsReadsMax);
  const objects = await Promise.all(
    paths.map((path) => turns.run(() => unlessMissing(stat(source, commit, path)), source.signal)),
  );
  return objects.filter((object) => object !== undefined).map(toEntry);
}

/** Those that pages bring. */
async function byPages(
  source: ListingSource,
  commit: string,
  paths: readonly string[],
): Promise<Map<string, LakefsObject>> {
  const found = new Map<string, LakefsObject>();
  const sorted = [...paths].sort();
  let at = 0;
  while (sorted.length - at > SINGLE_MAX) {
    const first = sorted[at] as string;
    const before = found.size;
    const last = await readPage(source, commit, first, new Set(sorted.slice(at)), found);
    while (
      at < sorted.length &&
      (found.has(sorted[at] as string) || (last !== undefined && (sorted[at] as string) <= last))
    )
      at++;
    if (found.size - before < FOUND_MIN) break;
  }
  return found;
}

/** The last path of the page; undefined: nothing came. */
async function readPage(
  source: ListingSource,
  commit: string,
  first: string,
  wanted: ReadonlySet<string>,
  found: Map<string, LakefsObject>,
): Promise<string | undefined> {
  const { client, signal } = source;
  const { results } = await client.listObjects(commit, justBefore(first), signal);
  let last: string | undefined;
  for (const object of results) {
    last = latin1(utf8(object.path));
    if (wanted.has(last)) found.set(last, object);
  }
  return last;
}

/** A text that sorts before the path, with little in between. */
function justBefore(path: string): string {
  const characters = [...lossyText(fromLatin1(path))];
  return characters.slice(0, -1).join("");
}

function stat(
  { client, signal }: ListingSource,
  commit: string,
  path: string,
): Promise<LakefsObject> {
  return client.statObject(commit, lossyText(fromLatin1(path)), signal);
}

function toEntries(objects: ReadonlyMap<string, LakefsObject>): Map<string, LakeEntry> {
  return new Map([...objects].map(([path, object]) => [path, toEntry(object)]));
}
