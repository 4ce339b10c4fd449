/**
 * A push that stops in the middle of its pack until told to go on: what happens meanwhile, happens
 * to a push under way.
 */
import type { Test } from "tap";
import { RawClient } from "./raw-client.js";
import { tryGit, type Lakepack } from "./harness.js";
import { command, parseReport } from "./raw-push.js";

export interface SlowPush {
  /**
   * Name and report of each ref, "ok refs/heads/main" or "ng refs/heads/main why", behind "unpack
   * ok".
   */
  readonly unpack: string;
  readonly refs: readonly string[];
}

export interface SlowPushOptions {
  readonly work: string;
  readonly repository: string;
  readonly token?: string | undefined;
  /** Refs to make, at this commit. */
  readonly refs: readonly string[];
  readonly oid: string;
  /** While the server has half of the pack. */
  readonly between: () => Promise<unknown>;
}

const ZERO = "0".repeat(40);

export async function slowPush(
  t: Test,
  server: Lakepack,
  { work, repository, token, refs, oid, between }: SlowPushOptions,
): Promise<SlowPush> {
  const pack = (
    await tryGit(["pack-objects", "--revs", "--stdout", "-q"], { cwd: work, input: `${oid}\n` })
  ).stdoutBytes;
  const lines = refs.map((name, at) =>
    command(ZERO, oid, name, at === 0 ? "report-status" : undefined),
  );
  const body = Buffer.concat([Buffer.from(`${lines.join("")}0000`, "latin1"), pack]);
  const authorization = token === undefined ? "" : `Authorization: Bearer ${token}\r\n`;
  const type = "Content-Type: application/x-git-receive-pack-request\r\n";
  const head = `POST /${repository}.git/git-receive-pack HTTP/1.1\r\nHost: localhost\r\n${authorization}${type}Content-Length: ${body.length}\r\n\r\n`;
  const client = new RawClient(server.port).send(head);
  t.teardown(() => client.close());
  const half = body.length - Math.floor(pack.length / 2);
  await client.sent(body.subarray(0, half));
  await new Promise((wake) => setTimeout(wake, 300)); // it has been let in by then
  await between();
  client.send(body.subarray(half));
  const reply = await client.response();
  if (reply.status !== 200)
    return { unpack: `HTTP ${reply.status} ${reply.body.toString()}`, refs: [] };
  return parseReport(reply.body);
}
