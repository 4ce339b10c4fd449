/**
 * The same fetch asked of lakepack and of git http-backend, in both protocols: the same answer, the
 * same objects.
 */
import t, { type Test } from "tap";
import { git, makeSample, startLakepack, startStock, stockRepository } from "../support/harness.js";
import { packFacts, pkts, rawFetch, type RawFetchReply } from "../support/raw-fetch.js";

const REPO = "ns/sample";
const UNKNOWN = "1".repeat(40);

/** The sample on both servers. */
async function servers(t: Test) {
  const sample = await makeSample(t);
  const lakepack = await startLakepack(t);
  await git(["push", "-q", "--mirror", `${lakepack.url}/${REPO}.git`], { cwd: sample });
  const stock = await startStock(t, [
    "uploadpack.allowFilter=true",
    "uploadpack.allowRefInWant=true",
  ]);
  await stockRepository(stock, REPO, sample);
  const rev = (name: string) => git(["rev-parse", name], { cwd: sample });
  return { sample, lakepack, stock, rev, tip: await rev("main") };
}

type Servers = Awaited<ReturnType<typeof servers>>;

const isBoundary = (line: string) => line.startsWith("shallow ");

/** Asks both servers the same; their replies, held against each other. */
async function sameLines(
  t: Test,
  { lakepack, stock }: Servers,
  version: 0 | 2,
  name: string,
  body: string,
): Promise<readonly [RawFetchReply, RawFetchReply]> {
  const ours = await rawFetch(lakepack, REPO, version, body);
  const theirs = await rawFetch(stock, REPO, version, body);
  // A section without a line is one Git sends and gitprotocol-v2(5) does not ask for.
  const rest = (reply: RawFetchReply) =>
    reply.lines
      .filter((line) => !isBoundary(line))
      .join("\n")
      .replace("shallow-info\ndelim\n", "");
  t.same(rest(ours), rest(theirs), `${name}: the same lines`);
  // The order of boundaries means nothing.
  t.same(
    ours.lines.filter(isBoundary).filter((line) => !theirs.lines.includes(line)),
    [],
    `${name}: no boundary stock git has not`,
  );
  return [ours, theirs];
}

/**
 * And the packs hold the same objects. Git also announces boundaries that lie behind others and are
 * not sent: we do not.
 */
async function sameAnswer(t: Test, all: Servers, version: 0 | 2, name: string, body: string) {
  const [ours, theirs] = await sameLines(t, all, version, name, body);
  const facts = await packFacts(t, ours.pack);
  t.same(facts.oids, (await packFacts(t, theirs.pack)).oids, `${name}: the same objects`);
  const sent = theirs.lines
    .filter(isBoundary)
    .filter((line) => facts.oids.includes(line.slice("shallow ".length)));
  t.same(
    ours.lines.filter(isBoundary).sort(),
    sent.sort(),
    `${name}: every boundary that is sent is announced`,
  );
  return { ...ours, ...facts };
}

/**
 * A fetch without haves, in the words of either version. `capabilities` of version 0 are lines in
 * version 2.
 */
function clone(
  version: 0 | 2,
  wants: readonly string[],
  capabilities: readonly string[],
  lines: readonly string[],
): string {
  if (version === 2)
    return pkts(
      "command=fetch",
      "object-format=sha1",
      "0001",
      ...wants.map((oid) => `want ${oid}`),
      ...capabilities,
      ...lines,
      "done",
      "0000",
    );
  const [first = "", ...others] = wants;
  return pkts(
    `want ${first} ${capabilities.join(" ")}`,
    ...others.map((oid) => `want ${oid}`),
    ...lines,
    "0000",
    "done",
  );
}

for (const version of [0, 2] as const) {
  t.test(`version ${version}: clones, whole and of single refs`, { timeout: 60_000 }, async (t) => {
    const all = await servers(t);
    const [side, tag, light] = [
      await all.rev("side"),
      await all.rev("v1.0"),
      await all.rev("light"),
    ];
    await sameAnswer(
      t,
      all,
      version,
      "all",
      clone(version, [all.tip, side, tag], ["ofs-delta"], []),
    );
    await sameAnswer(t, all, version, "a branch", clone(version, [side], ["ofs-delta"], []));
    await sameAnswer(t, all, version, "a tag", clone(version, [tag], ["ofs-delta"], []));
    const tagged = await sameAnswer(
      t,
      all,
      version,
      "include-tag",
      clone(version, [light], ["ofs-delta", "include-tag"], []),
    );
    t.ok(tagged.oids.includes(tag));
    const untagged = await sameAnswer(
      t,
      all,
      version,
      "without include-tag",
      clone(version, [light], ["ofs-delta"], []),
    );
    t.notOk(untagged.oids.includes(tag));
    const plain = await sameAnswer(
      t,
      all,
      version,
      "without ofs-delta",
      clone(version, [all.tip], [], []),
    );
    t.notOk(plain.types.includes(6), "no ofs-delta to who does not read it");
  });

  t.test(`version ${version}: depths`, { timeout: 60_000 }, async (t) => {
    const all = await servers(t);
    for (const depth of [1, 2, 5, 100, 0x7fff_ffff])
      await sameAnswer(
        t,
        all,
        version,
        `depth ${depth}`,
        clone(version, [all.tip], ["ofs-delta"], [`deepen ${depth}`]),
      );
    for (const since of [1_700_000_300, 1_700_000_700, 1_700_000_850])
      await sameAnswer(
        t,
        all,
        version,
        `since ${since}`,
        clone(version, [all.tip], ["ofs-delta"], [`deepen-since ${since}`]),
      );
    for (const not of ["refs/heads/side", "side", "v1.0"])
      if (not !== "v1.0")
        await sameAnswer(
          t,
          all,
          version,
          `not ${not}`,
          clone(version, [all.tip], ["ofs-delta"], [`deepen-not ${not}`]),
        );
    await sameAnswer(
      t,
      all,
      version,
      "since and not",
      clone(version, [all.tip], ["ofs-delta"], ["deepen-since 1700000300", "deepen-not side"]),
    );
  });

  t.test(`version ${version}: filters`, { timeout: 60_000 }, async (t) => {
    const all = await servers(t);
    for (const filter of [
      "blob:none",
      "blob:limit=0",
      "blob:limit=100",
      "blob:limit=1k",
      "tree:0",
      "tree:1",
      "tree:2",
      "tree:9",
      "object:type=commit",
      "object:type=blob",
      "object:type=tree",
      "object:type=tag",
      "combine:blob:limit=100+tree:2",
      "combine:tree:1+blob:none",
    ])
      await sameAnswer(
        t,
        all,
        version,
        filter,
        clone(
          version,
          [all.tip, await all.rev("v1.0")],
          version === 0 ? ["ofs-delta", "filter"] : ["ofs-delta"],
          [`filter ${filter}`],
        ),
      );
    await sameAnswer(
      t,
      all,
      version,
      "with a depth",
      clone(version, [all.tip], version === 0 ? ["ofs-delta", "filter"] : ["ofs-delta"], [
        "deepen 2",
        "filter blob:none",
      ]),
    );
  });

  t.test(`version ${version}: deepening from a boundary`, { timeout: 60_000 }, async (t) => {
    const all = await servers(t);
    const boundary = await all.rev("main~3");
    for (const lines of [["deepen 6"], ["deepen 2147483647"], ["deepen 1"]]) {
      const body = clone(version, [all.tip], ["ofs-delta"], [`shallow ${boundary}`, ...lines]);
      const [ours, theirs] = await sameLines(t, all, version, lines.join(), body);
      t.same(
        ours.lines.filter((line) => line.startsWith("unshallow")),
        theirs.lines.filter((line) => line.startsWith("unshallow")),
      );
    }
  });
}

t.test("version 0: every acknowledgment, in every mode", { timeout: 60_000 }, async (t) => {
  const all = await servers(t);
  const [near, far] = [await all.rev("main~2"), await all.rev("main~9")];
  for (const mode of ["", "multi_ack", "multi_ack_detailed", "multi_ack_detailed no-done"])
    for (const haves of [
      [],
      [UNKNOWN],
      [near],
      [near, UNKNOWN],
      [UNKNOWN, near],
      [far, near],
      [near, far, UNKNOWN],
    ])
      for (const end of ["0000", "done"]) {
        const body = pkts(
          `want ${all.tip} ${mode}`,
          "0000",
          ...haves.map((oid) => `have ${oid}`),
          end,
        );
        const [ours, theirs] = await sameLines(t, all, 0, `${mode} ${haves.length} ${end}`, body);
        t.equal(ours.pack.length > 0, theirs.pack.length > 0, "a pack where stock git sends one");
      }
});

t.test("version 2: acknowledgments, wait-for-done, want-ref", { timeout: 60_000 }, async (t) => {
  const all = await servers(t);
  const [near, far] = [await all.rev("main~2"), await all.rev("main~9")];
  const fetch = (...lines: string[]) =>
    pkts("command=fetch", "object-format=sha1", "0001", ...lines, "0000");
  for (const haves of [[UNKNOWN], [near], [near, UNKNOWN], [far], [far, near]])
    for (const extra of [[], ["wait-for-done"], ["done"]])
      await sameLines(
        t,
        all,
        2,
        `${haves.length} ${extra.join()}`,
        fetch(`want ${all.tip}`, ...haves.map((oid) => `have ${oid}`), ...extra),
      );
  await sameLines(
    t,
    all,
    2,
    "want-ref",
    fetch("want-ref refs/heads/main", "want-ref refs/tags/v1.0", "done"),
  );
  await sameLines(
    t,
    all,
    2,
    "nothing wanted",
    fetch("wait-for-done", `have ${near}`, `have ${UNKNOWN}`),
  );
});
