/**
 * The conversations of one server: the routes call this, and the door to the repositories beside it
 * (repositories/door.ts), and nothing else.
 */
import type { Caller } from "../auth/caller.js";
import { asFault, Fault } from "../base/fault.js";
import { faultFacts, type Log, type LogFacts } from "../observe/log.js";
import type { Metrics, Operation, Outcome } from "../observe/metrics.js";
import type { PackTables } from "../odb/packs/tables.js";
import type { Pool } from "../pool/task.js";
import { refAdvertisement } from "../wire/advertise.js";
import type { Offer } from "../wire/capabilities.js";
import { errorPacket } from "../wire/pkt-line.js";
import type { Exchange, Repository } from "./conversation/conversation.js";
import { checkAdministrator, type Door, isAdministrator } from "./repositories/door.js";
import type { LakefsLook } from "./repositories/lakefs-look.js";
import type { LfsService } from "./lfs/lfs.js";
import type { PushPolicy } from "./conversation/push-policy.js";
import type { Readiness, Ready } from "./readiness.js";
import { receivePack } from "./push/receive-pack.js";
import type { Repositories } from "./repositories/repositories.js";
import { tell } from "./conversation/request-record.js";
import { tracedExchange } from "./conversation/packet-trace.js";
import type { BundleLinks, LinkedBundle } from "./fetch/bundle-links.js";
import { type BundleReader, openBundle } from "./fetch/open-bundle.js";
import { advertiseUploadPack, type UploadPackDeps, uploadPack } from "./fetch/upload-pack.js";

export type GitService = "upload-pack" | "receive-pack";

export interface RequestEnd {
  readonly id: string;
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly remote: string;
  /**
   * The caller: "user ada"; "anonymous"; undefined: nobody was asked (`auth: none`, a health check,
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
  /** Bytes of the bodies as they went over the wire. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly failure: unknown;
  /** Facts for the log from those who answered. */
  readonly noted: LogFacts;
}

export interface ServerOptions {
  readonly version: string;
  readonly repositories: Pick<Repositories, "lakefsChanged">;
  readonly door: Pick<Door, "created">;
  readonly pool: Pool;
  readonly tables: PackTables;
  readonly policy: PushPolicy;
  /** Capabilities offered where the repository itself does not forbid them. */
  readonly offer: Offer;
  readonly log: Log;
  readonly fetch: UploadPackDeps;
  readonly lfs?: LfsService;
  readonly metrics: Metrics;
  readonly readiness: Pick<Readiness, "look">;
  /** Undefined: no lakeFS is set. */
  readonly lakefs?: Pick<LakefsLook, "endpoint" | "look"> | undefined;
}

export class GitServer {
  /** "0.1.0", for the pages a browser sees. */
  readonly version: string;
  /** Undefined: Git LFS is not offered. */
  readonly lfs: LfsService | undefined;
  readonly #options: ServerOptions;
  #phase: "serving" | "draining" | "stopping" = "serving";

  constructor(options: ServerOptions) {
    this.version = options.version;
    this.lfs = options.lfs;
    this.#options = options;
  }

  /**
   * Writes the first words of a service: refs in versions 0 and 1, capabilities in version 2. Not
   * the `# service=` line: that is HTTP's. A reading of lakeFS that is still to be done is told in
   * the protocol, in its promised form; other faults before the first byte become a status.
   */
  async advertise(given: Exchange, service: GitService): Promise<void> {
    const exchange = tracedExchange(given, service, this.#options.log);
    try {
      await this.#advertise(exchange, service);
    } catch (error) {
      const fault = asFault(error);
      if (fault.code !== "lakefs/reading") throw fault;
      exchange.request.note(fault.facts);
      await exchange.output.write(errorPacket(tell(exchange.request, fault)));
    }
  }

  async #advertise(exchange: Exchange, service: GitService): Promise<void> {
    if (service === "upload-pack") return advertiseUploadPack(exchange, this.#options.fetch);
    const listing = await exchange.repository.refs.read(exchange.signal);
    const version = exchange.version === 1 ? 1 : 0;
    // There is no version 2 push: who asks for it gets version 0, as from Git.
    const offer = this.#offerOf(exchange.repository);
    await this.#options.fetch.answers.write(
      exchange.output,
      listing,
      `receive-pack ${version}`,
      () => refAdvertisement({ ...listing, service: "receive-pack", version, offer }),
    );
  }

  /**
   * Reads a request from `exchange.input` (inflated already) and answers it, in whichever version.
   * Once it has written something, what goes wrong is told in the protocol (band 3 or ERR); what it
   * throws then cuts the connection.
   */
  uploadPack(exchange: Exchange): Promise<void> {
    const traced = tracedExchange(exchange, "upload-pack", this.#options.log);
    return uploadPack(traced, { ...this.#options.fetch, pool: this.#poolFor(exchange) });
  }

  /** As `uploadPack`. */
  async receivePack(exchange: Exchange): Promise<void> {
    const pool = this.#poolFor(exchange);
    pool.checkRoom(); // the client is told to come again before it has sent its pack
    const traced = tracedExchange(exchange, "receive-pack", this.#options.log);
    const created = (repository: Repository) => this.#options.door.created(repository);
    return receivePack(traced, {
      ...this.#options,
      pool,
      created,
      offer: this.#offerOf(exchange.repository),
    });
  }

  /** Undefined: none are offered. */
  get bundleLinks(): BundleLinks | undefined {
    return this.#options.fetch.bundles?.links;
  }

  /** Opens a bundle for the holder of a link; `share`: his part of the pool. As `openBundle`. */
  openBundle(
    repository: Repository,
    bundle: LinkedBundle,
    { share, signal }: { readonly share: string; readonly signal: AbortSignal },
  ): Promise<BundleReader> {
    const pool = this.#options.pool.sharedBy({ repository: repository.id, caller: share });
    return openBundle(repository, { ...this.#options.fetch, pool }, bundle, signal);
  }

  #poolFor({ repository, caller }: Exchange): Pool {
    return this.#options.pool.sharedBy({ repository: repository.id, caller });
  }

  #offerOf({ atomic }: Repository): Offer {
    const { offer } = this.#options;
    return { ...offer, atomic: offer.atomic && atomic };
  }

  /** Full name HEAD points at. */
  async head(repository: Repository, signal: AbortSignal): Promise<string> {
    return (await repository.refs.read(signal)).head;
  }

  /**
   * Tells in a line which lakeFS is there and whether it answers; its address for administrators
   * alone. Undefined: none is set.
   */
  async lakefs(caller: Caller): Promise<string | undefined> {
    const { lakefs } = this.#options;
    if (lakefs === undefined) return undefined;
    const { says } = await lakefs.look();
    return isAdministrator(caller) ? `${says}: ${lakefs.endpoint}` : says;
  }

  /** Tells whether requests should come here. */
  async readiness(): Promise<Ready> {
    return this.#phase === "serving"
      ? this.#options.readiness.look()
      : { refusal: this.#phase, warnings: [] };
  }

  /** Throws "server/stopping" where no new request is taken any more. */
  checkServing(): void {
    if (this.#phase === "stopping") throw new Fault("server/stopping");
  }

  /**
   * From here on `/readyz` says no, so that a balancer sends nobody; who comes all the same is
   * served.
   */
  drain(): void {
    this.#phase = "draining";
  }

  /** From here on no new request is taken; running ones go on. */
  stop(): void {
    this.#phase = "stopping";
  }

  /** lakeFS has told of a change: its heads are read, before anyone asks. Returns at once. */
  lakefsChanged(lakefsRepository: string): void {
    this.#options.repositories.lakefsChanged(lakefsRepository);
  }

  /** Answers `/metrics`. Throws "auth/required", "auth/forbidden". */
  async metrics(caller: Caller): Promise<{ readonly contentType: string; readonly text: string }> {
    checkAdministrator(caller);
    const { metrics } = this.#options;
    return { contentType: metrics.contentType, text: await metrics.text() };
  }

  /** A request has ended; for log and metrics. */
  ended(entry: RequestEnd): void {
    const { failure, noted, ...line } = entry;
    const { log, metrics } = this.#options;
    const { operation, bytesIn, bytesOut } = entry;
    const outcome = outcomeOf(entry);
    metrics.requestEnded({
      operation,
      outcome,
      seconds: entry.milliseconds / 1_000,
      bytesIn,
      bytesOut,
    });
    const fault = failure === undefined ? undefined : asFault(failure);
    // A busy server, and commits that are still being read, are nobody's defect.
    const level =
      outcome === "failed" && fault?.code !== "pool/saturated" && fault?.code !== "lakefs/reading"
        ? "error"
        : "info";
    log[level]("request", {
      ...noted,
      ...line,
      outcome,
      ...(fault === undefined ? {} : faultFacts(fault)),
    });
  }
}

/** The part of the server that the routes use. */
export type RoutedServer = Omit<GitServer, "drain" | "stop">;

function outcomeOf({ status, failure }: RequestEnd): Outcome {
  const code = failure === undefined ? status : asFault(failure).row.http;
  if (code === 499) return "aborted";
  if (code >= 500) return "failed";
  return code >= 400 ? "refused" : "ok";
}
