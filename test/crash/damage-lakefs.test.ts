/**
 * What is kept of a lakeFS repository beside its packs, changed on disk: records of commits, lists of contents that are still in lakeFS, checksums of large files.
 * All of it is found out by its checksum, named by verify, and made again from lakeFS by the server that needs it: the same ids, a whole clone, a word in the log.
 */
import { createHash } from "node:crypto";
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { seal, SEAL_BYTES } from "../../src/lakefs/seal.js";
import { lakepack } from "../cli/lakepack.js";
import { checkFsck, commit, git, type Lakepack, logShows, tempFolder, tryGit } from "../interop/harness.js";
import { startBeside } from "../interop/lakefs-beside.js";
import { startProxy } from "../lakefs/proxy.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../lakefs/servers.js";

const { signal } = new AbortController();
t.setTimeout(600_000);

const NAME = "kept";
const LARGE = Buffer.alloc(1_500_000, "a large file of lakeFS's\n");
const SHA256 = createHash("sha256").update(LARGE).digest("hex");

/** A data folder that has read a repository's refs and none of its contents, and what it said of them. */
interface Read {
  readonly lakefs: RunningLakefs;
  readonly data: string;
  readonly refs: string;
}

let made: Promise<Read> | undefined;
function everything(t: Test): Promise<Read> {
  made ??= readOnce(t);
  return made;
}

async function readOnce(t: Test): Promise<Read> {
  const lakefs = await startLakefs(t);
  for (const name of [NAME, "other"]) await lakefs.client.createRepository({ name, storage_namespace: lakefs.namespace(name), default_branch: "main" }, signal);
  const folder = await tempFolder(t);
  const work = join(folder, "work");
  await git(["init", "-q", work]);
  await commit(work, "one", { "README.md": "# one\n", "a/b.txt": "line\n".repeat(200), "a/c.txt": "c\n" });
  await commit(work, "two", { "README.md": "# two\n" });
  const writer = await startBeside(t, lakefs);
  for (const name of [NAME, "other"]) await git(["push", "-q", `${writer.url}/lakefs/${name}.git`, "main"], { cwd: work });
  await writer.stop();
  await lakefs.client.uploadObject(NAME, "main", "large.bin", LARGE, {}, signal);
  await lakefs.client.commit(NAME, "main", { message: "native" }, signal);
  const data = join(folder, "data");
  const reader = await start(t, { lakefs, data });
  const refs = await git(["ls-remote", `${reader.url}/lakefs/${NAME}.git`]);
  await git(["ls-remote", `${reader.url}/lakefs/other.git`]);
  await reader.stop();
  return { lakefs, data, refs };
}

function start(t: Test, { lakefs, data }: Pick<Read, "lakefs" | "data">): Promise<Lakepack> {
  return startBeside(t, lakefs, { data, env: { LAKEPACK_LAKEFS_POLL_SECONDS: "0" } });
}

const rootOf = (data: string) => join(data, "repos/lakefs", NAME, "git");

async function filesOf(data: string, kind: "lake" | "lake-lfs" | "lake-sha256" | "list" | "ids"): Promise<string[]> {
  const folder = join(rootOf(data), kind === "list" || kind === "ids" ? "lake-promised" : kind);
  return (await readdir(folder)).filter((name) => kind === "lake" || kind === "lake-lfs" || kind === "lake-sha256" || name.endsWith(".ids") === (kind === "ids")).map((name) => join(folder, name));
}

type Change = (bytes: Buffer, path: string) => Buffer | undefined;

/** Changes each of these files; undefined: it is removed. */
async function change(paths: readonly string[], by: Change): Promise<void> {
  for (const path of paths) {
    const bytes = by(await readFile(path), path);
    await rm(path);
    if (bytes !== undefined) await writeFile(path, bytes);
  }
}

const flip = (fraction: number): Change => (bytes) => {
  const at = Math.min(bytes.length - 1, Math.floor(bytes.length * fraction));
  bytes[at] = (bytes[at] as number) ^ 0x01;
  return bytes;
};
const cut: Change = (bytes) => bytes.subarray(0, bytes.length - 7);
const gone: Change = () => undefined;
const keyOf = (path: string): string => /repos\/.*$/.exec(path)?.[0] ?? "";
/** As it was written before there were checksums. */
const unsealed: Change = (bytes) => bytes.subarray(SEAL_BYTES);
const withoutLastLine: Change = (bytes) => bytes.subarray(0, bytes.lastIndexOf("\n", bytes.length - 2) + 1);

interface Case {
  readonly kind: Parameters<typeof filesOf>[1];
  readonly change: Change;
  readonly problem: RegExp;
}

const RECORD = /git\/lake\/[0-9a-f]{64}: /;
const LIST = /git\/lake-promised\/[0-9a-f]{40}: /;
const IDS = /git\/lake-promised\/[0-9a-f]{40}\.ids: /;
const CASES: Readonly<Record<string, Case>> = {
  "a bit of each record flips": { kind: "lake", change: flip(0.7), problem: /does not match its checksum/ },
  "records are cut": { kind: "lake", change: cut, problem: RECORD },
  "records are empty": { kind: "lake", change: () => Buffer.alloc(0), problem: RECORD },
  "records are of a version to come": { kind: "lake", change: (bytes) => Buffer.concat([Buffer.from("lakepack sealed 2\n"), bytes.subarray(18)]), problem: /its format is not one that this version knows/ },
  "records are another repository's": { kind: "lake", change: (bytes, path) => Buffer.from(seal(keyOf(path).replace(NAME, "other"), bytes.subarray(SEAL_BYTES))), problem: /does not match its checksum/ },
  "records are one of a larger kind": { kind: "lake", change: () => Buffer.alloc(17 * 2 ** 20), problem: /larger than any/ },
  "a bit of the list of contents flips": { kind: "list", change: flip(0.5), problem: LIST },
  "the list of contents lost its last line": { kind: "list", change: withoutLastLine, problem: LIST },
  "the list of contents is gone": { kind: "list", change: gone, problem: LIST },
  "a bit of the list's ids flips": { kind: "ids", change: flip(0.9), problem: IDS },
  "the list's ids are cut": { kind: "ids", change: cut, problem: IDS },
  "the list's ids are gone": { kind: "ids", change: gone, problem: IDS },
};

async function copyOf(t: Test, { data }: Read): Promise<string> {
  const copy = join(await tempFolder(t), "data");
  await cp(data, copy, { recursive: true });
  return copy;
}

/** Refs are those of before, a clone is whole and has every file. */
async function checkServed(t: Test, server: Lakepack, { refs }: Read): Promise<void> {
  const url = `${server.url}/lakefs/${NAME}.git`;
  t.equal(await git(["ls-remote", url]), refs, "the same ids");
  const clone = join(await tempFolder(t), "clone");
  const run = await tryGit(["clone", "-q", url, clone]);
  t.equal(run.code, 0, run.stderr);
  await checkFsck(t, clone);
  t.same((await readdir(clone, { recursive: true })).filter((name) => !name.startsWith(".git/") && /\./.test(name.slice(1))).sort(), ["README.md", "a/b.txt", "a/c.txt", "large.bin"]);
}

for (const [title, { kind, change: by, problem }] of Object.entries(CASES)) {
  t.test(title, { skip: skipLakefs }, async (t) => {
    const read = await everything(t.parent as Test);
    const data = await copyOf(t, read);
    const paths = await filesOf(data, kind);
    t.ok(paths.length > 0);
    await change(paths, by);
    const found = await lakepack(["verify", "--all", "--data", data]);
    t.match(found, { code: 1, out: problem });
    t.match(found.out, /what to do: nothing has to be done: a server that has lakeFS/);
    t.match(found.out, /^lakefs\/other: good/m, "the other repository is good");
    const server = await start(t, { ...read, data });
    await checkServed(t, server, read);
    t.ok(await logShows(server, kind === "lake" ? /a record of a lakeFS commit is damaged; it is made again/ : /a list of contents that are still in lakeFS was made again/), "the log says so");
    await git(["clone", "-q", `${server.url}/lakefs/other.git`, join(await tempFolder(t), "other")]);
    await server.stop();
    t.match(await lakepack(["verify", "--all", "--data", data]), { code: 0 }, "all is good again");
  });
}

t.test("files from before there were checksums: they are read as they are, and a list that lost a line is found out", { skip: skipLakefs }, async (t) => {
  const read = await everything(t.parent as Test);
  const data = await copyOf(t, read);
  await change(await filesOf(data, "lake"), unsealed);
  await change(await filesOf(data, "lake-lfs"), unsealed);
  await change(await filesOf(data, "lake-sha256"), unsealed);
  await change(await filesOf(data, "ids"), (bytes, path) => unsealed(bytes, path)?.subarray(32));
  t.match(await lakepack(["verify", "--all", "--data", data]), { code: 0 });
  const cutData = join(await tempFolder(t), "data");
  await cp(data, cutData, { recursive: true });
  const server = await start(t, { ...read, data });
  await checkServed(t, server, read);
  await server.stop();
  t.notMatch(server.log(), /damaged/);
  await change(await filesOf(cutData, "list"), withoutLastLine);
  t.match(await lakepack(["verify", `lakefs/${NAME}`, "--data", cutData]), { code: 1, out: /it lists \d+ blobs in place of \d+/ });
  const second = await start(t, { ...read, data: cutData });
  await checkServed(t, second, read);
  t.match(second.log(), /was made again/);
});

t.test("a list that cannot be made again now is an error, never an empty repository; later it is made", { skip: skipLakefs }, async (t) => {
  const read = await everything(t.parent as Test);
  const data = await copyOf(t, read);
  await change(await filesOf(data, "list"), withoutLastLine);
  await change(await filesOf(data, "lake"), (bytes, path) => flip(0.5)(bytes, path));
  const proxy = await startProxy(t, read.lakefs);
  proxy.onCall = ({ path }) => (/\/commits/.test(path) ? { as: "answer", status: 404, body: '{"message":"not found"}' } : undefined);
  const server = await start(t, { lakefs: proxy.server, data });
  const url = `${server.url}/lakefs/${NAME}.git`;
  for (const args of [["ls-remote", url], ["clone", url, join(await tempFolder(t), "clone")]]) {
    const run = await tryGit(args);
    t.not(run.code, 0);
    t.match(run.stderr, /lakeFS has no such thing/);
  }
  proxy.onCall = () => undefined;
  await checkServed(t, server, read);
});

t.test("the checksum of a large file: a changed one makes no other ids", { skip: skipLakefs }, async (t) => {
  const read = await everything(t.parent as Test);
  const data = await copyOf(t, read);
  const hashes = await filesOf(data, "lake-sha256");
  t.equal(hashes.length, 1);
  await change(hashes, (bytes) => Buffer.from(bytes.toString("latin1").replace(/.$/, (digit) => (digit === "0" ? "1" : "0")), "latin1"));
  t.match(await lakepack(["verify", "--all", "--data", data]), { code: 1, out: /git\/lake-sha256\/.*: its content does not match its checksum/ });
  await change(await filesOf(data, "lake"), gone); // so that it is asked for
  const server = await start(t, { ...read, data });
  await checkServed(t, server, read);
  await server.stop();
  t.match(await lakepack(["verify", "--all", "--data", data]), { code: 0 }, "it is replaced");
});

t.test("the place of a large file's bytes: a changed one is named to git-lfs, and what verify says makes it again", { skip: skipLakefs }, async (t) => {
  const read = await everything(t.parent as Test);
  const data = await copyOf(t, read);
  const places = await filesOf(data, "lake-lfs");
  t.equal(places.length, 1);
  await change(places, flip(0.8));
  const ask = async (server: Lakepack): Promise<unknown> => {
    const headers = { "Content-Type": "application/vnd.git-lfs+json", Accept: "application/vnd.git-lfs+json" };
    const body = JSON.stringify({ operation: "download", transfers: ["basic"], objects: [{ oid: SHA256, size: LARGE.length }] });
    return (await fetch(`${server.url}/lakefs/${NAME}.git/info/lfs/objects/batch`, { method: "POST", headers, body })).json();
  };
  const found = await lakepack(["verify", "--all", "--data", data]);
  t.match(found, { code: 1, out: /git\/lake-lfs\/[0-9a-f]{64}: its content does not match its checksum\n.*delete this file and the folder git\/lake beside it/ });
  const server = await start(t, { ...read, data });
  t.match(JSON.stringify(await ask(server)), /a stored file is damaged: [0-9a-f]{64} \(its content does not match its checksum\)/);
  await checkServed(t, server, read);
  await server.stop();
  await change(places, gone);
  await rm(join(rootOf(data), "lake"), { recursive: true });
  await mkdir(join(rootOf(data), "lake"));
  const again = await start(t, { ...read, data });
  await checkServed(t, again, read);
  t.match(await ask(again), { objects: [{ actions: { download: {} } }] });
});
