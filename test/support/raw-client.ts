/** An HTTP client that sends what it is told, byte for byte, and says exactly what came back. */
import { connect, type Socket } from "node:net";

export interface RawResponse {
  readonly status: number;
  /** By lower-case name; several joined by ", ". */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
  /** False: the connection ended before the length or the last chunk. */
  readonly whole: boolean;
}

export class RawClient {
  readonly socket: Socket;
  #received: Buffer[] = [];
  #receivedBytes = 0;
  #ended = false;
  #wake: (() => void)[] = [];

  /** `socket`: connected otherwise than by TCP alone. */
  constructor(port: number, host = "127.0.0.1", socket: Socket = connect({ port, host })) {
    this.socket = socket;
    this.socket.on("data", (chunk: Buffer) => {
      this.#received.push(chunk);
      this.#receivedBytes += chunk.length;
      this.#changed();
    });
    const end = () => {
      this.#ended = true;
      this.#changed();
    };
    this.socket.on("end", end).on("close", end).on("error", end);
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  get ended(): boolean {
    return this.#ended;
  }

  send(bytes: string | Uint8Array): this {
    if (!this.#ended)
      this.socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
    return this;
  }

  /** Resolves when the bytes are handed to the system, or the connection is gone. */
  async sent(bytes: Uint8Array): Promise<void> {
    await new Promise<void>((resolve) => this.socket.write(bytes, () => resolve()));
  }

  close(): void {
    this.socket.destroy();
  }

  /** The next response on this connection; interim ones (100) too. */
  async response(options: { readonly method?: string } = {}): Promise<RawResponse> {
    const text = await this.#until((bytes) => bytes.indexOf("\r\n\r\n"));
    const headEnd = text.indexOf("\r\n\r\n");
    if (headEnd < 0)
      throw new Error(`no response, got ${JSON.stringify(text.toString("latin1").slice(0, 200))}`);
    const [statusLine = "", ...lines] = text.subarray(0, headEnd).toString("latin1").split("\r\n");
    this.#consume(headEnd + 4);
    const headers = new Map<string, string>();
    for (const line of lines) {
      const name = line.slice(0, line.indexOf(":")).toLowerCase();
      const value = line.slice(line.indexOf(":") + 1).trim();
      const before = headers.get(name);
      headers.set(name, before === undefined ? value : `${before}, ${value}`);
    }
    const status = Number(statusLine.split(" ")[1]);
    if (options.method === "HEAD" || status === 204 || status < 200)
      return { status, headers, body: Buffer.alloc(0), whole: true };
    return { status, headers, ...(await this.#body(headers)) };
  }

  async #body(headers: ReadonlyMap<string, string>): Promise<{ body: Buffer; whole: boolean }> {
    if (headers.get("transfer-encoding") === "chunked") return this.#chunked();
    const length = Number(headers.get("content-length") ?? Number.NaN);
    if (Number.isNaN(length)) {
      while (!this.#ended) await this.#change();
      return { body: this.#take(this.#receivedBytes), whole: true };
    }
    while (this.#buffered < length && !this.#ended) await this.#change();
    return {
      body: this.#take(Math.min(length, this.#buffered)),
      whole: this.#buffered >= 0 && this.#taken === length,
    };
  }

  async #chunked(): Promise<{ body: Buffer; whole: boolean }> {
    const parts: Buffer[] = [];
    for (;;) {
      const text = await this.#until((bytes) => bytes.indexOf("\r\n"));
      const lineEnd = text.indexOf("\r\n");
      if (lineEnd < 0) return { body: Buffer.concat(parts), whole: false };
      const size = Number.parseInt(text.subarray(0, lineEnd).toString("latin1"), 16);
      this.#consume(lineEnd + 2);
      while (this.#buffered < size + 2 && !this.#ended) await this.#change();
      if (this.#buffered < size + 2)
        return { body: Buffer.concat([...parts, this.#take(this.#buffered)]), whole: false };
      const part = this.#take(size);
      this.#consume(2);
      if (size === 0) return { body: Buffer.concat(parts), whole: true };
      parts.push(part);
    }
  }

  #taken = 0;

  get #buffered(): number {
    return this.#received.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  #whole(): Buffer {
    if (this.#received.length > 1) this.#received = [Buffer.concat(this.#received)];
    return this.#received[0] ?? Buffer.alloc(0);
  }

  #take(count: number): Buffer {
    const bytes = this.#whole().subarray(0, count);
    this.#taken = bytes.length;
    this.#consume(bytes.length);
    return bytes;
  }

  #consume(count: number): void {
    const whole = this.#whole();
    this.#received = [whole.subarray(count)];
  }

  /** Everything received, once `find` finds something in it or the connection has ended. */
  async #until(find: (bytes: Buffer) => number): Promise<Buffer> {
    while (find(this.#whole()) < 0 && !this.#ended) await this.#change();
    return this.#whole();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#wake.push(resolve));
  }

  #changed(): void {
    for (const resolve of this.#wake.splice(0)) resolve();
  }
}

/** One request on its own connection. */
export async function rawRequest(
  port: number,
  text: string | Uint8Array,
  method?: string,
): Promise<RawResponse> {
  const client = new RawClient(port);
  try {
    client.send(text);
    return await client.response(method === undefined ? {} : { method });
  } finally {
    client.close();
  }
}
