/**
 * kill -9 of a node at each request that a push makes to the object store: before it gets there,
 * and when it has been carried out and the node has not heard of it. The other nodes show all of
 * the push or nothing of it, all of it where it was acknowledged; the same push lands then; and a
 * collection leaves what is wanted and nothing else.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { someOf } from "../support/everyday.js";
import { type Fleet, leftovers, skipFleet, startFleet } from "../support/fleet-rig.js";
import { checkFsck, commit, git, type Lakepack, remoteRefs, tryGit } from "../support/harness.js";
import { lakepack } from "../support/lakepack-command.js";
import { operationOf, type S3Call, type S3Proxy, startS3Proxy } from "../support/s3-proxy.js";
import { tempFolder } from "../support/temp-folder.js";

t.setTimeout(900_000);

/** An ordinary run takes every so many-th point. */
const EVERYDAY = 6;

/** Moment of a push: its n-th request, on its way or answered. */
interface Point {
  readonly at: number;
  readonly when: "before" | "behind";
}

/** A fleet whose one node reaches the store through a proxy, and dies there. */
class Scene {
  readonly #t: Test;
  readonly #fleet: Fleet;
  readonly #proxy: S3Proxy;
  readonly steady: Lakepack;
  readonly work: string;
  mortal: Lakepack;

  private constructor(
    t: Test,
    parts: { fleet: Fleet; proxy: S3Proxy; steady: Lakepack; mortal: Lakepack; work: string },
  ) {
    this.#t = t;
    this.#fleet = parts.fleet;
    this.#proxy = parts.proxy;
    this.steady = parts.steady;
    this.mortal = parts.mortal;
    this.work = parts.work;
  }

  static async begin(t: Test): Promise<Scene> {
    const fleet = await startFleet(t);
    const proxy = await startS3Proxy(t, fleet.s3);
    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", "-b", "main", work]);
    const steady = await fleet.node();
    const mortal = await fleet.node(undefined, { LAKEPACK_S3_ENDPOINT: proxy.endpoint });
    return new Scene(t, { fleet, proxy, steady, mortal, work });
  }

  url(node: Lakepack, name: string): string {
    return `${node.url}/ns/${name}.git`;
  }

  /** Pushes a commit to two refs at once, and answers whether it was acknowledged. */
  async push(node: Lakepack, name: string): Promise<boolean> {
    const refs = ["HEAD:refs/heads/main", "HEAD:refs/heads/copy"];
    const run = await tryGit(["push", "--porcelain", this.url(node, name), ...refs], {
      cwd: this.work,
    });
    return run.code === 0;
  }

  /** Requests of a push that nobody disturbs, until it is acknowledged. */
  async requests(name: string): Promise<readonly S3Call[]> {
    const before = this.#proxy.calls.length;
    this.#t.ok(await this.push(this.mortal, name));
    return this.#proxy.calls.slice(before);
  }

  /** Pushes, and ends the node at that point. Whether the push was acknowledged. */
  async pushAndDie(name: string, { at, when }: Point): Promise<boolean> {
    let count = 0;
    const die = () => this.mortal.kill("SIGKILL");
    this.#proxy.onCall = async () => {
      if (count++ !== at) return undefined;
      if (when === "before") {
        await die();
        return { as: "drop" };
      }
      return { as: "rewrite", answer: (answer) => die().then(() => answer) };
    };
    const isTold = await this.push(this.mortal, name);
    this.#proxy.onCall = () => undefined;
    await die(); // it may have made fewer requests than the one that was counted
    return isTold;
  }

  async revive(): Promise<void> {
    const own = { LAKEPACK_S3_ENDPOINT: this.#proxy.endpoint };
    this.mortal = await this.#fleet.node(this.mortal.data, own);
  }

  /** Ids that the refs of a repository have; none where there is no repository. */
  async shown(node: Lakepack, name: string): Promise<readonly string[]> {
    const run = await tryGit(["ls-remote", this.url(node, name), "refs/heads/*"]);
    if (run.code !== 0) this.#t.match(run.stderr, /not found/, run.stderr);
    return run.stdout
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => line.slice(0, 40));
  }

  async checkWhole(name: string): Promise<void> {
    const copy = join(await tempFolder(this.#t), "copy");
    await git(["clone", "-q", "--mirror", this.url(this.steady, name), copy]);
    await checkFsck(this.#t, copy);
  }

  /** Collects without grace, as nobody pushes; nothing that nobody wants stays. */
  async checkClean(what: string): Promise<void> {
    const where = ["--data", this.steady.data];
    const collected = await lakepack(["gc", "--all", "--grace", "0", ...where], this.#fleet.env);
    this.#t.equal(collected.code, 0, `${what}: ${collected.err}`);
    const verified = await lakepack(["verify", "--all", ...where], this.#fleet.env);
    this.#t.equal(verified.code, 0, `${what}: ${verified.out}${verified.err}`);
    this.#t.same(await leftovers(this.#fleet), [], `${what}: nothing is left over`);
    this.#t.same(
      (await readdir(join(this.mortal.data, "incoming"))).filter((file) => !file.startsWith(".")),
      [],
      `${what}: nothing waits on the node's disk`,
    );
  }
}

function pointsOf(requests: readonly S3Call[]): readonly Point[] {
  return requests.flatMap((_, at) => [
    { at, when: "before" as const },
    { at, when: "behind" as const },
  ]);
}

t.test("at each request of a push of one commit", { skip: skipFleet }, async (t) => {
  const scene = await Scene.begin(t);
  await commit(scene.work, "first", { "a.txt": "first\n" });
  t.ok(await scene.push(scene.mortal, "kill"));
  let old = await commit(scene.work, "second", { "a.txt": "second\n" });
  const requests = await scene.requests("kill");
  t.comment(requests.map(operationOf).join(", "));
  t.ok(requests.some((call) => operationOf(call) === "PutObject"));
  for (const point of someOf(pointsOf(requests), EVERYDAY)) {
    const what = `${point.when} request ${point.at}, ${operationOf(requests[point.at] as S3Call)}`;
    const oid = await commit(scene.work, what, { "a.txt": what, "b.txt": "b\n".repeat(99) });
    const isTold = await scene.pushAndDie("kill", point);
    const there = await scene.shown(scene.steady, "kill");
    t.ok([oid, ...(isTold ? [] : [old])].includes(there[0] as string), `${what}: ${there[0]}`);
    t.same(there, [there[0], there[0]], `${what}: both refs or none`);
    await scene.checkWhole("kill");
    await scene.revive();
    t.same(await scene.shown(scene.mortal, "kill"), there, `${what}: the node that died as well`);
    t.ok(await scene.push(point.at % 2 === 0 ? scene.steady : scene.mortal, "kill"), what);
    t.same(await scene.shown(scene.mortal, "kill"), [oid, oid], `${what}: the push lands then`);
    await scene.checkClean(what);
    await scene.checkWhole("kill");
    old = oid;
  }
});

t.test("at each request of the first push to a name", { skip: skipFleet }, async (t) => {
  const scene = await Scene.begin(t);
  const oid = await commit(scene.work, "first", { "a.txt": "first\n" });
  const requests = await scene.requests("first");
  t.comment(requests.map(operationOf).join(", "));
  for (const point of someOf(pointsOf(requests), EVERYDAY)) {
    const what = `${point.when} request ${point.at}, ${operationOf(requests[point.at] as S3Call)}`;
    const name = `first-${point.at}-${point.when}`;
    const isTold = await scene.pushAndDie(name, point);
    const there = await scene.shown(scene.steady, name);
    if (isTold) t.equal(there.length, 2, `${what}: it was acknowledged`);
    t.same(there, there.length === 0 ? [] : [oid, oid], `${what}: all of it or nothing`);
    await scene.revive();
    t.ok(await scene.push(point.at % 2 === 0 ? scene.steady : scene.mortal, name), what);
    t.same(await scene.shown(scene.mortal, name), [oid, oid], `${what}: the push lands then`);
    t.same((await remoteRefs(scene.url(scene.steady, name))).length, 3, what);
    await scene.checkClean(what);
    await scene.checkWhole(name);
  }
});
