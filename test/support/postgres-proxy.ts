/**
 * Stands before a real PostgreSQL and passes everything on, until it is told to break connections
 * at a word or to fall silent.
 */
import { connect, createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import type { Test } from "tap";

/** Where a connection breaks: before the server gets the word, or before the client hears of it. */
export type Side = "before" | "after";

export class PostgresProxy {
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #url = "";
  #armed: { readonly word: string; readonly side: Side; readonly then: () => void } | undefined;
  #isSilent = false;

  /** In front of the server of `url`. */
  static async start(t: Pick<Test, "teardown">, url: string): Promise<PostgresProxy> {
    const proxy = new PostgresProxy();
    const target = new URL(url);
    const port = Number(target.port);
    const server = createServer((client) => proxy.#join(client, port));
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    target.port = String((server.address() as AddressInfo).port);
    proxy.#url = target.href;
    t.teardown(() => {
      proxy.cut();
      server.close();
    });
    return proxy;
  }

  /** URL of the same database through here. */
  get url(): string {
    return this.#url;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  /** Breaks the next connection whose client says `word`, once, and then calls `then`. */
  breakAt(word: string, side: Side, then: () => void = () => undefined): void {
    this.#armed = { word, side, then };
  }

  /** Ends all connections, without a last word to either side. */
  cut(): void {
    for (const pair of this.#pairs) this.#end(pair);
  }

  /** Passes nothing on of connections that are there, and ends none of them. */
  silence(isSilent: boolean): void {
    this.#isSilent = isSilent;
  }

  #join(client: Socket, port: number): void {
    const server = connect(port, "127.0.0.1");
    const pair = [client, server] as const;
    this.#pairs.add(pair);
    for (const socket of pair) {
      socket.on("error", () => undefined); // "close" follows
      socket.on("close", () => this.#end(pair));
    }
    let isMuted = false;
    client.on("data", (bytes: Buffer) => {
      if (this.#isSilent) return;
      const armed = this.#armed;
      if (armed === undefined || !bytes.includes(armed.word)) return void server.write(bytes);
      this.#armed = undefined;
      if (armed.side === "after") server.write(bytes);
      isMuted = true;
      const end = () => {
        this.#end(pair);
        armed.then();
      };
      if (armed.side === "before") end();
      else server.once("data", end);
    });
    server.on("data", (bytes: Buffer) => {
      if (!isMuted && !this.#isSilent) client.write(bytes);
    });
  }

  #end(pair: readonly [Socket, Socket]): void {
    for (const socket of pair) socket.destroy();
    this.#pairs.delete(pair);
  }
}
