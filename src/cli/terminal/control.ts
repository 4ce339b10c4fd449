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
  type ControlServices,
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

/** Sends one command and answers its result. */
export type Ask = <K extends ControlCommand>(
  name: K,
  given: ControlArguments<K>,
) => Promise<ControlResult<K>>;

/**
 * Throws what the command throws, "store/locked" where somebody has the folder and does not listen.
 */
export function control<K extends ControlCommand>(
  settings: Settings,
  name: K,
  given: ControlArguments<K>,
): Promise<ControlResult<K>> {
  return controlling(settings, (send) => send(name, given));
}

/**
 * As `control`, for several commands: where no server runs, the folder is opened once for all of
 * them, and nobody else's meanwhile.
 */
export async function controlling<T>(
  settings: Settings,
  work: (send: Ask) => Promise<T>,
): Promise<T> {
  const giveUpAt = Date.now() + LIMITS.controlWaitMs;
  for (;;) {
    const socket = await connected(settings.data);
    if (socket !== undefined) return work(sending(settings, socket));
    const opened = await openHere(settings, Date.now() > giveUpAt);
    if (opened !== undefined) return workHere(opened, work);
    await sleep(LOOK_MS);
  }
}

/** The first command goes over `socket`; a connection carries one. */
function sending(settings: Settings, socket: Socket): Ask {
  let first: Socket | undefined = socket;
  return (name, given) => {
    const own = first;
    first = undefined;
    return own === undefined ? control(settings, name, given) : ask(own, name, given);
  };
}

interface OpenedHere {
  readonly services: ControlServices;
  close(): Promise<void>;
}

/**
 * Undefined: somebody has the folder, and it is not the `last` look. A server that is about to
 * listen, or has just stopped listening, holds the lock.
 */
async function openHere(settings: Settings, last: boolean): Promise<OpenedHere | undefined> {
  const log = createLog(settings.log_level === "info" ? "warn" : settings.log_level); // a person reads this terminal
  const { openData } = await import("../server/server.js"); // all of the engine: not needed where a server runs
  try {
    const { api, accounts, close } = await openData(settings, log, true);
    return { services: { repositories: api, accounts, log }, close };
  } catch (error) {
    if (last || !(error instanceof Fault && error.code === "store/locked")) throw error;
    return undefined;
  }
}

async function workHere<T>(
  { services, close }: OpenedHere,
  work: (send: Ask) => Promise<T>,
): Promise<T> {
  const { signal } = new AbortController();
  try {
    return await work((name, given) => runControl(services, name, given, signal));
  } finally {
    await close();
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
