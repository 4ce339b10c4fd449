/**
 * Looks at start whether a bucket can hold repositories: a row for each thing that is relied on.
 * Conditional writes are looked at under contention: a server that answers one content with the tag
 * of another honours every condition that is tried alone, and loses updates all the same.
 */
import { randomBytes } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { lossyText, utf8 } from "../../base/bytes.js";
import { asFault, Fault } from "../../base/fault.js";
import { checkAborted } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { StoreTag } from "../store.js";
import type { S3Store } from "./s3-store.js";

export interface ProbeRow {
  readonly name: string;
  readonly ok: boolean;
  /** Says what was seen. */
  readonly words: string;
}

interface Bench {
  readonly store: S3Store;
  /** Below which all is the probe's own; ends in "/". */
  readonly prefix: string;
  /** For small files of its own. */
  readonly folder: string;
  readonly signal: AbortSignal | undefined;
}

/** Returns what was seen, or throws "store/failed" with what is not as it must be. */
type Look = (bench: Bench) => Promise<string>;

const LOOKS: Readonly<Record<string, Look>> = {
  "put if absent": putIfAbsent,
  "replace if unchanged": replaceIfUnchanged,
  "complete if absent": completeIfAbsent,
  "lists see what was written": lists,
  "read if changed": readIfChanged,
  ranges: ranges,
};

/**
 * Returns a row for each thing that is relied on; takes some three seconds and leaves nothing
 * behind. `folder`: a local one, which is there, for some small files. Throws where storage cannot
 * be asked.
 */
export async function probeS3(
  store: S3Store,
  folder: string,
  signal?: AbortSignal,
): Promise<readonly ProbeRow[]> {
  const prefix = `probe/${randomBytes(8).toString("hex")}/`;
  const rows: ProbeRow[] = [];
  try {
    for (const [name, look] of Object.entries(LOOKS))
      rows.push(
        await rowOf(name, look({ store, prefix: `${prefix}${rows.length}/`, folder, signal })),
      );
  } finally {
    await store.deleteAll(prefix);
  }
  return rows;
}

/** Throws "store/unfit", which names the rows that are not as they must be. */
export function checkProbe(rows: readonly ProbeRow[]): void {
  const wrong = rows.filter(({ ok }) => !ok).map(({ name, words }) => `${name} (${words})`);
  if (wrong.length > 0) throw new Fault("store/unfit", { rows: wrong.join("; ") });
}

async function rowOf(name: string, looking: Promise<string>): Promise<ProbeRow> {
  try {
    return { name, ok: true, words: await looking };
  } catch (error) {
    if (error instanceof Unfit) return { name, ok: false, words: error.message };
    const fault = asFault(error);
    // Storage that is away or denies us says nothing of what it honours.
    if (fault.row.retry || !REFUSALS.has(fault.code)) throw fault;
    return { name, ok: false, words: `${fault.row.says}: ${String(fault.facts["answer"])}` };
  }
}

const REFUSALS: ReadonlySet<string> = new Set(["store/refused"]);

/** Something is not as it must be. */
class Unfit extends Error {}

function must(isSo: boolean, words: string): void {
  if (!isSo) throw new Unfit(words);
}

const RACERS = 12;
const RACES = 4;

async function putIfAbsent({ store, prefix, signal }: Bench): Promise<string> {
  for (let race = 0; race < RACES; race++) {
    const key = `${prefix}${race}`;
    const texts = Array.from({ length: RACERS }, (_, racer) => `racer ${racer}`);
    const puts = texts.map((text) => outcomeOf(store.putIfAbsent(key, utf8(text), signal)));
    const outcomes = await all(puts);
    const winners = texts.filter((_, racer) => outcomes[racer] === "done");
    must(
      winners.length === 1,
      `${winners.length} of ${RACERS} racing writers were told it was theirs`,
    );
    const there = await store.get(key, PROBE_BYTES_MAX, signal);
    must(lossyText(there?.bytes ?? utf8("")) === winners[0], "a loser's content is there");
  }
  return `${RACES} races of ${RACERS} writers, one winner each`;
}

/** Bytes of any object that the probe writes. */
const PROBE_BYTES_MAX = 10_000;
const WRITERS = 8;

const READERS = 8;

/** A counter that several replace: each replacement that was acknowledged must be in it. */
async function replaceIfUnchanged({ store, prefix, signal }: Bench): Promise<string> {
  const counter = new Counter(store, `${prefix}counter`, signal);
  await counter.begin();
  await all([
    ...Array.from({ length: WRITERS }, () => counter.count()),
    ...Array.from({ length: READERS }, () => counter.watch()),
  ]);
  const { checked, wrong } = store.tagFigures;
  must(
    wrong <= checked * LIMITS.s3MisfitsPart,
    `${wrong} of ${checked} answers had one content and the tag of another`,
  );
  const lost = counter.done - numberIn(await counter.read());
  must(lost === 0, `${lost} of ${counter.done} updates were lost`);
  const again =
    wrong === 0 ? "" : `; ${wrong} of ${checked} answers had another's tag, asked again`;
  return `${counter.done} updates by ${WRITERS} writers, none lost${again}`;
}

class Counter {
  readonly #store: S3Store;
  readonly #key: string;
  readonly #signal: AbortSignal | undefined;
  readonly #untilMs = performance.now() + LIMITS.s3ProbeMs;
  /** Contents by their tags: never two of one tag. */
  readonly #seen = new Map<StoreTag, string>();
  /** Replacements that were acknowledged. */
  done = 0;

  constructor(store: S3Store, key: string, signal: AbortSignal | undefined) {
    this.#store = store;
    this.#key = key;
    this.#signal = signal;
  }

  async begin(): Promise<void> {
    const bytes = numbered(0);
    const tag = await this.#store.putIfMatch(this.#key, bytes, undefined, this.#signal);
    this.#note(tag, lossyText(bytes));
  }

  /** Adds one, again and again. */
  async count(): Promise<void> {
    while (this.#goesOn()) await this.#replace(await this.#get());
  }

  /** Only looks: so a reply is the likelier to be made while the object is replaced. */
  async watch(): Promise<void> {
    while (this.#goesOn()) await this.read();
  }

  async read(): Promise<string> {
    return (await this.#get()).text;
  }

  #goesOn(): boolean {
    checkAborted(this.#signal);
    return this.done < LIMITS.s3ProbeReplacementsMax && performance.now() < this.#untilMs;
  }

  async #get(): Promise<{ readonly tag: StoreTag; readonly text: string }> {
    const found = await this.#store.get(this.#key, PROBE_BYTES_MAX, this.#signal);
    if (found === undefined) throw new Unfit("an object was gone while it was replaced");
    const text = lossyText(found.bytes);
    this.#note(found.tag, text);
    return { tag: found.tag, text };
  }

  async #replace({ tag, text }: { readonly tag: StoreTag; readonly text: string }): Promise<void> {
    const bytes = numbered(numberIn(text) + 1);
    const write = this.#store.putIfMatch(this.#key, bytes, tag, this.#signal);
    if ((await outcomeOf(write)) === "refused") return;
    this.done++;
    this.#note(await write, lossyText(bytes));
  }

  #note(tag: StoreTag, text: string): void {
    const known = this.#seen.get(tag) ?? text;
    must(known === text, "one content was answered with the tag of another");
    this.#seen.set(tag, text);
  }
}

/** A body that no other writer makes. */
function numbered(number: number): Uint8Array {
  return utf8(`${number} ${randomBytes(8).toString("hex")}`);
}

function numberIn(text: string): number {
  return Number(text.split(" ")[0]);
}

async function completeIfAbsent({ store, prefix, folder, signal }: Bench): Promise<string> {
  const path = join(folder, `~probe-${randomBytes(8).toString("hex")}`);
  const key = `${prefix}parts`;
  try {
    await writeFile(path, "first");
    await store.publishParts(key, path, signal);
    await writeFile(path, "the second, longer");
    const outcome = await outcomeOf(store.publishParts(key, path, signal));
    must(outcome === "refused", "an upload in parts took the place of what was there");
  } finally {
    await rm(path, { force: true });
  }
  return "an upload in parts did not take the place of what was there";
}

const LISTED = ["a", "a-b", "a.c", "b/c", "b0"];

async function lists({ store, prefix, signal }: Bench): Promise<string> {
  const keys = LISTED.map((name) => prefix + name);
  for (const key of [...keys].reverse()) {
    await store.putIfAbsent(key, utf8(key), signal);
    must((await listed(store, prefix, signal)).includes(key), "a key was not listed at once");
  }
  const all = await listed(store, prefix, signal);
  must(all.join() === keys.join(), "a list is not complete, or not in bytewise order");
  const names = await store.names(prefix, signal);
  must(names.join() === "a,a-b,a.c,b/,b0", "names below a folder are not told by it");
  await store.delete(`${prefix}a`, signal);
  must(!(await listed(store, prefix, signal)).includes(`${prefix}a`), "what was deleted is listed");
  return "keys are listed at once and in order, and not when they are deleted";
}

async function listed(
  store: S3Store,
  prefix: string,
  signal: AbortSignal | undefined,
): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix, signal)) keys.push(key);
  return keys;
}

async function readIfChanged({ store, prefix, signal }: Bench): Promise<string> {
  const key = `${prefix}object`;
  const first = await store.putIfMatch(key, numbered(1), undefined, signal);
  const unchanged = await store.getIfChanged(key, first, PROBE_BYTES_MAX, signal);
  must(unchanged === "unchanged", "what has not changed is sent again");
  const second = await store.putIfMatch(key, numbered(2), first, signal);
  const changed = await store.getIfChanged(key, first, PROBE_BYTES_MAX, signal);
  must(typeof changed === "object" && changed.tag === second, "a change is not told");
  return "what has not changed is not sent again";
}

async function ranges({ store, prefix, signal }: Bench): Promise<string> {
  const key = `${prefix}object`;
  await store.putIfAbsent(key, utf8("0123456789"), signal);
  const range = store.readRange(key, 3, 7, signal).then(lossyText, rangeFailure);
  must((await range) === "3456", "a range is not what was asked for");
  return "ranges are exact";
}

function rangeFailure(error: unknown): string {
  const fault = asFault(error);
  if (fault.code === "store/failed") return "failed";
  throw fault;
}

/** Waits for all, whatever becomes of some; throws the first failure. */
async function all<T>(works: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(works);
  return Promise.all(works);
}

/** Throws what is neither success nor the refusal of a condition. */
async function outcomeOf(write: Promise<unknown>): Promise<"done" | "refused"> {
  try {
    await write;
    return "done";
  } catch (error) {
    const fault = asFault(error);
    if (fault.code === "store/exists" || fault.code === "store/conflict") return "refused";
    throw fault;
  }
}
