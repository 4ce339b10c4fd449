/**
 * Clients that are slow and in good faith, on the real process, both front ends, with and without
 * TLS, all side by side: each comes to its end with the right bytes. uWebSockets.js by itself would
 * cut all of them after some 11 s. That our own limits of idleness and of all cut those beyond them
 * is in test/conformance/transport-connections.
 */
import { createHash, randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "node:tls";
import t, { type Test } from "tap";
import { commit, git, type Lakepack, startLakepack, tryGit } from "../support/harness.js";
import { certificate, skipCertificates } from "../support/certificate.js";
import { tempFolder } from "../support/temp-folder.js";
import { pkts } from "../support/raw-fetch.js";
import { command, parseReport } from "../support/raw-push.js";
import { RawClient, type RawResponse } from "../support/raw-client.js";

const MIB = 1024 * 1024;
const STALL_MS = 60_000;

interface Served {
  readonly what: string;
  readonly client: () => RawClient;
  /** SHA-1 of the answer to FETCH. */
  readonly sha: string;
  readonly fetch: string;
  readonly push: { readonly name: string; readonly body: Buffer };
  readonly refs: () => Promise<string>;
}

/** 24 MB that cannot be compressed: more than the system holds for a reader. */
async function served(t: Test, kind: "uws" | "node", tls: boolean): Promise<Served> {
  const folder = await tempFolder(t);
  const env: Record<string, string> = { LAKEPACK_KEEP_ALIVE_SECONDS: "5" };
  if (tls) {
    const { certificate: cert, key } = await certificate(t);
    Object.assign(env, { LAKEPACK_TLS_CERT: cert, LAKEPACK_TLS_KEY: key });
  }
  const lakepack = await startLakepack(t, { args: ["--transport", kind], env });
  const work = join(folder, "work");
  await git(["init", "-q", work]);
  await writeFile(join(work, "large.bin"), randomBytes(24 * MIB));
  const tip = await commit(work, "large", {});
  const url = `${lakepack.url}/ns/target.git`;
  await git(["-c", "http.sslVerify=false", "push", "-q", url, "main"], { cwd: work });
  await writeFile(join(work, "small.bin"), randomBytes(360_000));
  const young = await commit(work, "small", {});
  const pack = (
    await tryGit(["pack-objects", "--stdout", "--revs", "--thin", "-q"], {
      cwd: work,
      input: `${young}\n^${tip}\n`,
    })
  ).stdoutBytes;
  const client = () => connectTo(lakepack, tls);
  const fetch = post(
    "upload-pack",
    Buffer.from(
      pkts("command=fetch", "0001", "no-progress", "ofs-delta", `want ${tip}`, "done", "0000"),
    ),
  );
  const reply = await client().send(fetch).response();
  const push = {
    name: "refs/heads/slow",
    body: Buffer.concat([
      Buffer.from(
        `${command("0".repeat(40), young, "refs/heads/slow", "report-status")}0000`,
        "latin1",
      ),
      pack,
    ]),
  };
  return {
    what: `${kind}${tls ? ", TLS" : ""}`,
    client,
    sha: sha(reply),
    fetch: fetch.toString("latin1"),
    push,
    refs: () => git(["-c", "http.sslVerify=false", "ls-remote", url]),
  };
}

function connectTo({ port }: Lakepack, tls: boolean): RawClient {
  return tls
    ? new RawClient(
        port,
        "127.0.0.1",
        connect({ port, host: "127.0.0.1", rejectUnauthorized: false }),
      )
    : new RawClient(port);
}

function post(service: string, body: Uint8Array): Buffer {
  const head = `POST /ns/target.git/git-${service} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-git-${service}-request\r\nGit-Protocol: version=2\r\nContent-Length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), body]);
}

const sha = ({ body, whole }: RawResponse) =>
  `${whole} ${body.length} ${createHash("sha256").update(body).digest("hex")}`;

/** Reads a megabyte, nothing for a minute, then the rest. */
async function stalls({ client, fetch }: Served): Promise<string> {
  const reader = client().send(fetch);
  let stalled = false;
  reader.socket.on("data", () => {
    if (stalled || reader.receivedBytes < MIB) return;
    stalled = true;
    reader.socket.pause();
    setTimeout(() => reader.socket.resume(), STALL_MS);
  });
  return sha(await reader.response().finally(() => reader.close()));
}

/** Reads at 100 KB/s for so long, then the rest. */
async function sips({ client, fetch }: Served, ms: number): Promise<string> {
  const reader = client().send(fetch);
  const until = performance.now() + ms;
  reader.socket.on("data", (chunk: Buffer) => {
    if (performance.now() > until) return;
    reader.socket.pause();
    setTimeout(() => reader.socket.resume(), chunk.length / 100);
  });
  return sha(await reader.response().finally(() => reader.close()));
}

/** Pushes at 8 KB/s: 45 s. */
async function drips({ client, push, refs }: Served): Promise<string> {
  const bytes = post("receive-pack", push.body);
  const sender = client();
  const started = performance.now();
  for (let at = 0; at < bytes.length && !sender.ended; at += 4_000) {
    sender.send(bytes.subarray(at, at + 4_000));
    await sleep(Math.max(0, started + (at + 4_000) / 8 - performance.now()));
  }
  const { unpack, refs: statuses } = parseReport(
    (await sender.response().finally(() => sender.close())).body,
  );
  const landed = (await refs()).includes(push.name);
  return `unpack ${unpack}, ${statuses.join()}, ${landed ? "there" : "not there"}, ${performance.now() - started > 40_000 ? "over" : "under"} 40 s`;
}

/** Two requests with a pause between them, then nothing: served, and closed in the end. */
async function idles({ client }: Served): Promise<string> {
  const idle = client();
  const healthz = async () =>
    (await idle.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").response()).status;
  const first = await healthz();
  await sleep(3_000);
  const second = await healthz();
  for (let second = 0; second < 75 && !idle.ended; second++) await sleep(1_000);
  idle.close();
  return `${first}, ${second}, ${idle.ended ? "closed" : "open"}`;
}

t.test(
  "readers that stall or sip, senders that drip, connections that idle",
  { timeout: 240_000 },
  async (t) => {
    const rooms: readonly (readonly ["uws" | "node", boolean])[] = [
      ["uws", false],
      ["node", false],
      ...(skipCertificates === false
        ? ([
            ["uws", true],
            ["node", true],
          ] as const)
        : []),
    ];
    const all: Served[] = [];
    for (const [kind, tls] of rooms) all.push(await served(t, kind, tls));
    await Promise.all(
      all.map(async (server) => {
        const [stalled, sipped, dripped, idled] = await Promise.all([
          stalls(server),
          sips(server, 40_000),
          drips(server),
          idles(server),
        ]);
        t.equal(stalled, server.sha, `${server.what}: a reader that stalls for a minute`);
        t.equal(sipped, server.sha, `${server.what}: a reader at 100 KB/s`);
        t.equal(
          dripped,
          "unpack ok, ok refs/heads/slow, there, over 40 s",
          `${server.what}: a sender at 8 KB/s`,
        );
        t.equal(idled, "200, 200, closed", `${server.what}: an idle connection`);
      }),
    );
  },
);
