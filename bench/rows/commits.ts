/**
 * The row `commits`: pushes of one commit each to the 110,000 objects of `code`, durable and with
 * fsck on both sides. The packs are made before; a push is what a client does on the wire: the
 * refs, then commands and pack.
 */
import { spawnSync } from "node:child_process";
import { Agent, get } from "node:http";
import { join } from "node:path";
import { git, GIT_ENVIRONMENT } from "../git.js";
import { pkt, postWhole } from "../raw-clone.js";
import { median } from "../report.js";
import { startServer } from "../server.js";
import type { BenchContext } from "./context.js";
import { cpuOf, oursCpu, pushBoth } from "./pair.js";

/** JGit's median beside the peer's, measured elsewhere in one run: 34 ms and 69 ms. */
const BAR = 34 / 69;

interface Push {
  readonly old: string;
  readonly commit: string;
  readonly pack: Buffer;
}

export async function commitsRows(context: BenchContext): Promise<void> {
  const { peer, report, scale, folder } = context;
  if (peer === undefined)
    return report.fail(
      "push of one commit",
      "the peer (nginx, fcgiwrap, git http-backend) is not installed",
    );
  const server = await startServer(join(folder, "commits-data"));
  try {
    const pair = await pushBoth(context, "code", server, peer, "commits");
    const pushes = makePushes(pair.corpus, scale === "tiny" ? 3 : 40);
    const [ours, theirs]: [number[], number[]] = [[], []];
    let [oursCpuSeconds, theirsCpuSeconds] = [0, 0];
    for (const push of pushes) {
      oursCpuSeconds += await cpuOf(oursCpu(pair), async () =>
        ours.push(await timePush(pair.ours, push)),
      );
      theirsCpuSeconds += await cpuOf(peer.cpuSeconds, async () =>
        theirs.push(await timePush(pair.theirs, push)),
      );
    }
    const bar = scale === "tiny" ? {} : { bar: BAR };
    report.add({
      row: "push of one commit to code, wall, median",
      ours: median(ours),
      peer: median(theirs),
      unit: "ms",
      ...bar,
    });
    report.add({
      row: "push of one commit to code, server CPU",
      ours: (oursCpuSeconds * 1_000) / pushes.length,
      peer: (theirsCpuSeconds * 1_000) / pushes.length,
      unit: "ms",
    });
  } finally {
    await server.stop();
  }
}

/**
 * A line of commits on `main`, each of one small file in a nested folder, with the thin pack a
 * client would send for it.
 */
function makePushes(corpus: string, count: number): readonly Push[] {
  const pushes: Push[] = [];
  let old = git(["rev-parse", "main"], corpus).trim();
  const index = { ...GIT_ENVIRONMENT, GIT_INDEX_FILE: join(corpus, "bench-index") };
  const run = (args: readonly string[], input?: string) => {
    const result = spawnSync("git", [...args], {
      cwd: corpus,
      env: index,
      input,
      maxBuffer: 1 << 28,
    });
    if (result.status !== 0) throw new Error(result.stderr.toString());
    return result.stdout;
  };
  run(["read-tree", "main"]);
  for (let n = 0; n < count; n++) {
    const blob = run(["hash-object", "-w", "--stdin"], `change ${n}\n`).toString().trim();
    run([
      "update-index",
      "--add",
      "--cacheinfo",
      `100644,${blob},src/part3/room1/bench-${n % 5}.ts`,
    ]);
    const commit = run([
      "commit-tree",
      run(["write-tree"]).toString().trim(),
      "-p",
      old,
      "-m",
      `bench ${n}`,
    ])
      .toString()
      .trim();
    const pack = run(
      ["pack-objects", "--revs", "--thin", "--stdout", "--delta-base-offset", "-q"],
      `${commit}\n^${old}\n`,
    );
    pushes.push({ old, commit, pack });
    old = commit;
  }
  return pushes;
}

/** Milliseconds of one push, its report read and checked. */
async function timePush(url: string, { old, commit, pack }: Push): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const start = performance.now();
  await readRefs(url, agent);
  const command = `${old} ${commit} refs/heads/main\0 report-status side-band-64k ofs-delta`;
  const body = Buffer.concat([Buffer.from(`${pkt(command)}0000`), pack]);
  const report = (await postWhole(url, body, { service: "git-receive-pack", agent })).toString(
    "latin1",
  );
  const milliseconds = performance.now() - start;
  agent.destroy();
  if (!report.includes("ok refs/heads/main")) throw new Error(`the push was refused: ${report}`);
  return milliseconds;
}

function readRefs(url: string, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    get(`${url}/info/refs?service=git-receive-pack`, { agent }, (response) => {
      response.on("end", resolve).on("error", reject);
      response.resume();
    }).on("error", reject);
  });
}
