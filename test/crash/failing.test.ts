/**
 * A disk that fails: full, or failing one change. The client reads why, no ref moves that was not
 * reported, and the next push works. The real process runs with test/crash/recorder.ts, which fails
 * what an order names.
 */
import { createHash } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { lakepack } from "../support/lakepack-command.js";
import { checkFsck, commit, git, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { pkts, rawFetch, type RawFetchReply } from "../support/raw-fetch.js";
import { command, EMPTY_PACK, parseReport, postPush } from "../support/raw-push.js";
import { seeded } from "../support/random.js";
import { testPool } from "./examination.js";
import { Acknowledgements, History } from "./history.js";
import type { Order } from "./journal.js";

t.setTimeout(1_200_000);

const ZERO = "0".repeat(40);

/**
 * Changes that one push makes on the disk, by kind, function and, where that does several, file.
 */
const CHANGES: readonly (readonly [kind: string, site: string, place?: string])[] = [
  ["mkdir", "startIngest"],
  ["open", "startIngest"],
  ["write", "#spool"],
  ["open", "#writeTable"],
  ["write", "#writeTable"],
  ["sync", "syncFile", "/pack"],
  ["sync", "syncFile", "/idx"],
  ["sync", "syncFile", "/rev"],
  ["mkdir", "#makeFolder"],
  ["sync", "#makeFolder"],
  ["link", "#linkOrCopy"],
  ["sync", "#publishFile"],
  ["open", "#writeTemporary"],
  ["write", "#writeTemporary"],
  ["sync", "#writeTemporary"],
  ["rename", "#rename"],
  ["sync", "#replace"],
];

/**
 * A larger pack is synced while it is indexed: the last, because all pushes behind it bring this
 * too.
 */
const EARLY_SYNC: (typeof CHANGES)[number] = ["sync", "index-pack/spool: #sync"];
const NOISE = Buffer.from(seeded(1).bytes(1_200_000)).toString("base64");

async function begun(
  t: Parameters<typeof History.begin>[0],
): Promise<{ history: History; work: string; change: (noise?: string) => Promise<string> }> {
  const history = await History.begin(t);
  const work = join(await tempFolder(t), "work");
  await git(["init", "-q", work]);
  let count = 0;
  return {
    history,
    work,
    change: (noise = "") =>
      commit(work, `change ${count++}`, {
        "a.txt": `${count}\n`.repeat(100),
        "noise.txt": `${count}\n${noise}`,
      }),
  };
}

function acknowledged(history: History): Acknowledgements {
  const all = new Acknowledgements();
  for (const record of history.journal()) all.take(record);
  return all;
}

t.test("a full disk is what the client reads; with room again the next push works", async (t) => {
  const { history, work, change } = await begun(t);
  const first = await change();
  await history.push(work, "f/full", { "refs/heads/main": first });
  const second = await change();
  await history.order({ act: "ENOSPC", kinds: ["write", "mkdir", "copy"], once: false });
  t.match(await history.push(work, "f/full", { "refs/heads/main": second }), /the disk is full/);
  t.match(
    await git(["ls-remote", `${history.server.url}/f/full.git`, "refs/heads/main"]),
    first,
    "the ref is where it was",
  );
  t.notOk(await history.upload("f/full", Buffer.alloc(1_000, "x")), "an LFS upload fails too");
  await history.withdraw();
  t.match(await history.push(work, "f/full", { "refs/heads/main": second }), /main/);
  t.ok(await history.upload("f/full", Buffer.alloc(1_000, "x")));
  t.same(await readdir(join(history.data, "incoming")), [], "nothing of the failed ones is left");
  await history.server.stop();
  t.same(await history.problems(history.data, acknowledged(history), await testPool(t)), []);
});

t.test("one change fails: a reason or an ok, and the next push lands", async (t) => {
  const { history, work, change } = await begun(t);
  for (const changes of [CHANGES, [EARLY_SYNC]])
    for (const [act, [kind, site, place]] of (["ENOSPC", "EIO"] as const).flatMap((act) =>
      changes.map((change) => [act, change] as const),
    )) {
      const order: Order = {
        act,
        site,
        kinds: [kind],
        once: true,
        ...(place === undefined ? {} : { place }),
      };
      const repository =
        `f/${act}-${kind}-${`${site}${place ?? ""}`.replace(/[^a-zA-Z]/g, "")}`.toLowerCase();
      await history.order(order);
      const oid = await change(site === EARLY_SYNC[1] ? NOISE : "");
      const said = await history.push(work, repository, { "refs/heads/main": oid });
      t.notOk(history.isOrderOpen, `${act} of ${kind} in ${site} ${place ?? ""} came`);
      if (history.failedPushes().includes(`${repository} refs/heads/main`))
        t.match(
          said,
          act === "ENOSPC" ? /the disk is full/ : /storage failed|internal error/,
          `${kind} in ${site}`,
        );
      await history.push(work, repository, { "refs/heads/main": await change() });
      const main = await git([
        "ls-remote",
        `${history.server.url}/${repository}.git`,
        "refs/heads/main",
      ]);
      t.match(main, await git(["rev-parse", "HEAD"], { cwd: work }), "the next push lands");
    }
  const clone = join(await tempFolder(t), "clone.git");
  await git(["clone", "-q", "--mirror", `${history.server.url}/f/eio-sync-replace.git`, clone]);
  await checkFsck(t, clone);
  t.same(await readdir(join(history.data, "incoming")), [], "nothing of the failed ones is left");
  await history.server.stop();
  t.same(await history.problems(history.data, acknowledged(history), await testPool(t)), []);
});

// Every single operation --------------------------------------------------------------------------

/** Text for the client of a disk that fails. */
const REASON = /the disk is full|storage failed|the disk failed/;
const UNKNOWN = /outcome unknown; fetch to see/;
/** Lets everything through, and counts it. */
const COUNTING: Order = { act: "EIO", once: false, skip: Number.MAX_SAFE_INTEGER };

interface Chain {
  readonly work: string;
  /** Oldest first. */
  readonly commits: readonly string[];
  /** Makes the pack of what the commit of that number adds to the one before it. */
  pack(number: number): Promise<Buffer>;
}

async function chainOf(t: Test, length: number): Promise<Chain> {
  const work = join(await tempFolder(t), "chain.git");
  await git(["init", "-q", "--bare", work]);
  const blob = (text: string) => `data ${text.length}\n${text}\n`;
  const text = Array.from({ length }, (_, n) => {
    const files = `M 100644 inline a.txt\n${blob(`${n}\n`.repeat(60))}M 100644 inline d${n % 7}/b.txt\n${blob(`${n * n}\n`)}`;
    return `commit refs/heads/main\ncommitter C <c@example.com> ${1_700_000_000 + n} +0000\n${blob(`change ${n}`)}${files}`;
  });
  await git(["fast-import", "--quiet"], { cwd: work, input: text.join("") });
  const commits = (await git(["rev-list", "--reverse", "main"], { cwd: work })).split("\n");
  const pack = async (number: number) => {
    const input = `${commits[number]}\n${number === 0 ? "" : `^${commits[number - 1]}\n`}`;
    return (await tryGit(["pack-objects", "--stdout", "--revs", "-q"], { cwd: work, input }))
      .stdoutBytes;
  };
  return { work, commits, pack };
}

/** Pushes raw; returns "" for an ok, else the text for the client. */
async function rawPush(
  history: History,
  repository: string,
  old: string,
  young: string,
  name: string,
  pack?: Buffer,
): Promise<string> {
  const { status, body } = await postPush(
    history.server,
    `/${repository}.git`,
    [command(old, young, name, "report-status")],
    pack ?? Buffer.alloc(0),
  );
  if (status !== 200 || !body.toString("latin1").includes("unpack"))
    return `${status} ${body.toString("latin1")}`;
  const { unpack, refs } = parseReport(body);
  return refs[0] === `ok ${name}` ? "" : `${unpack} ${refs[0] ?? "no line for the ref"}`;
}

async function shown(
  history: History,
  repository: string,
  name: string,
): Promise<string | undefined> {
  const answer = await fetch(
    `${history.server.url}/${repository}.git/info/refs?service=git-upload-pack`,
  );
  return new RegExp(`([0-9a-f]{40}) ${name}\n`).exec(await answer.text())?.[1];
}

/** Counts the operations that `work` makes. */
async function operations(history: History, work: () => Promise<unknown>): Promise<number> {
  await history.order(COUNTING);
  await work();
  await history.withdraw();
  return history.counted;
}

/** Fails the `number`-th operation of `work`. */
async function failing<T>(history: History, number: number, work: () => Promise<T>): Promise<T> {
  await history.order({ act: number % 2 === 0 ? "EIO" : "ENOSPC", once: true, skip: number });
  const result = await work();
  await history.withdraw();
  return result;
}

t.test(
  "each single operation fails in turn: a reason or an answer that is true, and the next one works",
  { timeout: 580_000 },
  async (t) => {
    const history = await History.begin(t);
    const { commits, pack } = await chainOf(t, 160);
    const main = "refs/heads/main";
    const oid = (number: number) => commits[number] as string;
    /**
     * `said` must be a reason, or nothing where it is done; the ref as it is then is what that
     * says.
     */
    const judge = async (
      what: string,
      said: string,
      repository: string,
      name: string,
      before: string | undefined,
      after: string | undefined,
    ) => {
      const is = await shown(history, repository, name);
      if (said === "") t.equal(is, after, `${what}: ok, and so it is`);
      else {
        if (!REASON.test(said)) t.fail(`${what}: ${said}`);
        if (!UNKNOWN.test(said)) t.equal(is, before, `${what}: refused, and nothing has moved`);
      }
      return is === after;
    };

    let tip = 0;
    t.equal(await rawPush(history, "e/push", ZERO, oid(0), main, await pack(0)), "");
    const pushing = await operations(history, async () =>
      t.equal(await rawPush(history, "e/push", oid(0), oid(1), main, await pack(1)), ""),
    );
    tip = 1;
    t.ok(pushing > 20, `a push makes ${pushing} operations`);
    for (let number = 0; number < pushing; number++, tip++) {
      const bytes = await pack(tip + 1);
      const push = () => rawPush(history, "e/push", oid(tip), oid(tip + 1), main, bytes);
      const landed = await judge(
        `operation ${number} of a push`,
        await failing(history, number, push),
        "e/push",
        main,
        oid(tip),
        oid(tip + 1),
      );
      if (!landed) t.equal(await push(), "", "the next push works");
    }

    const whole = await pack(0);
    const first = (repository: string) => rawPush(history, repository, ZERO, oid(0), main, whole);
    const making = await operations(history, () => first("e/first"));
    t.ok(making > pushing, `a first push makes ${making} operations`);
    for (let number = 0; number < making; number++) {
      const repository = `e${number}/first`; // a namespace of its own: its folder is made too
      const landed = await judge(
        `operation ${number} of a first push`,
        await failing(history, number, () => first(repository)),
        repository,
        main,
        undefined,
        oid(0),
      );
      if (!landed) t.equal(await first(repository), "", "the next push works");
    }

    const gone = (number: number) => `refs/heads/gone-${number}`;
    for (let number = 0; number < 40; number++)
      t.equal(await rawPush(history, "e/push", ZERO, oid(0), gone(number), EMPTY_PACK), "");
    const remove = (number: number) => rawPush(history, "e/push", oid(0), ZERO, gone(number));
    const deleting = Math.min(39, await operations(history, () => remove(39)));
    for (let number = 0; number < deleting; number++) {
      const landed = await judge(
        `operation ${number} of a delete`,
        await failing(history, number, () => remove(number)),
        "e/push",
        gone(number),
        oid(0),
        undefined,
      );
      if (!landed) t.equal(await remove(number), "", "the next delete works");
    }

    const get = (number: number) =>
      rawFetch(
        history.server,
        "e/push",
        2,
        pkts("command=fetch", "0001", "no-progress", `want ${oid(number)}`, "done", "0000"),
      );
    const isWhole = ({ pack: bytes }: RawFetchReply) =>
      bytes.toString("latin1", 0, 4) === "PACK" &&
      createHash("sha1").update(bytes.subarray(0, -20)).digest().equals(bytes.subarray(-20));
    const fetching = Math.min(tip - 2, await operations(history, () => get(tip)));
    t.ok(fetching > 4, `a fetch makes ${fetching} operations`);
    for (let number = 0; number < fetching; number++) {
      const reply = await failing(history, number, () => get(tip - 1 - number));
      const said = `${reply.status} ${reply.error} ${reply.lines.join(" ")}`;
      if (!isWhole(reply) && !REASON.test(said)) t.fail(`operation ${number} of a fetch: ${said}`);
      t.ok(isWhole(await get(tip - 1 - number)), "the next fetch works");
    }

    const clone = join(await tempFolder(t), "clone.git");
    await git(["clone", "-q", "--mirror", `${history.server.url}/e/push.git`, clone]);
    await checkFsck(t, clone);
    await history.server.stop();
    t.match(
      await lakepack(["verify", "--all", "--data", history.data]),
      { code: 0 },
      "all that is stored is good",
    );
  },
);

t.test(
  "a manifest whose folder cannot be synced: the outcome is unknown and says so, nobody is shown it, and once the disk works it is one of the two",
  async (t) => {
    const { history, work, change } = await begun(t);
    const first = await change();
    for (const act of ["EIO", "ENOSPC"] as const) {
      const repository = `u/${act.toLowerCase()}`;
      await history.push(work, repository, { "refs/heads/main": first });
      const second = await change();
      await history.order({ act, site: "#replace", kinds: ["sync"], once: false });
      const said = await history.push(work, repository, { "refs/heads/main": second });
      t.match(
        said,
        new RegExp(`\\[remote rejected\\].*the disk failed while this was made durable \\(${act}`),
      );
      t.match(said, UNKNOWN);
      await history.order({ act, kinds: ["sync"], once: false });
      const refused = await tryGit(["ls-remote", `${history.server.url}/${repository}.git`]);
      t.not(refused.code, 0, "what may not last is not shown");
      t.match(
        refused.stderr,
        /the disk failed when this was written \(E[A-Z]+.*\), so it is not shown yet/,
      );
      const push = await tryGit(
        ["push", `${history.server.url}/${repository}.git`, `${first}:refs/heads/other`],
        { cwd: work },
      );
      t.match(push.stderr, /so it is not shown yet/, "nor built upon");
      await history.withdraw();
      t.match(
        await git(["ls-remote", `${history.server.url}/${repository}.git`, "refs/heads/main"]),
        second,
        "it has landed",
      );
      await history.server.stop();
      await history.start();
      t.match(
        await git(["ls-remote", `${history.server.url}/${repository}.git`, "refs/heads/main"]),
        second,
        "and is there after a new start",
      );
      const third = await change();
      t.match(await history.push(work, repository, { "refs/heads/main": third }), /main/);
    }
    await history.server.stop();
    t.same(await history.problems(history.data, acknowledged(history), await testPool(t)), []);
  },
);
