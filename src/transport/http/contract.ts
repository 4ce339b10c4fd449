/**
 * The contract of the HTTP front end: what a request looks like to the routes and how a reply
 * leaves. uws.ts (uWebSockets.js) and node.ts (node:http) implement it and pass
 * test/conformance/transport.
 */
import type { ByteSink, ByteSource } from "../../base/flow.js";
import type { TlsFiles } from "./tls.js";

export interface HttpRequest {
  /** Made by us; the client sees it on errors, the log carries it. */
  readonly id: string;
  readonly method: string;
  /** Path as sent: not decoded, without the query. */
  readonly path: string;
  /** The query behind "?", not decoded; "" if there is none. */
  readonly query: string;
  /** Value of a header by lower-case name; several are joined by ", ". */
  header(name: string): string | undefined;
  /** Lower-case names of all headers. */
  headerNames(): Iterable<string>;
  /** Peer address as text, "" if unknown. */
  readonly remote: string;
  /**
   * The body as it arrives, not decompressed. Not reading is back-pressure. Ends with a Fault when
   * it ends early.
   */
  readonly body: ByteSource;
  /** Aborts when the client has gone, or the idle or total limit is over. */
  readonly signal: AbortSignal;
}

export interface HttpReply {
  readonly status: number;
  /**
   * Names as they should appear. Content-Length, Transfer-Encoding, Connection and Date belong to
   * the transport.
   */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /**
   * Bytes, or a writer that streams; it runs once, after the head is decided. An exception of it
   * before the head has left becomes an error reply; after that it cuts the connection, so that
   * nobody takes a part for the whole.
   */
  readonly body: Uint8Array | ((sink: ByteSink) => Promise<void>);
  /**
   * The client thinks before it asks again: it looks for credentials, or makes a pack. A front end
   * that cuts idle connections early ends this one with the reply, since some clients (libgit2)
   * write their next request into a connection that is dead by then.
   */
  readonly clientThinks?: boolean;
}

export interface HttpHandler {
  (request: HttpRequest): Promise<HttpReply>;
  /**
   * Hears of a request that it is not asked to answer, since nobody could say where it ends;
   * `reply` is what was said.
   */
  readonly refused?: (request: HttpRequest, reply: HttpReply, fault: unknown) => void;
}

export interface HttpListener {
  readonly kind: "uws" | "node";
  readonly host: string;
  readonly port: number;
  /** Stops accepting, waits up to `graceMs` for running requests, then cuts them. */
  close(graceMs: number): Promise<void>;
}

export interface HttpListenOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly handler: HttpHandler;
  /** Absent: plain HTTP. Throws "settings/bad-value" where they cannot be used. */
  readonly tls?: TlsFiles;
  /** Other times than LIMITS has. */
  readonly times?: Partial<HttpTimes>;
  /** Absent: any number of connections from anywhere. */
  readonly connections?: ConnectionLimit;
  /**
   * Milliseconds that a connection is kept between two requests, where the front end lets us say:
   * node:http.
   */
  readonly keepAliveMs?: number;
  /** Folder for bodies that come faster than they are read. Absent: the system's folder. */
  readonly overflowFolder?: string;
}

export interface ConnectionLimit {
  /** Connections of one address at once. */
  readonly max: number;
  /** Addresses that stand for many: proxies that are trusted. */
  readonly exempts: (address: string) => boolean;
}

/** Times of a connection, in milliseconds; LIMITS has each with its reason. */
export interface HttpTimes {
  /** A client that neither sends nor takes a byte while we wait for it is cut. */
  readonly idleMs: number;
  /** A request of which nothing passes, in either direction, whoever's turn it is. */
  readonly silentMs: number;
  /** A body that comes behind its reply, where the front end lets us say: node:http. */
  readonly unreadBodyMs: number;
  /** A reply of unknown size is held back at most so long. */
  readonly holdMs: number;
  /**
   * A reply is cut that, over so long, left more slowly than `rateBytesMin` a second while we
   * waited for the client.
   */
  readonly rateWindowMs: number;
  readonly rateBytesMin: number;
  /** The same of a body that we wait for. */
  readonly bodyRateBytesMin: number;
  /** Milliseconds between two looks at connections. */
  readonly tickMs: number;
}

export interface HttpTransport {
  readonly kind: "uws" | "node";
  listen(options: HttpListenOptions): Promise<HttpListener>;
}
