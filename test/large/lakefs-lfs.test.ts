/**
 * LFS through lakeFS where it takes long or is large: an upload of 400 s, and 300 MB that are never
 * held. Only with `npm run test:large`.
 */
import { createHash, randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { rssBytes, RssWatch } from "../../bench/process.js";
import { startLakepack } from "../support/harness.js";
import { emptyRepository, settingsFor } from "../support/lakefs-rig.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";

const MIB = 1024 * 1024;
const MEDIA_TYPE = "application/vnd.git-lfs+json";
/** Beyond what a whole call was once allowed. */
const SLOW_MS = 400_000;
/** Memory of a server while a large file passes; an idle one has some 140 MiB. */
const RSS_MAX = 200 * MIB;

const skip = process.env["TEST_LARGE"] === undefined ? "only with npm run test:large" : skipLakefs;

t.setTimeout(900_000);
t.test("large files over LFS", { skip, timeout: 900_000 }, async (t) => {
  const lakefs = await startLakefs(t);
  const name = await emptyRepository(lakefs, "large");
  const server = await startLakepack(t, { env: settingsFor(lakefs) });
  const base = `${server.url}/lakefs/${name}.git/info/lfs`;

  const actions = async (operation: string, object: { oid: string; size: number }) => {
    const headers = { accept: MEDIA_TYPE, "content-type": MEDIA_TYPE };
    const answer = await fetch(`${base}/objects/batch`, {
      method: "POST",
      headers,
      body: JSON.stringify({ operation, objects: [object] }),
    });
    const { objects } = (await answer.json()) as {
      objects: { actions?: Record<string, { href: string }> }[];
    };
    return objects[0]?.actions;
  };
  const put = async (object: { oid: string; size: number }, body: AsyncIterable<Uint8Array>) => {
    const href = (await actions("upload", object))?.["upload"]?.href as string;
    const init = {
      method: "PUT",
      body,
      duplex: "half",
      headers: { "content-length": String(object.size) },
    };
    return (await fetch(href, init as unknown as RequestInit)).status;
  };

  await t.test("an upload that takes longer than any silence may", async (t) => {
    const parts = Array.from({ length: 400 }, () => randomBytes(1_000));
    const hash = createHash("sha256");
    for (const part of parts) hash.update(part);
    const object = { oid: hash.digest("hex"), size: 400_000 };
    const slowly = async function* () {
      for (const part of parts) {
        yield part;
        await sleep(SLOW_MS / parts.length);
      }
    };
    t.equal(await put(object, slowly()), 200);
    t.ok((await actions("download", object))?.["download"], "it is there");
  });

  await t.test("300 MB up and down", async (t) => {
    const piece = randomBytes(MIB);
    const pieces = async function* () {
      for (let at = 0; at < 300; at++) yield piece;
    };
    const hash = createHash("sha256");
    for await (const part of pieces()) hash.update(part);
    const object = { oid: hash.digest("hex"), size: 300 * MIB };
    const idle = rssBytes([server.pid]);
    const watch = new RssWatch([server.pid]);
    t.equal(await put(object, pieces()), 200);
    const href = (await actions("download", object))?.["download"]?.href as string;
    const back = createHash("sha256");
    for await (const part of (await fetch(href)).body as unknown as AsyncIterable<Uint8Array>)
      back.update(part);
    t.equal(back.digest("hex"), object.oid);
    watch.stop();
    t.comment(`RSS ${Math.round(idle / MIB)} MiB before, ${Math.round(watch.peak / MIB)} at most`);
    t.ok(watch.peak < RSS_MAX);
  });
});
