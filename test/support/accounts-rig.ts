/**
 * A lakepack whose callers sign in: users, tokens and grants made through its control socket, and
 * git that shows them.
 */
import { createConnection } from "node:net";
import { join } from "node:path";
import type { Test } from "tap";
import {
  type ControlArguments,
  type ControlCommand,
  type ControlResult,
  formatControlRequest,
  readControlAnswer,
} from "../../src/api/control.js";
import type { Role } from "../../src/auth/caller.js";
import { type Lakepack, type LakepackOptions, startLakepack } from "./harness.js";

export interface Guarded extends Lakepack {
  /** Token of the administrator that the first start makes. */
  readonly adminToken: string;
  command<K extends ControlCommand>(name: K, given: ControlArguments<K>): Promise<ControlResult<K>>;
  /** A new user's token. */
  user(name: string, more?: { readonly admin?: boolean; readonly scope?: Role }): Promise<string>;
  token(user: string, scope?: Role, expires?: string | null): Promise<string>;
  /** Address of a repository, with a token as the password. */
  at(repository: string, token?: string): string;
}

export async function startGuarded(t: Test, options: LakepackOptions = {}): Promise<Guarded> {
  const server = await startLakepack(t, {
    ...options,
    env: { LAKEPACK_AUTH: "token", ...options.env },
  });
  const command = <K extends ControlCommand>(name: K, given: ControlArguments<K>) =>
    send(server.data, name, given);
  const token = async (user: string, scope: Role = "write", expires: string | null = null) =>
    (await command("token.create", { user, scope, label: "", expires })).token;
  return {
    ...server,
    adminToken: /lpk_[a-z2-7]{32}/.exec(server.out())?.[0] ?? "",
    command,
    token,
    async user(name, { admin = false, scope } = {}) {
      await command("user.create", { name, admin });
      return token(name, scope ?? (admin ? "admin" : "write"));
    },
    at: (repository, shown) =>
      `${shown === undefined ? server.url : server.url.replace("://", `://git:${shown}@`)}/${repository}.git`,
  };
}

function send<K extends ControlCommand>(
  data: string,
  name: K,
  given: ControlArguments<K>,
): Promise<ControlResult<K>> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(join(data, "control.sock"));
    let answer = "";
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("the server went before it answered"))); // behind an answer it does nothing
    socket.on("data", (chunk) => {
      answer += String(chunk);
      if (!answer.endsWith("\n")) return;
      socket.end();
      try {
        resolve(readControlAnswer(name, answer.trimEnd()));
      } catch (error) {
        reject(error as Error);
      }
    });
    socket.write(`${formatControlRequest(name, given)}\n`);
  });
}
