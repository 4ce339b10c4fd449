/**
 * lakeFS commits whose listings are generated: a real server for all else, a proxy that answers for
 * ranges, contents and large diffs.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Test } from "tap";
import { RssWatch } from "../../bench/process.js";
import { generationAfter, writeCommitRecord } from "../../src/lakefs/api/commit-record.js";
import type { LakefsCommit } from "../../src/lakefs/api/types.js";
import { git, logShows, type Lakepack, startLakepack } from "./harness.js";
import { tempFolder } from "./temp-folder.js";
import { type Mishap, type LakefsProxy, startProxy } from "./lakefs-proxy.js";
import { createSource, type Source } from "./lakefs-reading.js";
import { type GeneratedEntry, generatedId, metarangeTable, rangeTable } from "./sstable-writer.js";
import { startLakefs } from "./lakefs-servers.js";

const { signal } = new AbortController();
const RANGE_ENTRIES = 50_000;
const FOLDER_ENTRIES = 200;
const DIFF_PAGE = 1_000;

export interface GeneratedListing {
  readonly objects: number;
  /** Number of the content of each object. */
  readonly content: (object: number) => number;
  /** All in one folder. */
  readonly flat?: boolean;
  /** The one object that is not what it was in the commit before: no listing is compared then. */
  readonly changed?: number;
}

interface Range {
  readonly id: string;
  readonly from: number;
  readonly to: number;
}

export class GeneratedLake {
  readonly proxy: LakefsProxy;
  readonly source: Source;
  /** Calls so far. */
  readonly asked = { contents: 0, listing: 0, diffs: 0 };
  readonly #listings = new Map<string, GeneratedListing>();
  readonly #ranges = new Map<
    string,
    { readonly range: Range; readonly listing: GeneratedListing }
  >();

  constructor(proxy: LakefsProxy, source: Source) {
    this.proxy = proxy;
    this.source = source;
    proxy.onCall = ({ path }) => {
      proxy.calls.length = 0; // a million of them would be this test's own memory
      return this.#answer(path);
    };
  }

  static async start(t: Pick<Test, "teardown">): Promise<GeneratedLake> {
    const lakefs = await startLakefs(t);
    return new GeneratedLake(await startProxy(t, lakefs), await createSource(lakefs));
  }

  /** A commit of the real server, which shows this listing. */
  async commit(listing: GeneratedListing): Promise<LakefsCommit> {
    await this.source.put({ seed: String(this.#listings.size) });
    const commit = await this.source.commit();
    this.#listings.set(commit.id, listing).set(commit.meta_range_id, listing);
    for (const range of rangesOf(commit.meta_range_id, listing))
      this.#ranges.set(range.id, { range, listing });
    return commit;
  }

  /**
   * As `commit`, without asking lakeFS to list anything: a record of a commit that shows this
   * listing, upon the one given; main is at it then.
   */
  async record(listing: GeneratedListing, parent: LakefsCommit): Promise<LakefsCommit> {
    const { client, name } = this.source;
    const metarangeId = generatedId(`metarange ${this.#listings.size}`);
    const generation = generationAfter([parent]);
    const facts = {
      committer: "ada",
      message: `change ${generation}`,
      metarangeId,
      creationDate: parent.creation_date + 1,
      parents: [parent.id],
      metadata: {},
      generation,
    };
    const id = await writeCommitRecord(client.in(name), facts, signal);
    this.#listings.set(id, listing).set(metarangeId, listing);
    await client.in(name).hardReset("main", id, signal);
    return {
      ...parent,
      id,
      meta_range_id: metarangeId,
      creation_date: facts.creationDate,
      generation,
      parents: [parent.id],
    };
  }

  #answer(path: string): Mishap | undefined {
    const table = /\/metadata\/object\/(range|meta_range)\/(\w+)/.exec(path);
    if (table?.[1] === "meta_range") return this.#metarange(table[2] as string);
    if (table !== null) return this.#range(table[2] as string);
    const object = /\/refs\/(\w+)\/objects\?path=[^&]*f(\d+)/.exec(path);
    if (object !== null) return this.#content(object[1] as string, Number(object[2]));
    const diff = /\/refs\/(\w+)\/diff\/(\w+)\?.*after=([^&]*)/.exec(path);
    return diff === null
      ? undefined
      : this.#diff(diff[1] as string, diff[2] as string, decodeURIComponent(diff[3] as string));
  }

  #metarange(id: string): Mishap | undefined {
    const listing = this.#listings.get(id);
    if (listing === undefined) return undefined;
    this.asked.listing++;
    return answer(
      metarangeTable(
        rangesOf(id, listing).map(({ id, from, to }) => ({
          id,
          last: pathOf(to - 1, listing.flat),
          count: to - from,
        })),
      ),
    );
  }

  #range(id: string): Mishap | undefined {
    const known = this.#ranges.get(id);
    if (known === undefined) return undefined;
    this.asked.listing++;
    const {
      range: { from, to },
      listing,
    } = known;
    return answer(
      rangeTable(Array.from({ length: to - from }, (_, at) => entryOf(listing, from + at))),
    );
  }

  #content(commit: string, object: number): Mishap | undefined {
    const listing = this.#listings.get(commit);
    if (listing === undefined) return undefined;
    this.asked.contents++;
    return answer(contentOf(listing.content(object)));
  }

  /** One page, of listings of one length. */
  #diff(left: string, right: string, after: string): Mishap | undefined {
    const [before, now] = [this.#listings.get(left), this.#listings.get(right)];
    if (before === undefined || now === undefined) return undefined;
    this.asked.diffs++;
    const results: unknown[] = [];
    if (now.changed !== undefined) {
      const { path, checksum, size } = entryOf(now, now.changed);
      results.push({
        type: "changed",
        path,
        path_type: "object",
        size_bytes: size,
        right: { checksum, metadata: {} },
      });
      return answer(
        Buffer.from(
          JSON.stringify({
            pagination: { has_more: false, next_offset: path, results: 1, max_per_page: DIFF_PAGE },
            results,
          }),
        ),
      );
    }
    let object = after === "" ? 0 : Number(after.slice(after.lastIndexOf("f") + 1)) + 1;
    for (; object < now.objects && results.length < DIFF_PAGE; object++) {
      if (before.content(object) === now.content(object)) continue;
      const { path, checksum, size } = entryOf(now, object);
      results.push({
        type: "changed",
        path,
        path_type: "object",
        size_bytes: size,
        right: { checksum, metadata: {} },
      });
    }
    const pagination = {
      has_more: object < now.objects,
      next_offset: pathOf(object - 1, now.flat),
      results: results.length,
      max_per_page: DIFF_PAGE,
    };
    return answer(Buffer.from(JSON.stringify({ pagination, results })));
  }
}

export interface Reading {
  /** Bytes by which the server's memory grew at most. */
  readonly rssGrowth: number;
  readonly seconds: number;
}

/** A real lakepack beside it, and what it takes until stock git sees `commits` commits on main. */
export async function readGenerated(
  t: Test,
  { proxy, source }: GeneratedLake,
): Promise<{ readonly url: string; read(): Promise<Reading> }> {
  const { endpoint, accessKeyId, secretAccessKey } = proxy.server.access;
  const env = {
    LAKEPACK_LAKEFS_ENDPOINT: endpoint,
    LAKEPACK_LAKEFS_ACCESS_KEY_ID: accessKeyId,
    LAKEPACK_LAKEFS_SECRET_ACCESS_KEY: secretAccessKey,
    LAKEPACK_LAKEFS_REFS_WAIT_SECONDS: "3600",
  };
  const server = await startLakepack(t, { env, args: ["--pool-threads", "2"] });
  const url = `${server.url}/lakefs/${source.name}.git`;
  if (!(await logShows(server, /kernels[\s\S]*kernels/)))
    throw new Error("its two threads have not started"); // their own memory is not the reading's
  const read = async () => {
    const watch = new RssWatch([server.pid]);
    const started = performance.now();
    await untilRead(server, url);
    return { seconds: (performance.now() - started) / 1000, rssGrowth: watch.stop() };
  };
  return { url, read };
}

/** Files that stock git sees. */
export async function filesAt(t: Test, url: string): Promise<number> {
  const clone = join(await tempFolder(t), "clone.git");
  await git(["clone", "-q", "--bare", "--depth=1", "--filter=blob:none", url, clone]);
  return (await git(["ls-tree", "-r", "--name-only", "HEAD"], { cwd: clone })).split("\n").length;
}

/** A reading that takes longer than a client waits goes on; the next one asks how far it is. */
async function untilRead(server: Lakepack, url: string): Promise<void> {
  for (let attempt = 0; attempt < 30; attempt++) {
    const refs = await git(["ls-remote", url, "refs/heads/main"]).catch((error: unknown) => {
      if (!/goes on/.test(String(error))) throw error;
      return "";
    });
    if (refs !== "") return;
  }
  throw new Error(`it was not read: ${server.log()}`);
}

function answer(body: Uint8Array): Mishap {
  return { as: "answer", status: 200, body, headers: { "content-length": String(body.length) } };
}

function rangesOf(metarange: string, { objects }: GeneratedListing): Range[] {
  return Array.from({ length: Math.ceil(objects / RANGE_ENTRIES) }, (_, at) => {
    return {
      id: generatedId(`${metarange} ${at}`),
      from: at * RANGE_ENTRIES,
      to: Math.min((at + 1) * RANGE_ENTRIES, objects),
    };
  });
}

function entryOf({ content, flat }: GeneratedListing, object: number): GeneratedEntry {
  const number = content(object);
  const data = contentOf(number);
  return {
    path: pathOf(object, flat),
    address: `data/${generatedId(`content ${number}`)}`,
    size: data.length,
    checksum: createHash("md5").update(data).digest("hex"),
  };
}

/** In bytewise order. */
function pathOf(object: number, flat = false): string {
  const digits = (value: number) => String(value).padStart(7, "0");
  if (flat) return `f${digits(object)}`;
  return `d${digits(Math.floor(object / FOLDER_ENTRIES / 50))}/e${digits(Math.floor(object / FOLDER_ENTRIES))}/f${digits(object)}`;
}

function contentOf(number: number): Buffer {
  return Buffer.from(`content ${number} of a generated listing\n`);
}

/**
 * The listing after so many commits, each of which has changed one file of `files`, all of them in
 * turn in no order that could be seen.
 */
export function oneFileListing(files: number, commit: number): GeneratedListing {
  // Commit k has changed object k * STRIDE: an object's last change is found without a table of
  // them.
  const inverse = inverseOf(STRIDE, files);
  const content = (object: number): number => {
    const first = (object * inverse) % files || files;
    return first > commit ? object : files + first + files * Math.floor((commit - first) / files);
  };
  return {
    objects: files,
    content,
    flat: true,
    ...(commit === 0 ? {} : { changed: (commit * STRIDE) % files }),
  };
}

const STRIDE = 7_919;

function inverseOf(value: number, modulus: number): number {
  for (let guess = 1; guess < modulus; guess++) if ((value * guess) % modulus === 1) return guess;
  throw new RangeError(`${modulus} files share a factor with ${value}`);
}
