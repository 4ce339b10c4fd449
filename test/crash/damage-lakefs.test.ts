/**
 * Changes on disk what is kept of a lakeFS repository beside its packs: records of commits, lists
 * of contents that are still in lakeFS, checksums of large files. All of it is found out by its
 * checksum, named by verify, and made again from lakeFS by the server that needs it: the same ids,
 * a whole clone, a word in the log.
 */
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { MAPPING_BRANCH } from "../../src/lakefs/agreed/mapping.js";
import { seal, SEAL_BYTES } from "../../src/lakefs/read/seal.js";
import { lakepack } from "../support/lakepack-command.js";
import {
  checkFsck,
  commit,
  copyData,
  folderOf,
  git,
  type Lakepack,
  logShows,
  tryGit,
} from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { startBeside } from "../support/lakefs-rig.js";
import { startProxy } from "../support/lakefs-proxy.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";

const { signal } = new AbortController();
t.setTimeout(600_000);

/** Key that two servers share: one takes for true, unread, what the other has landed. */
const SEAL_KEY = "5e".repeat(32);

const LARGE = Buffer.alloc(1_500_000, "a large file of lakeFS's\n");
const SHA256 = createHash("sha256").update(LARGE).digest("hex");

/**
 * A data folder that has read repositories' refs and none of their contents, and what it said of
 * them.
 */
interface Read {
  readonly lakefs: RunningLakefs;
  readonly data: string;
  readonly refs: ReadonlyMap<string, string>;
}

let made: Promise<Read> | undefined;
function everything(t: Test): Promise<Read> {
  made ??= readOnce(t);
  return made;
}

async function readOnce(t: Test): Promise<Read> {
  const lakefs = await startLakefs(t);
  const folder = await tempFolder(t);
  const work = join(folder, "work");
  await git(["init", "-q", work]);
  await commit(work, "one", {
    "README.md": "# one\n",
    "a/b.txt": "line\n".repeat(200),
    "a/c.txt": "c\n",
  });
  for (const count of ["two", "three", "four", "five"])
    await commit(work, count, { "README.md": `# ${count}\n` });
  const writer = await startBeside(t, lakefs, { LAKEPACK_SEAL_KEY: SEAL_KEY });
  const data = join(folder, "data");
  const reader = await start(t, { lakefs, data });
  const refs = new Map<string, string>();
  for (const name of [KEPT, GOOD, ...Object.keys(CASES)]) {
    await lakefs.client.createRepository(
      { name, storage_namespace: lakefs.namespace(name), default_branch: "main" },
      signal,
    );
    await git(["push", "-q", `${writer.url}/lakefs/${name}.git`, "main"], { cwd: work });
    await lakefs.client.in(name).uploadObject("main", "large.bin", LARGE, {}, signal);
    await lakefs.client.in(name).commit("main", { message: "native" }, signal);
    refs.set(name, await git(["ls-remote", `${reader.url}/lakefs/${name}.git`]));
  }
  await writer.stop();
  await reader.stop();
  return { lakefs, data, refs };
}

function start(t: Test, { lakefs, data }: Pick<Read, "lakefs" | "data">): Promise<Lakepack> {
  const env = { LAKEPACK_LAKEFS_POLL_SECONDS: "0", LAKEPACK_SEAL_KEY: SEAL_KEY };
  return startBeside(t, lakefs, env, { data });
}

const rootOf = async (data: string, name = KEPT) =>
  join(await folderOf(data, `lakefs/${name}`), "git");

async function filesOf(
  data: string,
  kind: "lake" | "lake-lfs" | "lake-content" | "list" | "ids",
  repository = KEPT,
): Promise<string[]> {
  const isPromise = kind === "list" || kind === "ids";
  const folder = join(await rootOf(data, repository), isPromise ? "lake-promised" : kind);
  const names = (await readdir(folder)).filter(
    (name) => !isPromise || name.endsWith(".ids") === (kind === "ids"),
  );
  return names.map((name) => join(folder, name));
}

/** `at`: which of the files. */
type Change = (bytes: Buffer, path: string, at: number) => Buffer | undefined;

/** Changes each of these files; undefined: it is removed. */
async function change(paths: readonly string[], by: Change): Promise<void> {
  for (const [at, path] of paths.entries()) {
    const bytes = by(await readFile(path), path, at);
    await rm(path);
    if (bytes !== undefined) await writeFile(path, bytes);
  }
}

const flip =
  (fraction: number): Change =>
  (bytes) => {
    const at = Math.min(bytes.length - 1, Math.floor(bytes.length * fraction));
    bytes[at] = (bytes[at] as number) ^ 0x01;
    return bytes;
  };
const cut: Change = (bytes) => bytes.subarray(0, bytes.length - 7);
const gone: Change = () => undefined;
const keyOf = (path: string): string => /repos\/.*$/.exec(path)?.[0] ?? "";
/** As it was written before there were checksums. */
const unsealed: Change = (bytes) => bytes.subarray(SEAL_BYTES);
const withoutLastLine: Change = (bytes) =>
  bytes.subarray(0, bytes.lastIndexOf("\n", bytes.length - 2) + 1);

/** A repository that is damaged in some tests, and one that never is. */
const KEPT = "kept";
const GOOD = "good";

interface Case {
  readonly kind: Parameters<typeof filesOf>[1];
  readonly change: Change;
  readonly problems: readonly RegExp[];
}

/** One for each record: of them there are as many. */
const RECORD_CHANGES: readonly Change[] = [
  flip(0.7),
  cut,
  () => Buffer.alloc(0),
  (bytes) => Buffer.concat([Buffer.from("lakepack sealed 2\n"), bytes.subarray(18)]),
  (bytes, path) =>
    Buffer.from(
      seal(keyOf(path).replace(/repos\/[0-9a-f]+/, "repos/another"), bytes.subarray(SEAL_BYTES)),
    ),
  () => Buffer.alloc(17 * 2 ** 20),
];
const RECORD_PROBLEMS = [
  /lake\/[0-9a-f]{64}: its content does not match its checksum/,
  /it cannot be decoded|it is no record/,
  /its format is not one that this version knows/,
  /it is larger than any/,
];
const LIST = [/git\/lake-promised\/[0-9a-f]{40}: /];
const IDS = [/git\/lake-promised\/[0-9a-f]{40}\.ids: /];
/** By repository. */
const CASES: Readonly<Record<string, Case>> = {
  records: {
    kind: "lake",
    change: (bytes, path, at) => RECORD_CHANGES[at % RECORD_CHANGES.length]?.(bytes, path, at),
    problems: RECORD_PROBLEMS,
  },
  "list-bit-flips": { kind: "list", change: flip(0.5), problems: LIST },
  "list-lost-its-last-line": { kind: "list", change: withoutLastLine, problems: LIST },
  "list-is-gone": { kind: "list", change: gone, problems: LIST },
  "ids-bit-flips": { kind: "ids", change: flip(0.9), problems: IDS },
  "ids-are-cut": { kind: "ids", change: cut, problems: IDS },
  "ids-are-gone": { kind: "ids", change: gone, problems: IDS },
};

async function copyOf(t: Test, { data }: Read): Promise<string> {
  const copy = join(await tempFolder(t), "data");
  await copyData(data, copy);
  return copy;
}

/** Refs are those of before, a clone is whole and has every file. */
async function checkServed(t: Test, server: Lakepack, { refs }: Read, name = KEPT): Promise<void> {
  const url = `${server.url}/lakefs/${name}.git`;
  t.equal(await git(["ls-remote", url]), refs.get(name), `${name}: the same ids`);
  const clone = join(await tempFolder(t), "clone");
  const run = await tryGit(["clone", "-q", url, clone]);
  t.equal(run.code, 0, run.stderr);
  await checkFsck(t, clone);
  t.same(
    (await readdir(clone, { recursive: true }))
      .filter((file) => !file.startsWith(".git/") && /\./.test(file.slice(1)))
      .sort(),
    ["README.md", "a/b.txt", "a/c.txt", "large.bin"],
  );
}

t.test("damage of every kind: named, and made again", { skip: skipLakefs }, async (t) => {
  const read = await everything(t.parent as Test);
  const data = await copyOf(t, read);
  for (const [name, { kind, change: by }] of Object.entries(CASES)) {
    const paths = await filesOf(data, kind, name);
    t.ok(
      paths.length >= (kind === "lake" ? RECORD_CHANGES.length : 1),
      `${name}: ${paths.length} files`,
    );
    await change(paths, by);
  }
  const found = await lakepack(["verify", "--all", "--json", "--data", data]);
  t.equal(found.code, 1);
  const reports = found.out
    .trim()
    .split("\n")
    .map(
      (line) =>
        JSON.parse(line) as {
          name: string;
          findings: { file: string; problem: string; advice: string }[];
        },
    );
  for (const { name, findings } of reports) {
    const problems = CASES[name.slice("lakefs/".length)]?.problems ?? [];
    const said = findings.map(({ file, problem }) => `${file}: ${problem}`).join("\n");
    for (const problem of problems) t.match(said, problem, name);
    if (problems.length === 0) t.equal(said, "", `${name} is good`);
    t.ok(
      findings.every(({ advice }) =>
        /^nothing has to be done: a server that has lakeFS/.test(advice),
      ),
      "what to do is said",
    );
  }
  const server = await start(t, { ...read, data });
  for (const name of [GOOD, ...Object.keys(CASES)]) await checkServed(t, server, read, name);
  t.ok(await logShows(server, /a record of a lakeFS commit is damaged; it is made again/));
  const again = server
    .log()
    .split("\n")
    .filter((line) => line.includes("a list of contents that are still in lakeFS was made again"));
  for (const [name, { kind }] of Object.entries(CASES))
    if (kind !== "lake")
      t.ok(
        again.some((line) => line.includes(name)),
        `${name}: the log says so`,
      );
  await server.stop();
  const verified = await lakepack(["verify", "--all", "--data", data]);
  t.match(verified, { code: 0 }, `all is good again ${verified.out}${verified.err}`);
});

t.test(
  "files from before there were checksums: they are read as they are, and a list that lost a line is found out",
  { skip: skipLakefs },
  async (t) => {
    const read = await everything(t.parent as Test);
    const data = await copyOf(t, read);
    await change(await filesOf(data, "lake"), unsealed);
    await change(await filesOf(data, "lake-lfs"), unsealed);
    await change(await filesOf(data, "lake-content"), unsealed);
    await change(await filesOf(data, "ids"), (bytes) => bytes.subarray(SEAL_BYTES + 32));
    t.match(await lakepack(["verify", "--all", "--data", data]), { code: 0 });
    const cutData = join(await tempFolder(t), "data");
    await copyData(data, cutData);
    const server = await start(t, { ...read, data });
    await checkServed(t, server, read);
    await server.stop();
    t.notMatch(server.log(), /damaged/);
    await change(await filesOf(cutData, "list"), withoutLastLine);
    t.match(await lakepack(["verify", `lakefs/${KEPT}`, "--data", cutData]), {
      code: 1,
      out: /it lists \d+ blobs in place of \d+/,
    });
    const second = await start(t, { ...read, data: cutData });
    await checkServed(t, second, read);
    t.match(second.log(), /was made again/);
  },
);

t.test(
  "a list that cannot be made again now is an error, never an empty repository; later it is made",
  { skip: skipLakefs },
  async (t) => {
    const read = await everything(t.parent as Test);
    const data = await copyOf(t, read);
    await change(await filesOf(data, "list"), withoutLastLine);
    await change(await filesOf(data, "lake"), flip(0.5));
    const proxy = await startProxy(t, read.lakefs);
    const mapping = (await read.lakefs.client.in(KEPT).getBranch(MAPPING_BRANCH, signal)).commit_id;
    proxy.onCall = ({ path }) =>
      /\/commits/.test(path) && !path.includes(mapping)
        ? { as: "answer", status: 404, body: '{"message":"not found"}' }
        : undefined;
    const server = await start(t, { lakefs: proxy.server, data });
    const url = `${server.url}/lakefs/${KEPT}.git`;
    for (const args of [
      ["ls-remote", url],
      ["clone", url, join(await tempFolder(t), "clone")],
    ]) {
      const run = await tryGit(args);
      t.not(run.code, 0);
      t.match(run.stderr, /lakeFS has no such thing/);
    }
    proxy.onCall = () => undefined;
    await checkServed(t, server, read);
    // By its id and by every other way to it.
    proxy.onCall = ({ path }) =>
      /\/commits/.test(path)
        ? { as: "answer", status: 404, body: '{"message":"not found"}' }
        : undefined;
    await server.stop();
    const known = await start(t, { lakefs: proxy.server, data });
    t.equal(
      await git(["ls-remote", `${known.url}/lakefs/${KEPT}.git`]),
      read.refs.get(KEPT),
      "who has noted the mapping's record need not read it",
    );
    const unread = await startBeside(t, proxy.server);
    t.match(
      (await tryGit(["ls-remote", `${unread.url}/lakefs/${KEPT}.git`])).stderr,
      /lakeFS answered with something that cannot be read/,
      "a mapping that is not found is not a repository that is not there",
    );
  },
);

t.test(
  "the checksum of a large file: a changed one makes no other ids",
  { skip: skipLakefs },
  async (t) => {
    const read = await everything(t.parent as Test);
    const data = await copyOf(t, read);
    const hashes = await filesOf(data, "lake-content");
    t.equal(hashes.length, 1);
    await change(hashes, (bytes) =>
      Buffer.from(
        bytes.toString("latin1").replace(/.$/, (digit) => (digit === "0" ? "1" : "0")),
        "latin1",
      ),
    );
    t.match(await lakepack(["verify", "--all", "--data", data]), {
      code: 1,
      out: /git\/lake-content\/.*: its content does not match its checksum/,
    });
    await change(await filesOf(data, "lake"), gone); // so that it is asked for
    const server = await start(t, { ...read, data });
    await checkServed(t, server, read);
    await server.stop();
    t.match(await lakepack(["verify", "--all", "--data", data]), { code: 0 }, "it is replaced");
  },
);

t.test(
  "the place of a large file's bytes: a changed one is named to git-lfs, and what verify says makes it again",
  { skip: skipLakefs },
  async (t) => {
    const read = await everything(t.parent as Test);
    const data = await copyOf(t, read);
    const places = await filesOf(data, "lake-lfs");
    t.equal(places.length, 1);
    await change(places, flip(0.8));
    const ask = async (server: Lakepack): Promise<unknown> => {
      const headers = {
        "Content-Type": "application/vnd.git-lfs+json",
        Accept: "application/vnd.git-lfs+json",
      };
      const body = JSON.stringify({
        operation: "download",
        transfers: ["basic"],
        objects: [{ oid: SHA256, size: LARGE.length }],
      });
      return (
        await fetch(`${server.url}/lakefs/${KEPT}.git/info/lfs/objects/batch`, {
          method: "POST",
          headers,
          body,
        })
      ).json();
    };
    const found = await lakepack(["verify", "--all", "--data", data]);
    t.match(found, {
      code: 1,
      out: /git\/lake-lfs\/[0-9a-f]{64}: its content does not match its checksum\n.*delete this file and the folder git\/lake beside it/,
    });
    const server = await start(t, { ...read, data });
    t.match(
      JSON.stringify(await ask(server)),
      /a stored file is damaged: [0-9a-f]{64} \(its content does not match its checksum\)/,
    );
    await checkServed(t, server, read);
    await server.stop();
    await change(places, gone);
    await rm(join(await rootOf(data), "lake"), { recursive: true });
    await mkdir(join(await rootOf(data), "lake"));
    const again = await start(t, { ...read, data });
    await checkServed(t, again, read);
    t.match(await ask(again), { objects: [{ actions: { download: {} } }] });
  },
);
