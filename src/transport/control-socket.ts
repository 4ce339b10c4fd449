/**
 * The control socket: a Unix socket in the data folder that only its owner can open (0600), through
 * which commands reach the server that runs on that folder. Lines of JSON (api/control), one
 * answered after the other.
 */
import { open, unlink } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { dirname, join } from "node:path";
import { answerControl, type ControlServices } from "../api/control.js";
import { asFault, Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";

export interface ControlListener {
  /** Takes no more commands, cuts those that run, and removes the socket. */
  close(): Promise<void>;
}

const SOCKET_NAME = "control.sock";
/** sockaddr_un holds 108 bytes on Linux and 104 elsewhere, the NUL at the end included. */
const ADDRESS_BYTES_MAX = 103;
/** Nobody but the owner may open what is made under this. */
const OWNER_ONLY = 0o177;

/**
 * Runs `use` with an address for the data folder's socket: its path, or where that is longer than
 * an address can be, the same through an open folder (Linux only; elsewhere such a path is refused
 * by the system).
 */
export async function withSocketAddress<T>(
  data: string,
  use: (address: string) => Promise<T>,
): Promise<T> {
  const path = join(data, SOCKET_NAME);
  if (Buffer.byteLength(path) <= ADDRESS_BYTES_MAX || process.platform !== "linux")
    return use(path);
  const folder = await open(dirname(path), "r");
  try {
    return await use(`/proc/self/fd/${folder.fd}/${SOCKET_NAME}`);
  } finally {
    await folder.close();
  }
}

/**
 * Listens in `data`, of which the caller holds the lock: a socket that is there already was left by
 * a crash.
 */
export async function listenControl(
  data: string,
  services: ControlServices,
): Promise<ControlListener> {
  const path = join(data, SOCKET_NAME);
  await remove(path);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    void converse(socket, services);
  });
  server.maxConnections = LIMITS.controlConnectionsMax;
  await withSocketAddress(data, (address) => listen(server, address));
  return {
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
      await remove(path); // Node.js removes only what it listened at by that very name
    },
  };
}

function listen(server: Server, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const before = process.umask(OWNER_ONLY); // a chmod afterwards would leave a moment in which others may connect
    try {
      server.once("error", reject);
      server.listen(address, () => {
        server.removeListener("error", reject);
        resolve();
      });
    } finally {
      process.umask(before);
    }
  });
}

async function converse(socket: Socket, services: ControlServices): Promise<void> {
  const abort = new AbortController();
  socket.once("close", () => abort.abort(new Fault("base/aborted")));
  socket.on("error", () => socket.destroy());
  socket.setTimeout(LIMITS.connectionIdleMs, () => socket.destroy());
  try {
    for await (const line of lines(socket)) {
      socket.setTimeout(0); // some commands take long
      socket.write(`${await answerControl(services, line, abort.signal)}\n`);
      socket.setTimeout(LIMITS.connectionIdleMs);
    }
    socket.end();
  } catch (error) {
    services.log.info("a control connection broke off", { reason: asFault(error).message });
    socket.destroy();
  }
}

/** Lines as they arrive, without their LF. Throws "wire/too-much". */
async function* lines(socket: Socket): AsyncGenerator<string, void, undefined> {
  let rest = "";
  socket.setEncoding("utf8");
  for await (const chunk of socket as AsyncIterable<string>) {
    rest += chunk;
    for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n")) {
      yield rest.slice(0, end);
      rest = rest.slice(end + 1);
    }
    if (rest.length > LIMITS.controlRequestBytesMax)
      throw new Fault("wire/too-much", { controlRequestBytesMax: LIMITS.controlRequestBytesMax });
  }
}

async function remove(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
}
