/** What /metrics tells of real traffic: counts that agree with what was done, and no names of repositories. */
import { join } from "node:path";
import t from "tap";
import { skipLakefs, startLakefs } from "../lakefs/servers.js";
import { commit, git, startLakepack, tempFolder, tryGit } from "./harness.js";

type Samples = ReadonlyMap<string, number>;

async function scrape(url: string): Promise<Samples> {
  const response = await fetch(`${url}/metrics`);
  if (response.status !== 200) throw new Error(`/metrics: ${response.status}`);
  const lines = (await response.text()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))]));
}

for (const kind of ["uws", "node"]) {
  t.test(`metrics of pushes and clones over ${kind}`, { timeout: 120_000 }, async (t) => {
    const server = await startLakepack(t, { args: ["--transport", kind] });
    const folder = await tempFolder(t);
    const work = join(folder, "work");
    await git(["init", "-q", work]);
    await commit(work, "one", { "a.txt": "a\n".repeat(1_000), "b/c.txt": "c\n" });
    const url = `${server.url}/secretspace/secretname.git`;
    await git(["push", "-q", url, "main"], { cwd: work });
    await commit(work, "two", { "a.txt": "changed\n" });
    await git(["push", "-q", url, "main"], { cwd: work });
    for (const name of ["one", "two"]) await git(["clone", "-q", url, join(folder, name)]);
    t.not((await tryGit(["clone", "-q", `${server.url}/secretspace/missing.git`, join(folder, "three")])).code, 0);

    const samples = await scrape(server.url);
    const at = (name: string) => samples.get(name);
    t.equal(at('lakepack_requests_total{operation="receive-pack",outcome="ok"}'), 2);
    t.equal(at('lakepack_requests_total{operation="upload-pack",outcome="ok"}'), 4, "ls-refs and fetch of two clones");
    t.equal(at('lakepack_requests_total{operation="advertise",outcome="refused"}'), 1, "the missing repository");
    t.ok((at('lakepack_request_bytes_total{operation="receive-pack",direction="in"}') ?? 0) > 500, "pushed bytes");
    t.ok((at('lakepack_request_bytes_total{operation="upload-pack",direction="out"}') ?? 0) > 500, "fetched bytes");
    t.equal(at('lakepack_request_seconds_count{operation="upload-pack"}'), 4);
    const sent = (at('lakepack_pack_bytes_sent_total{source="stored"}') ?? 0) + (at('lakepack_pack_bytes_sent_total{source="cache"}') ?? 0);
    t.equal(sent, 2 * (at('lakepack_cache_bytes_made_total{kind="pack"}') ?? 0), "made once, sent twice");
    t.equal(at('lakepack_cache_events_total{event="generated"}'), 1);
    t.equal(at('lakepack_cache_events_total{event="hits"}'), 1);
    t.equal(at(`lakepack_transport{kind="${kind}"}`), 1);
    for (const name of ["lakepack_pool_threads", "process_resident_memory_bytes", "process_open_fds", "nodejs_eventloop_lag_p99_seconds"]) t.ok((at(name) ?? -1) >= 0, name);
    t.ok((at('lakepack_pool_tasks_total{state="completed"}') ?? 0) > 0);
    t.notMatch([...samples.keys()].join("\n"), /secret/, "no names in labels");
  });
}

t.test("metrics count the calls to lakeFS, those of pool threads too", { skip: skipLakefs, timeout: 120_000 }, async (t) => {
  const lakefs = await startLakefs(t);
  const { signal } = new AbortController();
  await lakefs.client.createRepository({ name: "counted", storage_namespace: lakefs.namespace("counted"), default_branch: "main" }, signal);
  await lakefs.client.uploadObject("counted", "main", "a.txt", Buffer.from("a\n"), {}, signal);
  await lakefs.client.commit("counted", "main", { message: "one" }, signal);
  const { endpoint, accessKeyId, secretAccessKey } = lakefs.access;
  const server = await startLakepack(t, {
    env: { LAKEPACK_LAKEFS_ENDPOINT: endpoint, LAKEPACK_LAKEFS_ACCESS_KEY_ID: accessKeyId, LAKEPACK_LAKEFS_SECRET_ACCESS_KEY: secretAccessKey },
  });
  await git(["clone", "-q", `${server.url}/lakefs/counted.git`, join(await tempFolder(t), "clone")]);
  const samples = await scrape(server.url);
  const content = samples.get('lakepack_lakefs_calls_total{call="readObject"}');
  t.equal(content, 1, "one content, read in a pool thread");
  t.equal(samples.get('lakepack_lakefs_bytes_in_total{call="readObject"}'), 2);
  t.ok((samples.get('lakepack_lakefs_calls_total{call="listBranches"}') ?? 0) >= 1);
});
