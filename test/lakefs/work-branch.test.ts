/**
 * Work branches go, however the work ends: also where nobody waits for it any more while lakeFS is
 * still making one, or where its answer is lost.
 */
import t, { type Test } from "tap";
import { Fault } from "../../src/base/fault.js";
import { type LakefsClient, LakefsServer } from "../../src/lakefs/api/client.js";
import { GuardProof } from "../../src/lakefs/hooks/guard-proof.js";
import { RootCommit } from "../../src/lakefs/agreed/root-commit.js";
import { onWorkBranch } from "../../src/lakefs/api/work-branch.js";
import { WORK_PREFIX } from "../../src/lakefs/api/hidden-branches.js";
import { newRepository } from "../support/landing-rig.js";
import { type Call, type LakefsProxy, startProxy } from "../support/lakefs-proxy.js";
import { signal, Source } from "../support/lakefs-reading.js";
import { type RunningLakefs, skipLakefs, startLakefs } from "../support/lakefs-servers.js";

const isMaking = ({ method, path }: Call) => method === "POST" && path.endsWith("/branches");
const isRemoving = ({ method, path }: Call) =>
  method === "DELETE" && path.includes(`/branches/${WORK_PREFIX}`);

interface Scene {
  readonly server: RunningLakefs;
  readonly repository: string;
  readonly proxy: LakefsProxy;
  readonly client: LakefsClient;
  readonly source: string;
}

async function scene(t: Test): Promise<Scene> {
  const server = await startLakefs(t);
  const repository = await newRepository(server);
  const proxy = await startProxy(t, server);
  return {
    server,
    repository,
    proxy,
    client: new LakefsServer(proxy.server.access).in(repository),
    source: await new Source(server.client, repository).head(),
  };
}

async function branchesOf({ server, repository }: Scene): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of server.client
    .in(repository)
    .listBranches({ prefix: WORK_PREFIX, hidden: true }, signal))
    ids.push(id);
  return ids;
}

async function until(
  t: Test,
  says: string,
  holds: () => Promise<boolean> | boolean,
): Promise<void> {
  for (let attempt = 0; attempt < 400; attempt++) {
    if (await holds()) return;
    await new Promise((wake) => setTimeout(wake, 25));
  }
  t.fail(says);
}

t.test(
  "a work branch is there for the work and gone afterwards",
  { skip: skipLakefs, timeout: 60_000 },
  async (t) => {
    const it = await scene(t);
    const { client, source } = it;
    const options = { client, source, signal };
    const seen = await onWorkBranch(options, async ({ name }) => [name, ...(await branchesOf(it))]);
    t.equal(seen.length, 2);
    t.equal(seen[0], seen[1]);
    t.same(await branchesOf(it), []);
    const failing = onWorkBranch(options, () => Promise.reject(new Fault("lakefs/refused")));
    await t.rejects(failing, { code: "lakefs/refused" });
    t.same(await branchesOf(it), [], "where the work fails as well");
  },
);

t.test(
  "the waiter goes while lakeFS makes the branch: it goes at once, the branch once it is there",
  { skip: skipLakefs, timeout: 60_000 },
  async (t) => {
    const it = await scene(t);
    const { proxy, client, source } = it;
    const abort = new AbortController();
    proxy.onCall = (call) => {
      if (!isMaking(call)) return undefined;
      setTimeout(() => abort.abort(), 50);
      return { as: "late", ms: 500 };
    };
    let worked = false;
    const work = onWorkBranch({ client, source, signal: abort.signal }, async () => {
      worked = true;
    });
    await t.rejects(work, { code: "base/aborted" });
    t.notOk(proxy.calls.some(isRemoving), "it did not wait for lakeFS");
    await until(t, "the branch was made and its removal asked for", () =>
      proxy.calls.some(isRemoving),
    );
    await until(t, "nothing is left", async () => (await branchesOf(it)).length === 0);
    t.notOk(worked);
  },
);

t.test(
  "lakeFS makes the branch and its answer is lost: the branch goes",
  { skip: skipLakefs, timeout: 60_000 },
  async (t) => {
    const it = await scene(t);
    const { proxy, client, source } = it;
    proxy.onCall = (call) => (isMaking(call) ? { as: "cut", bodyBytes: 1 } : undefined);
    await t.rejects(
      onWorkBranch({ client, source, signal }, async () => undefined),
      { code: "lakefs/unreachable" },
    );
    t.equal(proxy.calls.filter(isMaking).length, 1);
    t.same(await branchesOf(it), []);
  },
);

function proofOf({ client }: Scene): GuardProof {
  const quiet = { info: () => undefined, warn: () => undefined };
  return new GuardProof({
    client,
    root: new RootCommit(client),
    log: quiet,
  });
}

t.test(
  "two pushes share the proof of the guard, the first one's pusher goes: the other goes on, and nothing is left",
  { skip: skipLakefs, timeout: 60_000 },
  async (t) => {
    const it = await scene(t);
    const { proxy } = it;
    const proof = proofOf(it);
    const abort = new AbortController();
    proxy.onCall = (call) => {
      if (call.method === "POST" && call.path.endsWith("/commits"))
        setTimeout(() => abort.abort(), 1);
      return { as: "late", ms: 50 };
    };
    const first = proof.get(abort.signal);
    const second = proof.get(signal);
    await t.rejects(first, { code: "base/aborted" });
    t.equal((await second).runs, true);
    t.equal(proxy.calls.filter(isMaking).length, 1, "it was one proof");
    t.same(await branchesOf(it), []);
    const alone = proofOf(it).get(AbortSignal.timeout(350));
    await t.rejects(alone, { code: "base/aborted" });
    await until(
      t,
      "nothing is left of a proof that nobody waits for",
      async () => proxy.calls.filter(isRemoving).length >= 2 && (await branchesOf(it)).length === 0,
    );
  },
);
