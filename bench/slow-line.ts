/** A TCP forwarder whose every request is so many milliseconds on its way, as on a longer line. */
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface SlowLine {
  readonly url: string;
  stop(): Promise<void>;
}

export async function startSlowLine(target: string, ms: number): Promise<SlowLine> {
  const { hostname, port } = new URL(target);
  const open = new Set<Socket>();
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ host: hostname, port: Number(port), noDelay: true });
    for (const one of [near, far]) {
      open.add(one);
      one.on("close", () => open.delete(one));
    }
    near.on("error", () => far.destroy());
    far.on("error", () => near.destroy());
    far.pipe(near);
    if (ms === 0) return void near.pipe(far);
    // In order: timers of one length end in the order in which they began.
    near.on("data", (chunk) => setTimeout(() => far.write(chunk), ms));
    near.on("end", () => setTimeout(() => far.end(), ms));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: () => {
      for (const socket of open) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
