/** A lakeFS whose listing is generated: a real server for all else, a proxy that answers for ranges and contents. Measures what reading it takes. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Test } from "tap";
import { RssWatch } from "../../bench/process.js";
import { git, type Lakepack, startLakepack, tempFolder } from "../interop/harness.js";
import { type Mishap, startProxy } from "./proxy.js";
import { createSource } from "./reading.js";
import { type GeneratedEntry, generatedId, metarangeTable, rangeTable } from "./sstable-writer.js";
import { startLakefs } from "./servers.js";

const RANGE_ENTRIES = 50_000;
const FOLDER_ENTRIES = 200;

export interface GeneratedListing {
  readonly objects: number;
  /** Different contents among them. */
  readonly contents: number;
}

export interface Reading {
  /** Bytes by which the server's memory grew at most. */
  readonly rssGrowth: number;
  /** Contents that were asked for. */
  readonly contents: number;
  readonly listing: number;
  readonly seconds: number;
  /** Files that stock git sees. */
  readonly files: number;
}

/** A real lakepack reads the listing, stock git asks for it. */
export async function readGenerated(t: Test, { objects, contents }: GeneratedListing): Promise<Reading> {
  const lakefs = await startLakefs(t);
  const source = await createSource(lakefs);
  await source.put({ seed: "s" });
  await source.commit();
  const proxy = await startProxy(t, lakefs);
  let asked = 0;
  let listing = 0;
  proxy.onCall = ({ path }) => {
    proxy.calls.length = 0; // a million of them would be this test's own memory
    const table = /\/metadata\/object\/(range|meta_range)\/(\w+)/.exec(path);
    if (table !== null) listing++;
    if (table?.[1] === "meta_range") return answer(metarange(objects));
    if (table !== null) return answer(range(Number(rangeNumbers(objects).get(table[2] as string)), objects, contents));
    const object = /\/objects\?path=[^&]*f(\d+)/.exec(path);
    if (object === null) return undefined;
    asked++;
    return answer(contentOf(Number(object[1]) % contents));
  };
  const { endpoint, accessKeyId, secretAccessKey } = proxy.server.access;
  const env = { LAKEPACK_LAKEFS_ENDPOINT: endpoint, LAKEPACK_LAKEFS_ACCESS_KEY_ID: accessKeyId, LAKEPACK_LAKEFS_SECRET_ACCESS_KEY: secretAccessKey };
  const server = await startLakepack(t, { env });
  const url = `${server.url}/lakefs/${source.name}.git`;
  const watch = new RssWatch([server.pid]);
  const started = performance.now();
  await untilRead(server, url);
  const seconds = (performance.now() - started) / 1000;
  const rssGrowth = watch.stop();
  const clone = join(await tempFolder(t), "clone.git");
  await git(["clone", "-q", "--bare", "--depth=1", "--filter=blob:none", url, clone]);
  const files = (await git(["ls-tree", "-r", "--name-only", "HEAD"], { cwd: clone })).split("\n").length;
  return { rssGrowth, contents: asked, listing, seconds, files };
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

function rangeNumbers(objects: number): Map<string, number> {
  return new Map(Array.from({ length: Math.ceil(objects / RANGE_ENTRIES) }, (_, at) => [generatedId(`range ${at}`), at]));
}

function metarange(objects: number): Buffer {
  const ranges = [...rangeNumbers(objects)].map(([id, at]) => {
    const end = Math.min((at + 1) * RANGE_ENTRIES, objects);
    return { id, last: pathOf(end - 1), count: end - at * RANGE_ENTRIES };
  });
  return metarangeTable(ranges);
}

function range(number: number, objects: number, contents: number): Buffer {
  const start = number * RANGE_ENTRIES;
  const entries = Array.from({ length: Math.min(RANGE_ENTRIES, objects - start) }, (_, at): GeneratedEntry => {
    const content = (start + at) % contents;
    const data = contentOf(content);
    return { path: pathOf(start + at), address: `data/${generatedId(`content ${content}`)}`, size: data.length, checksum: createHash("md5").update(data).digest("hex") };
  });
  return rangeTable(entries);
}

/** In bytewise order. */
function pathOf(at: number): string {
  const digits = (value: number) => String(value).padStart(7, "0");
  return `d${digits(Math.floor(at / FOLDER_ENTRIES / 50))}/e${digits(Math.floor(at / FOLDER_ENTRIES))}/f${digits(at)}`;
}

function contentOf(content: number): Buffer {
  return Buffer.from(`content ${content} of a generated listing\n`);
}
