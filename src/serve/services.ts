/** What the transports ask of the rest: the routes call this and nothing else. */
import type { Operation } from "../observe/metrics.js";
import type { Exchange, Repository } from "./conversation.js";
import type { LfsService } from "./lfs.js";
import type { RepositoryName } from "./repository-name.js";

export type GitService = "upload-pack" | "receive-pack";

export interface Services {
  /** "0.1.0", for the pages a browser sees. */
  readonly version: string;

  /** Undefined: Git LFS is not offered. */
  readonly lfs?: LfsService | undefined;

  /** Throws "repository/missing"; with `toPush` a repository that may be made by a push is not missing. */
  resolve(name: RepositoryName, toPush: boolean, signal: AbortSignal): Promise<Repository>;

  /**
   * Writes the first words of a service: refs in versions 0 and 1, capabilities in version 2. Not the `# service=` line: that
   * is HTTP's. Faults before the first write become an HTTP status.
   */
  advertise(exchange: Exchange, service: GitService): Promise<void>;

  /** Reads a request from `exchange.input` (inflated already) and answers it, in whichever version. Once it has written
   *  something, what goes wrong is told in the protocol (band 3 or ERR); what it throws then cuts the connection. */
  uploadPack(exchange: Exchange): Promise<void>;
  receivePack(exchange: Exchange): Promise<void>;

  /** Full name HEAD points at. */
  head(repository: Repository, signal: AbortSignal): Promise<string>;

  /** Titles ("ns/name", "datasets/ns/name"), sorted, the first `count`. */
  repositories(count: number, signal: AbortSignal): Promise<readonly string[]>;

  /** Undefined: ready to serve; otherwise why not. */
  notReady(): Promise<string | undefined>;

  /** Throws "server/stopping" where no new request is taken any more. */
  checkServing(): void;

  /** lakeFS has told of a change: its heads are read, before anyone asks. Returns at once. */
  lakefsChanged(lakefsRepository: string): void;

  /** What `/metrics` answers. */
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>;

  /** A request has ended; for log and metrics. */
  ended(entry: RequestEnd): void;
}

export interface RequestEnd {
  readonly id: string;
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly remote: string;
  readonly operation: Operation;
  /** As decided; a reply cut later keeps it and has a failure. */
  readonly status: number;
  readonly milliseconds: number;
  /** Of the bodies as they went over the wire. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly failure: unknown;
}
