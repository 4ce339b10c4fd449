/**
 * Whatever fails, stock git shows the request's id, and the server has one line in its log for that
 * request which says what happened.
 */
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { History } from "../crash/history.js";
import { commit, folderOf, git, type Lakepack, startLakepack, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { pkts, rawFetch } from "../support/raw-fetch.js";

t.setTimeout(300_000);

const ID = /request ([0-9a-f]{10}-[0-9a-z]+)/g;

interface RequestLine {
  readonly level: number;
  readonly msg: string;
  readonly id: string;
  readonly operation: string;
  readonly outcome: string;
  readonly fault?: string;
  readonly repository?: string;
}

/** The one line of the request whose id the text shows. */
async function lineOf(t: Test, server: Lakepack, text: string): Promise<Partial<RequestLine>> {
  const ids = new Set([...text.matchAll(ID)].map(([, id]) => id));
  t.equal(ids.size, 1, `one id in: ${text}`);
  const [id] = ids;
  const lines = () =>
    server
      .log()
      .split("\n")
      .filter((line) => line.includes(`"msg":"request"`) && line.includes(`"id":"${id}"`));
  for (let look = 0; look < 100 && lines().length === 0; look++)
    await new Promise((wake) => setTimeout(wake, 50));
  t.equal(lines().length, 1, "and one line of the log that has it");
  return JSON.parse(lines()[0] ?? "{}") as RequestLine;
}

async function work(t: Test): Promise<string> {
  const folder = join(await tempFolder(t), "work");
  await git(["init", "-q", folder]);
  await commit(folder, "one", { "a.txt": "a\n".repeat(1_000) });
  return folder;
}

t.test("a push that storage fails: unpack says the id", async (t) => {
  const history = await History.begin(t);
  const folder = await work(t);
  const oid = await git(["rev-parse", "HEAD"], { cwd: folder });
  for (const [site, kind] of [
    ["#spool", "write"],
    ["#rename", "rename"],
  ] as const) {
    await history.order({ act: "EIO", site, kinds: [kind], once: true });
    const said = await history.push(folder, `ids/${kind}`, { "refs/heads/main": oid });
    t.match(said, /remote unpack failed: storage failed \(request /, "git's own words around ours");
    t.notMatch(said, history.data, "nothing of our folders");
    t.match(await lineOf(t, history.server, said), {
      level: 50,
      operation: "receive-pack",
      outcome: "failed",
      fault: "store/failed",
      status: 200,
      repository: `ids/${kind}`,
      message: /EIO/,
    });
  }
});

t.test("a fetch of a damaged pack: band 3 or ERR says the id, in every version", async (t) => {
  const first = await startLakepack(t);
  const folder = await work(t);
  const url = (server: Lakepack) => `${server.url}/ids/damaged.git`;
  await git(["push", "-q", url(first), "main"], { cwd: folder });
  await first.stop();
  const stored = await folderOf(first.data, "ids/damaged");
  const file = join(
    stored,
    (await readdir(stored, { recursive: true })).find((name) => name.endsWith(".pack")) ?? "",
  );
  const bytes = await readFile(file);
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 4;
  await rm(file);
  await writeFile(file, bytes);
  const server = await startLakepack(t, { data: first.data });
  for (const version of [0, 1, 2] as const) {
    const run = await tryGit(["clone", "-q", url(server), join(await tempFolder(t), "copy")], {
      version,
    });
    t.not(run.code, 0);
    t.match(run.stderr, /damaged: pack-[0-9a-f]{40}\.pack/);
    t.match(await lineOf(t, server, run.stderr), {
      level: 50,
      operation: "upload-pack",
      outcome: "failed",
      fault: "odb/damaged",
      repository: "ids/damaged",
    });
  }
});

t.test("what the client did wrong has its id too: HTTP, ERR, a refused ref", async (t) => {
  const server = await startLakepack(t);
  const folder = await work(t);
  const url = `${server.url}/ids/own.git`;
  await git(["push", "-q", url, "main"], { cwd: folder });
  const missing = await tryGit([
    "clone",
    "-q",
    `${server.url}/ids/none.git`,
    join(await tempFolder(t), "copy"),
  ]);
  t.match(await lineOf(t, server, missing.stderr), {
    level: 30,
    operation: "advertise",
    outcome: "refused",
    fault: "repository/missing",
    status: 404,
  });

  const { lines } = await rawFetch(
    server,
    "ids/own",
    2,
    pkts("command=fetch", "0001", "want-ref refs/heads/none", "done", "0000"),
  );
  t.match(lines[0], /^ERR .*unknown ref refs\/heads\/none\) \(request /);
  t.match(await lineOf(t, server, lines[0] ?? ""), {
    level: 30,
    operation: "upload-pack",
    outcome: "refused",
    fault: "wire/bad-request",
    status: 200,
  });
  const unknown = "1".repeat(40);
  const named = await rawFetch(
    server,
    "ids/own",
    2,
    pkts("command=fetch", "0001", `want ${unknown}`, "done", "0000"),
  );
  t.equal(
    named.lines[0],
    `ERR upload-pack: not our ref ${unknown}`,
    "words that clients know stay theirs",
  );

  const options = await tryGit(
    [
      "push",
      ...Array.from({ length: 300 }, (_, at) => ["-o", `option-${at}`]).flat(),
      url,
      "HEAD:refs/heads/options",
    ],
    { cwd: folder },
  );
  t.match(
    options.stderr,
    /^remote: lakepack: the request holds more than this server accepts.* \(request /m,
    "in the band that git listens to",
  );
  t.match(await lineOf(t, server, options.stderr), {
    level: 30,
    operation: "receive-pack",
    outcome: "refused",
    fault: "wire/too-much",
    status: 200,
  });

  await git(["commit", "-q", "--amend", "-m", "another"], { cwd: folder });
  const refused = await tryGit(
    ["push", "-f", url, "HEAD:refs/heads/main", `HEAD:refs/heads/main/below`],
    { cwd: folder },
  );
  t.match(refused.stderr, /^remote: request [0-9a-f]{10}-/m);
  t.match(await lineOf(t, server, refused.stderr), {
    level: 30,
    operation: "receive-pack",
    outcome: "refused",
    fault: "push/refused",
    refs: 1,
    message: /main\/below/,
  });
});
