/** What the transports ask of the rest: the routes call this and nothing else. */
import type { Caller } from "../auth/caller.js";
import type { LogFacts } from "../observe/log.js";
import type { Operation } from "../observe/metrics.js";
import type { Exchange, Repository } from "./conversation/conversation.js";
import type { LinkHolder } from "../lfs/proof.js";
import type { Begun, Wants } from "./repositories/door.js";
import type { LfsService } from "./lfs/lfs.js";
import type { Ready } from "./readiness.js";
import type { RepositoryName } from "./conversation/repository-name.js";

export type GitService = "upload-pack" | "receive-pack";

export interface Services {
  /** "0.1.0", for the pages a browser sees. */
  readonly version: string;

  /** Undefined: Git LFS is not offered. */
  readonly lfs?: LfsService | undefined;

  /**
   * Who shows these credentials. `source`: the address it comes from. Throws "auth/failed",
   * "auth/throttled".
   */
  identify(authorization: string | undefined, source: string, signal: AbortSignal): Promise<Caller>;

  /**
   * Throws "auth/required", "auth/forbidden", "repository/missing"; to write, a repository that the
   * caller may make by a push is not missing.
   */
  resolve(
    name: RepositoryName,
    caller: Caller,
    wants: Wants,
    signal: AbortSignal,
  ): Promise<Repository>;

  /** Whom a link that `lfs` has admitted stands for. Throws "lfs/link-ended", "lfs/proof". */
  bearerOf(holder: LinkHolder): Promise<Caller>;

  /** As `resolve`, for such a link's holder. Throws "lfs/link-ended" too. */
  resolveLinked(
    name: RepositoryName,
    bearer: Caller,
    wants: Wants,
    signal: AbortSignal,
  ): Promise<Repository>;

  /** Whether a caller may still do what he began: throws why not, in words that say so. */
  stillMay(begun: Begun, signal: AbortSignal): Promise<void>;

  /** Notes a repository that this request makes, before anything of it is stored. */
  created(repository: Repository): Promise<void>;

  /**
   * Writes the first words of a service: refs in versions 0 and 1, capabilities in version 2. Not
   * the `# service=` line: that is HTTP's. Faults before the first write become an HTTP status.
   */
  advertise(exchange: Exchange, service: GitService): Promise<void>;

  /**
   * Reads a request from `exchange.input` (inflated already) and answers it, in whichever version.
   * Once it has written something, what goes wrong is told in the protocol (band 3 or ERR); what it
   * throws then cuts the connection.
   */
  uploadPack(exchange: Exchange): Promise<void>;
  receivePack(exchange: Exchange): Promise<void>;

  /** Full name HEAD points at. */
  head(repository: Repository, signal: AbortSignal): Promise<string>;

  /**
   * Titles ("ns/name", "datasets/ns/name") of those the caller may read, sorted, the first `count`.
   */
  repositories(count: number, caller: Caller): Promise<readonly string[]>;

  /**
   * Which lakeFS is there and whether it answers, a line; its address for administrators alone.
   * Undefined: none is set.
   */
  lakefs?(caller: Caller): Promise<string | undefined>;

  /** Whether requests should come here. */
  readiness(): Promise<Ready>;

  /** Throws "server/stopping" where no new request is taken any more. */
  checkServing(): void;

  /** lakeFS has told of a change: its heads are read, before anyone asks. Returns at once. */
  lakefsChanged(lakefsRepository: string): void;

  /** What `/metrics` answers. Throws "auth/required", "auth/forbidden". */
  metrics(caller: Caller): Promise<{ readonly contentType: string; readonly text: string }>;

  /** A request has ended; for log and metrics. */
  ended(entry: RequestEnd): void;
}

export interface RequestEnd {
  readonly id: string;
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly remote: string;
  /**
   * Who asked: "user ada"; "anonymous"; undefined: nobody was asked (`auth: none`, a health check,
   * a link).
   */
  readonly caller: string | undefined;
  readonly operation: Operation;
  /**
   * As decided; a reply cut later, or one that tells of a failure in the protocol, keeps it and has
   * a failure.
   */
  readonly status: number;
  readonly milliseconds: number;
  /** Of the bodies as they went over the wire. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly failure: unknown;
  /** What those who answered added for the log. */
  readonly noted: LogFacts;
}
