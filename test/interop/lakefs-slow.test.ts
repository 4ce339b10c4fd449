/**
 * A lakeFS that takes long to be read: what stock git is told meanwhile, and that the work goes on.
 */
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import t, { type Test } from "tap";
import { utf8 } from "../../src/base/bytes.js";
import { Fault } from "../../src/base/fault.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { git, logShows, remoteRefs, startLakepack, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { settingsFor, seed, signal } from "../support/lakefs-rig.js";

interface Reading {
  readonly commits: number;
  readonly total: number;
  readonly objects: number;
}

interface Gate {
  readonly endpoint: string;
  /** Counts of reads of each content, by its path in lakeFS. */
  readonly reads: ReadonlyMap<string, number>;
  open(): void;
}

/** A proxy before lakeFS that holds back the contents of `path` until it is opened. */
async function startGate(t: Test, { access }: RunningLakefs, path: string): Promise<Gate> {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const reads = new Map<string, number>();
  const pass = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const url = new URL(incoming.url ?? "/", access.endpoint);
    const content =
      url.pathname.endsWith("/objects") && incoming.method === "GET"
        ? url.searchParams.get("path")
        : null;
    if (content !== null) reads.set(content, (reads.get(content) ?? 0) + 1);
    if (content === path) await opened;
    const onward = request(
      url,
      { method: incoming.method, headers: { ...incoming.headers, host: url.host } },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      },
    );
    onward.on("error", () => outgoing.destroy());
    incoming.pipe(onward);
  };
  const server = createServer((incoming, outgoing) => void pass(incoming, outgoing));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    open();
    server.closeAllConnections();
    server.close();
  });
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    reads,
    open: () => open(),
  };
}

t.test("figures in the promised form", async (t) => {
  const text = (commit: string, objects: number) =>
    new Fault("lakefs/reading", { commit, objects }).message;
  t.equal(text("12/340", 48_000), "reading lakeFS commit 12/340, 48,000 objects; try again");
  t.equal(text("0/1", 999), "reading lakeFS commit 0/1, 999 objects; try again");
  t.equal(text("1/2", 1_234_567), "reading lakeFS commit 1/2, 1,234,567 objects; try again");
});

t.test(
  "while commits are being read: ERR with figures, the same by API and log; then the refs",
  { skip: skipLakefs, timeout: 120_000 },
  async (t) => {
    const lakefs = await startLakefs(t);
    const { client } = lakefs;
    await seed(
      lakefs,
      "slow",
      Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`folder/${at}`, `${at}\n`])),
    );
    for (const file of ["second", "third"]) {
      await client.in("slow").uploadObject("main", file, utf8(`${file}\n`), {}, signal);
      await client.in("slow").commit("main", { message: file }, signal);
    }
    const gate = await startGate(t, lakefs, "third");
    const server = await startLakepack(t, {
      env: { ...settingsFor(lakefs, gate.endpoint), LAKEPACK_LAKEFS_REFS_WAIT_SECONDS: "1" },
    });
    const url = `${server.url}/lakefs/slow.git`;

    const get = async (path: string) => {
      const response = await fetch(`${server.url}/api/repos/lakefs/slow${path}`);
      return {
        status: response.status,
        retry: response.headers.get("retry-after"),
        body: (await response.json()) as { message?: string; reading?: Reading },
      };
    };
    const readingIs = async (is: (reading: Reading) => boolean): Promise<Reading | undefined> => {
      for (let attempt = 0; attempt < 600; attempt++) {
        const { reading } = (await get("")).body;
        if (reading !== undefined && is(reading)) return reading;
        await new Promise((wake) => setTimeout(wake, 100));
      }
      return undefined;
    };

    const first = await tryGit(["ls-remote", url]);
    t.match(
      first.stderr,
      /^fatal: remote error: reading lakeFS commit \d\/3, \d+ objects; try again\n$/,
      "however far it is after a second",
    );
    const reading = await readingIs(({ commits }) => commits === 2);
    t.match(reading, { commits: 2, total: 3 });
    const objects = reading?.objects ?? 0;
    t.ok(objects > 20, "of commits that are not done too");
    for (const version of [2, 1, 0] as const) {
      const early = await tryGit(["ls-remote", url], { version });
      t.not(early.code, 0);
      t.equal(early.stdout, "", "never an empty list");
      t.equal(
        early.stderr,
        `fatal: remote error: reading lakeFS commit 2/3, ${objects} objects; try again\n`,
        `version ${version}`,
      );
    }
    const work = await tempFolder(t);
    await git(["init", "-q", work]);
    t.match(
      (await tryGit(["push", url, ":refs/heads/x"], { cwd: work })).stderr,
      /remote error: reading lakeFS commit 2\/3, \d+ objects; try again/,
    );
    t.match(await get(`/commits/${"0".repeat(40)}`), {
      status: 503,
      retry: /\d/,
      body: { message: `reading lakeFS commit 2/3, ${objects} objects; try again` },
    });
    t.ok(
      await logShows(
        server,
        new RegExp(`"message":"reading lakeFS commit 2/3, ${objects} objects; try again"`),
      ),
    );

    gate.open();
    t.ok(await readingIs(({ total }) => total === 0), "the work went on by itself");
    t.ok(await logShows(server, /"commit":"3\/3","objects":\d+,"msg":"lakeFS was read"/));
    t.match(
      (await remoteRefs(url)).map((line) => line.split("\t")[1]),
      ["HEAD", "refs/heads/main"],
    );
    t.same(
      [...gate.reads.values()].filter((times) => times !== 1),
      [],
      "each content was read once",
    );
  },
);

t.test(
  "a first reading says of how many files; banner and front page which lakeFS is there",
  { skip: skipLakefs, timeout: 120_000 },
  async (t) => {
    const lakefs = await startLakefs(t);
    await seed(
      lakefs,
      "first",
      Object.fromEntries(
        Array.from({ length: 1_030 }, (_, at) => [`f${String(at).padStart(4, "0")}`, `${at}\n`]),
      ),
    );
    const gate = await startGate(t, lakefs, "f1020");
    const server = await startLakepack(t, {
      env: { ...settingsFor(lakefs, gate.endpoint), LAKEPACK_LAKEFS_REFS_WAIT_SECONDS: "1" },
    });
    t.match(
      server.out(),
      new RegExp(`^lakeFS \\S+ \\(local blocks\\) answers: ${gate.endpoint}$`, "m"),
    );
    const home = async () => (await fetch(server.url)).text();
    t.match(
      await home(),
      new RegExp(`lakeFS \\S+ \\(local blocks\\) answers: ${gate.endpoint}\\.`),
    );
    let said = "";
    for (let attempt = 0; attempt < 30 && !said.includes("1,000 of"); attempt++)
      said = (await tryGit(["ls-remote", `${server.url}/lakefs/first.git`])).stderr;
    t.match(
      said,
      /^fatal: remote error: reading lakeFS commit 0\/1, 1,\d\d\d objects \(1,000 of 1,030 files\); try again\n$/,
    );
    const { reading } = (await (await fetch(`${server.url}/api/repos/lakefs/first`)).json()) as {
      reading: object;
    };
    t.match(reading, { commits: 0, total: 1, files: { done: 1_000, total: 1_030 } });
    gate.open();
    await lakefs.stop();
    await new Promise((wake) => setTimeout(wake, 5_100)); // what was seen holds for five seconds
    t.match(await home(), /lakeFS does not answer: http/);
    const beside = await startLakepack(t, { env: settingsFor(lakefs) });
    t.match(beside.out(), /^lakeFS does not answer: http/m);
  },
);
