/**
 * Objects that no ref leads to any more are stored still, and nobody gets at them by naming them:
 * not by an id, not by the ref's old name, in no version, by no detour.
 */
import { join } from "node:path";
import t from "tap";
import { commit, git, startLakepack } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { pkts, rawFetch } from "../support/raw-fetch.js";
import { command, EMPTY_PACK, parseReport, postPush } from "../support/raw-push.js";
import { rawRequest } from "../support/raw-client.js";

const ZERO = "0".repeat(40);

for (const kind of ["uws", "node"]) {
  t.test(kind, { timeout: 120_000 }, async (t) => {
    const server = await startLakepack(t, { args: ["--transport", kind] });
    const work = join(await tempFolder(t), "work");
    await git(["init", "-q", work]);
    const tip = await commit(work, "open", {
      "a.txt": "a\n",
      "b.txt": "b\n",
      "open-patterns": "/a.txt\n",
    });
    const url = `${server.url}/ns/target.git`;
    await git(["push", "-q", url, "main"], { cwd: work });
    await git(["checkout", "-q", "-b", "secret"], { cwd: work });
    const secret = await commit(work, "secret", { "secret.txt": "secret\n", patterns: "/b.txt\n" });
    const idOf = (name: string) => git(["rev-parse", name], { cwd: work });
    const [tree, blob, patterns, open] = await Promise.all(
      ["secret^{tree}", "secret:secret.txt", "secret:patterns", "main:open-patterns"].map(idOf),
    );
    await git(["tag", "-a", "-m", "t", "secret-tag", "secret"], { cwd: work });
    await git(["push", "-q", url, "secret", "secret-tag"], { cwd: work });
    await git(["push", "-q", url, "--delete", "secret", "secret-tag"], { cwd: work });
    const tag = await idOf("secret-tag");

    for (const version of [0, 1, 2] as const)
      for (const oid of [secret, tree, blob, tag] as string[]) {
        const body =
          version === 2
            ? pkts("command=fetch", "0001", `want ${oid}`, "done", "0000")
            : pkts(`want ${oid} side-band-64k`, "0000", "done");
        const { lines, pack } = await rawFetch(server, "ns/target", version, body);
        t.match(lines, [/^ERR .*not our ref/], `version ${version}, ${oid}`);
        t.equal(pack.length, 0);
        const beside =
          version === 2
            ? pkts("command=fetch", "0001", `want ${tip}`, `want ${oid}`, "done", "0000")
            : pkts(`want ${tip} side-band-64k`, `want ${oid}`, "0000", "done");
        t.match(
          (await rawFetch(server, "ns/target", version, beside)).lines,
          [/^ERR .*not our ref/],
          `version ${version}, beside one that may be had`,
        );
      }
    const v2 = (...lines: string[]) =>
      rawFetch(server, "ns/target", 2, pkts("command=fetch", "0001", ...lines, "done", "0000"));
    for (const name of ["refs/heads/secret", "refs/tags/secret-tag", "secret"])
      t.match((await v2(`want-ref ${name}`)).lines, [/^ERR /], `want-ref ${name}`);
    t.match(
      (await v2(`want ${tip}`, `deepen-not ${secret}`)).lines,
      [/^ERR /],
      "deepen-not by its id",
    );
    t.match((await v2(`want ${tip}`, "deepen-not refs/heads/secret")).lines, [/^ERR /]);
    for (const spec of [
      patterns,
      `${secret}:patterns`,
      "secret:patterns",
      "refs/heads/secret:patterns",
    ])
      t.match(
        (await v2(`want ${tip}`, `filter sparse:oid=${spec}`)).lines,
        [/^ERR .*no such blob/],
        `patterns ${spec}`,
      );
    for (const spec of [open, `${tip}:open-patterns`, "main:open-patterns"])
      t.match(
        (await v2(`want ${tip}`, `filter sparse:oid=${spec}`)).lines,
        [/^packfile/],
        `open patterns ${spec}`,
      );
    const info = await rawFetch(
      server,
      "ns/target",
      2,
      pkts("command=object-info", "0001", "size", `oid ${blob}`, `oid ${secret}`, "0000"),
    );
    t.same(info.lines, ["size", `${blob} `, `${secret} `, "flush"], "no sizes");
    const names = await rawFetch(
      server,
      "ns/target",
      2,
      pkts("command=ls-refs", "0001", "symrefs", "peel", "ref-prefix refs/heads/secret", "0000"),
    );
    t.same(names.lines, ["flush"]);
    const api = await rawRequest(
      server.port,
      `GET /api/repos/ns/target/commits/${secret} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
    );
    t.match(
      [api.status, api.body.toString()],
      [404, /commit\/missing/],
      "the API knows no such commit",
    );
    const own = parseReport(
      (
        await postPush(
          server,
          "/ns/target.git",
          [
            command(ZERO, tip, "refs/lakefs/x", "report-status"),
            command(ZERO, tip, "refs/lakefs/heads/main"),
          ],
          EMPTY_PACK,
        )
      ).body,
    );
    t.match(
      own.refs,
      [/^ng refs\/lakefs\/x this ref is the server's own/, /^ng refs\/lakefs\/heads\/main /],
      "the server's own names",
    );
    t.same(
      (await git(["ls-remote", url])).split("\n").map((line) => line.split("\t")[1]),
      ["HEAD", "refs/heads/main"],
    );
  });
}
