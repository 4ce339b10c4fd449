/**
 * The proof that lakeFS runs the guard: only the guard's own refusal proves it, only a merge that
 * succeeded that hooks are disabled.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { LakefsServer } from "../../src/lakefs/api/client.js";
import { hookFault } from "../../src/lakefs/api/hook-answer.js";
import { GuardProof } from "../../src/lakefs/hooks/guard-proof.js";
import { RootCommit } from "../../src/lakefs/agreed/root-commit.js";
import { actionFile, putActions, startHooks } from "../support/hooks-rig.js";
import { newRepository, newWork, rigNode } from "../support/landing-rig.js";
import { type Call, type LakefsProxy, type Mishap, startProxy } from "../support/lakefs-proxy.js";
import { signal, Source, testPool } from "../support/lakefs-reading.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";

t.setTimeout(120_000);

const MAIN = "refs/heads/main";
const FOREIGN =
  "pre-merge hook aborted, run id 'x': 1 error occurred:\n\t* hook run id '0000_0000' failed on action 'policy' hook 'no': action failed: not on a Friday\n\n";
/** As older releases say it, without the event. */
const OLDER =
  "2 errors occurred:\n\t* hook run id '0000_0000' failed on action 'policy' hook 'no': webhook request failed (status code: 503)\n\t* hook run id '0001_0000' failed on action 'lua' hook 'friday': not on a Friday\n\n";
const isProof = ({ method, path }: Call) =>
  method === "POST" && path.includes("/merge/lakepack-work-");

/** Mishaps that must not be taken for a proof of anything. */
const MISHAPS: Readonly<Record<string, Mishap>> = {
  "another hook's refusal": {
    as: "answer",
    status: 412,
    body: JSON.stringify({ message: FOREIGN }),
  },
  "another hook's refusal, as older releases say it": {
    as: "answer",
    status: 412,
    body: JSON.stringify({ message: OLDER }),
  },
  "a 412 that no hook has caused": {
    as: "answer",
    status: 412,
    body: '{"message":"Precondition failed"}',
  },
  "a refusal of the key": { as: "answer", status: 403, body: '{"message":"no"}' },
  "a failure": { as: "answer", status: 500, body: '{"message":"oh"}' },
  "an answer that is cut": { as: "cut", bodyBytes: 0 },
};

t.test(
  "a hook's refusal is told from one that could not be asked, as lakeFS says it now and as it did",
  async (t) => {
    const told = (text: string, call: string) => hookFault(text, { call })?.facts;
    t.match(told(FOREIGN, "merge"), {
      event: "pre-merge",
      hook: "no",
      action: "policy",
      reason: "not on a Friday",
    });
    t.match(told(OLDER, "createTag"), {
      event: "pre-create-tag",
      hook: "friday",
      action: "lua",
      reason: "not on a Friday",
    });
    const [first = ""] = OLDER.split("\t* hook run id '0001");
    t.equal(hookFault(first, { call: "merge" })?.code, "lakefs/hook-failed");
    t.equal(told(OLDER, "getBranch"), undefined, "that runs no hooks");
    t.equal(told("Precondition failed", "merge"), undefined);
  },
);

interface Scene {
  readonly proof: GuardProof;
  readonly proxy: LakefsProxy;
  readonly said: string[];
  /** Time that passes. */
  wait(ms: number): void;
  proofs(): number;
}

async function scene(t: Test, server: RunningLakefs): Promise<Scene> {
  const repository = await newRepository(server);
  const proxy = await startProxy(t, server);
  const client = new LakefsServer(proxy.server.access).in(repository);
  const said: string[] = [];
  let now = 1_000;
  const say = (event: string) => void said.push(event);
  const proof = new GuardProof({
    client,
    root: new RootCommit(client),
    log: { info: say, warn: say },
    nowMs: () => now,
  });
  const wait = (ms: number) => {
    now += ms;
  };
  return { proof, proxy, said, wait, proofs: () => proxy.calls.filter(isProof).length };
}

t.test(
  "what is no proof is an error, and proven again once in ten seconds",
  { skip: skipLakefs },
  async (t) => {
    const server = await startLakefs(t);
    for (const [what, mishap] of Object.entries(MISHAPS)) {
      const { proof, proxy, said, wait, proofs } = await scene(t, server);
      t.same(proof.state, { guard: "unknown" });
      proxy.onCall = (call) => (isProof(call) ? mishap : undefined);
      await t.rejects(proof.get(signal), { code: "lakefs/unproven" }, what);
      t.match(proof.state, {
        guard: "unproven",
        reason: /could not be found out whether lakeFS runs hooks/,
      });
      const tried = proofs();
      wait(9_900);
      await t.rejects(proof.get(signal), { code: "lakefs/unproven" });
      t.equal(proofs(), tried, "not within ten seconds");
      wait(200);
      await t.rejects(proof.get(signal), { code: "lakefs/unproven" });
      t.equal(proofs(), 2 * tried, "and then it is");
      wait(10_100);
      proxy.onCall = () => undefined;
      t.match(await proof.get(signal), { runs: true });
      t.same([proof.state, said.at(-1)], [{ guard: "runs" }, "lakeFS runs the guard of pushes"]);
      wait(3_600_000);
      await proof.get(signal);
      t.equal(proofs(), 2 * tried + 1, "a proof holds");
    }
  },
);

t.test("that hooks are disabled is believed for a minute", { skip: skipLakefs }, async (t) => {
  const { proof, said, wait, proofs } = await scene(
    t,
    await startLakefs(t, "local", { LAKEFS_ACTIONS_ENABLED: "false" }),
  );
  t.match(await proof.get(signal), { runs: false });
  t.same(proof.state, { guard: "disabled" });
  wait(59_000);
  await proof.get(signal);
  wait(2_000);
  await proof.get(signal);
  t.equal(proofs(), 2);
  t.match(said, [/hooks are disabled in lakeFS/], "said once");
});

t.test(
  "no push lands unproven; a hook of the operator's that says no to everything proves nothing",
  { skip: skipLakefs },
  async (t) => {
    const server = await startLakefs(t);
    const repository = await newRepository(server);
    const proxy = await startProxy(t, server);
    const node = await rigNode(t, server, await testPool(t), repository, {
      client: new LakefsServer(proxy.server.access),
    });
    const work = await newWork(t);
    const push = async (content: string) => {
      const tip = await work.commit(content, (folder) => writeFile(join(folder, "a"), content));
      return node.push(work, [[MAIN, tip]]);
    };
    proxy.onCall = (call) => (isProof(call) ? MISHAPS["another hook's refusal"] : undefined);
    const source = new Source(server.client, repository);
    const before = await source.head();
    t.match(await push("unproven"), [
      { ok: false, reason: /could not be found out whether lakeFS runs hooks/ },
    ]);
    t.equal(await source.head(), before);
    t.match(node.landing.guard, { guard: "unproven" });

    const hooks = await startHooks(t);
    await putActions(source, { "all.yaml": actionFile("all", hooks.url, ["pre-merge"]) });
    hooks.answer = () => ({ status: 403 });
    const other = await rigNode(t, server, await testPool(t), repository);
    await other.refs.read();
    work.git("fetch", "-q", await other.git("rev-parse", "--absolute-git-dir"), "main");
    work.git("reset", "-q", "--hard", "FETCH_HEAD");
    const tip = await work.commit("judged");
    t.match(await other.push(work, [[MAIN, tip]]), [
      { ok: false, reason: /a hook in lakeFS refused it: 'ticket' \(pre-merge/ },
    ]);
    t.same(other.landing.guard, { guard: "runs" }, "proven all the same");
    hooks.answer = () => ({ status: 200 });
    t.match(await other.push(work, [[MAIN, tip]]), [{ ok: true }]);
    t.equal(
      (await server.client.in(repository).getCommit(await source.head(), signal)).parents.length,
      1,
      "by the guarded way: the commit itself is the head",
    );
  },
);
