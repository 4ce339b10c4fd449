/**
 * Commands on a data folder: sent to the server that runs on it, or, where none does, done here
 * under the same lock.
 */
import { connect, type Socket } from "node:net";
import { resolve } from "node:path";
import {
  type ControlArguments,
  type ControlCommand,
  type ControlResult,
  formatControlRequest,
  readControlAnswer,
  runControl,
} from "../../api/control.js";
import { Fault } from "../../base/fault.js";
import { sleep } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { createLog } from "../../observe/log.js";
import { withSocketAddress } from "../../transport/control-socket.js";
import type { Settings } from "../server/settings.js";

/** Between two looks for a server that starts or stops. */
const LOOK_MS = 100;

/**
 * Throws what the command throws, "store/locked" where somebody has the folder and does not listen.
 */
export async function control<K extends ControlCommand>(
  settings: Settings,
  name: K,
  given: ControlArguments<K>,
): Promise<ControlResult<K>> {
  const giveUpAt = Date.now() + LIMITS.controlWaitMs;
  for (;;) {
    const socket = await connected(settings.data);
    if (socket !== undefined) return ask(socket, name, given);
    try {
      return await runHere(settings, name, given);
    } catch (error) {
      // A server that is about to listen, or has just stopped listening, holds the lock.
      if (!(error instanceof Fault && error.code === "store/locked") || Date.now() > giveUpAt)
        throw error;
      await sleep(LOOK_MS);
    }
  }
}

async function runHere<K extends ControlCommand>(
  settings: Settings,
  name: K,
  given: ControlArguments<K>,
): Promise<ControlResult<K>> {
  const log = createLog(settings.log_level === "info" ? "warn" : settings.log_level); // a person reads this terminal
  const { openData } = await import("../server/server.js"); // all of the engine: not needed where a server runs
  const opened = await openData(settings, log);
  try {
    return await runControl(
      { repositories: opened.api, accounts: opened.accounts, log },
      name,
      given,
      new AbortController().signal,
    );
  } finally {
    await opened.close();
  }
}

/** Undefined: nobody listens. */
function connected(data: string): Promise<Socket | undefined> {
  return withSocketAddress(resolve(data), async (address) => {
    const socket = connect(address);
    return new Promise((settle, reject) => {
      socket.once("connect", () => settle(socket));
      socket.once("error", (error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT" || error.code === "ECONNREFUSED") settle(undefined);
        else reject(new Fault("control/failed", { data, reason: error.message }, error));
      });
    });
  });
}

async function ask<K extends ControlCommand>(
  socket: Socket,
  name: K,
  given: ControlArguments<K>,
): Promise<ControlResult<K>> {
  socket.setEncoding("utf8");
  socket.write(`${formatControlRequest(name, given)}\n`);
  let answer = "";
  try {
    for await (const chunk of socket as AsyncIterable<string>) {
      answer += chunk;
      const end = answer.indexOf("\n");
      if (end >= 0) return readControlAnswer(name, answer.slice(0, end));
      if (answer.length > LIMITS.controlAnswerBytesMax)
        throw new Fault("control/failed", {
          command: name,
          controlAnswerBytesMax: LIMITS.controlAnswerBytesMax,
        });
    }
  } catch (error) {
    throw error instanceof Fault
      ? error
      : new Fault("control/failed", { command: name, reason: (error as Error).message }, error);
  } finally {
    socket.destroy();
  }
  throw new Fault("control/failed", {
    command: name,
    reason: "the connection ended before an answer",
  });
}
