/**
 * isomorphic-git: version 0 in both directions, no User-Agent, no Accept; the client of browsers
 * and hub web pages.
 */
import * as fs from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as client from "isomorphic-git";
import http from "isomorphic-git/http/node";
import t, { type Test } from "tap";
import { frontEnds } from "../support/everyday.js";
import { loadTransport } from "../../src/transport/load.js";
import {
  checkFsck,
  commit,
  git,
  makeSample,
  objectSet,
  remoteRefs,
  startLakepack,
  startStock,
  stockRepository,
} from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";

const AUTHOR = {
  name: "A U Thor",
  email: "author@example.com",
  timestamp: 1_700_000_000,
  timezoneOffset: 0,
};

/** A repository of isomorphic-git's own making. */
async function made(t: Test): Promise<string> {
  const dir = join(await tempFolder(t), "made");
  await client.init({ fs, dir, defaultBranch: "main" });
  for (let at = 0; at < 3; at++) await committed(dir, `file-${at}.txt`, `${at}\n`.repeat(1_000));
  return dir;
}

async function committed(dir: string, filepath: string, content: string): Promise<string> {
  await mkdir(join(dir, filepath, ".."), { recursive: true });
  await writeFile(join(dir, filepath), content);
  await client.add({ fs, dir, filepath });
  return client.commit({ fs, dir, message: `add ${filepath}\n`, author: AUTHOR });
}

for (const kind of frontEnds) {
  if ((await loadTransport(kind).catch(() => undefined)) === undefined) {
    t.pass(`${kind} skipped`, { skip: "uWebSockets.js does not load on this machine" });
    continue;
  }

  t.test(`${kind}: it pushes, and creates the repository`, { timeout: 60_000 }, async (t) => {
    const lakepack = await startLakepack(t, { args: ["--transport", kind] });
    const dir = await made(t);
    const url = `${lakepack.url}/web/made.git`;
    const messages: string[] = [];
    const result = await client.push({
      fs,
      http,
      dir,
      url,
      ref: "main",
      onMessage: (text) => void messages.push(text),
    });
    t.match(result, { ok: true, refs: { "refs/heads/main": { ok: true } } });
    t.match(messages.join(""), "created web/made");
    const next = await committed(dir, "more/deep.txt", "more\n");
    t.ok((await client.push({ fs, http, dir, url, ref: "main" })).ok, "a second push on top");
    t.ok(
      (await client.push({ fs, http, dir, url, ref: "main", remoteRef: "refs/heads/other" })).ok,
      "to another name",
    );
    t.same(await remoteRefs(url), [
      `${next}\tHEAD`,
      `${next}\trefs/heads/main`,
      `${next}\trefs/heads/other`,
    ]);
    t.ok(
      (await client.push({ fs, http, dir, url, remoteRef: "refs/heads/other", delete: true })).ok,
      "a delete",
    );
    const copy = join(await tempFolder(t), "copy");
    await git(["clone", "-q", url, copy]);
    await checkFsck(t, copy);
    t.same(await objectSet(copy), await objectSet(dir));
  });

  t.test(`${kind}: a refused push says which ref and why`, { timeout: 60_000 }, async (t) => {
    const lakepack = await startLakepack(t, {
      args: ["--transport", kind, "--deny-non-fast-forwards", "true"],
    });
    const url = `${lakepack.url}/web/refused.git`;
    const [first, second] = [await made(t), await made(t)];
    await client.push({ fs, http, dir: first, url, ref: "main" });
    await committed(first, "ahead.txt", "ahead\n");
    await client.push({ fs, http, dir: first, url, ref: "main" });
    await committed(second, "aside.txt", "aside\n");
    const refused = client.push({ fs, http, dir: second, url, ref: "main", force: true });
    const error = await refused.then(
      () => undefined,
      (reason: Error) => reason,
    );
    t.match(String(error), /refs\/heads\/main.*non-fast-forward/s);
  });

  t.test(
    `${kind}: it clones what stock git pushed: whole, shallow, single branch, and fetches on`,
    { timeout: 60_000 },
    async (t) => {
      const lakepack = await startLakepack(t, { args: ["--transport", kind] });
      const sample = await makeSample(t);
      const url = `${lakepack.url}/ns/sample.git`;
      await git(["push", "-q", "--mirror", url], { cwd: sample });
      const dir = join(await tempFolder(t), "whole");
      await client.clone({ fs, http, dir, url, noCheckout: true });
      await checkFsck(t, dir);
      t.equal(
        await client.resolveRef({ fs, dir, ref: "refs/heads/main" }),
        await git(["rev-parse", "main"], { cwd: sample }),
      );
      t.same(await objectSet(dir), await objectSet(sample));

      const stock = await startStock(t);
      await stockRepository(stock, "ns/sample", sample);
      for (const options of [
        { depth: 1, singleBranch: true },
        { depth: 3, singleBranch: true },
        { ref: "side", singleBranch: true },
        { since: new Date(1_700_000_300_000), singleBranch: true },
      ]) {
        const [ours, theirs] = [
          join(await tempFolder(t), "ours"),
          join(await tempFolder(t), "theirs"),
        ];
        await client.clone({ fs, http, dir: ours, url, noCheckout: true, ...options });
        await client.clone({
          fs,
          http,
          dir: theirs,
          url: `${stock.url}/ns/sample.git`,
          noCheckout: true,
          ...options,
        });
        t.same(
          await objectSet(ours),
          await objectSet(theirs),
          `the objects stock git sends: ${JSON.stringify(options)}`,
        );
      }

      const next = await commit(sample, "one more", { "new.txt": "new\n" });
      await git(["push", "-q", url, "main"], { cwd: sample });
      await client.fetch({ fs, http, dir, url, ref: "main" });
      t.equal(await client.resolveRef({ fs, dir, ref: "refs/remotes/origin/main" }), next);
      await checkFsck(t, dir);
      const refs = await client.listServerRefs({
        http,
        url,
        prefix: "refs/tags/",
        symrefs: true,
        peelTags: true,
      });
      t.ok(
        refs.some((ref) => ref.ref === "refs/tags/v1.0"),
        "version 2 ls-refs, the one place where it speaks it",
      );
    },
  );
}
