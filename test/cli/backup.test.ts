/**
 * Backup and restore: what was acknowledged before a backup began is in it, whatever goes on
 * meanwhile and whenever it is killed.
 */
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, cp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { type Guarded, startGuarded } from "../support/accounts-rig.js";
import { Ledger, Pusher } from "../support/fleet-rig.js";
import { checkFsck, commit, folderOf, git, prefixOf } from "../support/harness.js";
import { lakepack as run } from "../support/lakepack-command.js";
import { tempFolder } from "../support/temp-folder.js";

t.setTimeout(600_000);

const MAIN = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));
const MEDIA = "application/vnd.git-lfs+json";

interface Places {
  readonly server: Guarded;
  readonly data: string;
  readonly folder: string;
  /** A path where nothing is. */
  readonly restored: string;
}

async function begin(t: Test): Promise<Places> {
  const server = await startGuarded(t);
  const place = await tempFolder(t);
  return {
    server,
    data: server.data,
    folder: join(place, "backup"),
    restored: join(place, "restored"),
  };
}

async function good(t: Test, args: readonly string[]): Promise<string> {
  const { code, out, err } = await run(args);
  t.equal(code, 0, `${args.join(" ")}: ${out}${err}`);
  return out;
}

/** Serves what was restored, and gives it to the hands of the caller. */
function serve(t: Test, data: string): Promise<Guarded> {
  return startGuarded(t, { data });
}

async function batch(url: string, operation: string, object: object) {
  const reply = await fetch(`${url}/info/lfs/objects/batch`, {
    method: "POST",
    headers: { "Content-Type": MEDIA, ...authorization(url) },
    body: JSON.stringify({ operation, objects: [object] }),
  });
  const { objects } = (await reply.json()) as {
    objects: readonly { actions?: Record<string, { href: string; header?: object }> }[];
  };
  return objects[0]?.actions;
}

/** Uploads random bytes, and returns them once they were acknowledged. */
async function upload(url: string): Promise<{ readonly oid: string; readonly size: number }> {
  const content = randomBytes(20_000);
  const object = { oid: createHash("sha256").update(content).digest("hex"), size: content.length };
  const to = (await batch(plain(url), "upload", object))?.["upload"];
  const reply = await fetch(to?.href ?? "", {
    method: "PUT",
    body: content,
    headers: { ...to?.header, ...authorization(url) },
  });
  if (!reply.ok) throw new Error(`upload: ${reply.status}`);
  return object;
}

async function download(url: string, object: { oid: string; size: number }): Promise<string> {
  const from = (await batch(url, "download", object))?.["download"];
  if (from === undefined) return "missing";
  const reply = await fetch(from.href, { headers: { ...from.header } });
  return createHash("sha256")
    .update(Buffer.from(await reply.arrayBuffer()))
    .digest("hex");
}
