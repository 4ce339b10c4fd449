/** The conversations of one server, behind what the transports ask for (services.ts). */
import type { Caller } from "../auth/caller.js";
import { asFault, Fault } from "../base/fault.js";
import { faultFacts, type Log } from "../observe/log.js";
import type { LinkHolder } from "../lfs/proof.js";
import type { Metrics, Outcome } from "../observe/metrics.js";
import type { PackTables } from "../odb/packs/tables.js";
import type { Pool } from "../pool/task.js";
import { refAdvertisement } from "../wire/advertise.js";
import type { Offer } from "../wire/capabilities.js";
import { errorPacket } from "../wire/pkt-line.js";
import type { Exchange, Repository } from "./conversation/conversation.js";
import {
  type Begun,
  checkAdministrator,
  isAdministrator,
  Door,
  type Guard,
  type Wants,
} from "./repositories/door.js";
import type { LakefsLook } from "./repositories/lakefs-look.js";
import type { LfsService } from "./lfs/lfs.js";
import type { PushPolicy } from "./conversation/push-policy.js";
import type { Readiness, Ready } from "./readiness.js";
import { receivePack } from "./push/receive-pack.js";
import { writeRefAnswer } from "./fetch/ref-answers.js";
import type { Repositories } from "./repositories/repositories.js";
import type { RepositoryName } from "./conversation/repository-name.js";
import { tell } from "./conversation/request-record.js";
import type { GitService, RequestEnd, Services } from "./services.js";
import { tracedExchange } from "./conversation/packet-trace.js";
import { advertiseUploadPack, type UploadPackDeps, uploadPack } from "./fetch/upload-pack.js";

export interface ServerOptions {
  readonly version: string;
  readonly repositories: Repositories;
  /** Undefined: nobody is asked who they are. */
  readonly guard?: Guard | undefined;
  readonly pool: Pool;
  readonly tables: PackTables;
  readonly policy: PushPolicy;
  /** What is offered where the repository itself does not forbid it. */
  readonly offer: Offer;
  readonly log: Log;
  readonly fetch: UploadPackDeps;
  readonly lfs?: LfsService;
  readonly metrics: Metrics;
  readonly readiness: Pick<Readiness, "look">;
  /** Undefined: no lakeFS is set. */
  readonly lakefs?: Pick<LakefsLook, "endpoint" | "look"> | undefined;
}

export class GitServer implements Services {
  readonly version: string;
  readonly lfs: LfsService | undefined;
  readonly #options: ServerOptions;
  readonly #door: Door;
  #phase: "serving" | "draining" | "stopping" = "serving";

  constructor(options: ServerOptions) {
    this.version = options.version;
    this.lfs = options.lfs;
    this.#options = options;
    this.#door = new Door(options.repositories, options.guard);
  }

  identify(
    authorization: string | undefined,
    source: string,
    signal: AbortSignal,
  ): Promise<Caller> {
    return this.#door.identify(authorization, source, signal);
  }

  resolve(
    name: RepositoryName,
    caller: Caller,
    wants: Wants,
    signal: AbortSignal,
  ): Promise<Repository> {
    return this.#door.resolve(name, caller, wants, signal);
  }

  bearerOf(holder: LinkHolder): Promise<Caller> {
    return this.#door.bearerOf(holder);
  }

  resolveLinked(
    name: RepositoryName,
    bearer: Caller,
    wants: Wants,
    signal: AbortSignal,
  ): Promise<Repository> {
    return this.#door.resolveLinked(name, bearer, wants, signal);
  }

  /** Throws "push/no-longer", and as they are failures to find out. */
  async stillMay(begun: Begun, signal: AbortSignal): Promise<void> {
    try {
      await this.#door.recheck(begun, signal);
    } catch (error) {
      const fault = asFault(error);
      throw isEnded(fault) ? new Fault("push/no-longer", { reason: fault.message }, fault) : fault;
    }
  }

  created(repository: Repository): Promise<void> {
    return this.#door.created(repository);
  }

  /**
   * What lakeFS still has to be read for is said in the protocol, in its promised form; other
   * faults before the first byte become a status.
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
    await writeRefAnswer(exchange.output, listing, `receive-pack ${version}`, () =>
      refAdvertisement({ ...listing, service: "receive-pack", version, offer }),
    );
  }

  uploadPack(exchange: Exchange): Promise<void> {
    const traced = tracedExchange(exchange, "upload-pack", this.#options.log);
    return uploadPack(traced, { ...this.#options.fetch, pool: this.#poolFor(exchange) });
  }

  async receivePack(exchange: Exchange): Promise<void> {
    const pool = this.#poolFor(exchange);
    pool.checkRoom(); // the client is told to come again before it has sent its pack
    const traced = tracedExchange(exchange, "receive-pack", this.#options.log);
    const created = (repository: Repository) => this.#door.created(repository);
    return receivePack(traced, {
      ...this.#options,
      pool,
      created,
      offer: this.#offerOf(exchange.repository),
    });
  }

  #poolFor({ repository, caller }: Exchange): Pool {
    return this.#options.pool.sharedBy({ repository: repository.id, caller });
  }

  #offerOf({ atomic }: Repository): Offer {
    const { offer } = this.#options;
    return { ...offer, atomic: offer.atomic && atomic };
  }

  async head(repository: Repository, signal: AbortSignal): Promise<string> {
    return (await repository.refs.read(signal)).head;
  }

  async lakefs(caller: Caller): Promise<string | undefined> {
    const { lakefs } = this.#options;
    if (lakefs === undefined) return undefined;
    const { says } = await lakefs.look();
    return isAdministrator(caller) ? `${says}: ${lakefs.endpoint}` : says;
  }

  repositories(count: number, caller: Caller): Promise<readonly string[]> {
    return this.#door.list("", count, caller);
  }

  async readiness(): Promise<Ready> {
    return this.#phase === "serving"
      ? this.#options.readiness.look()
      : { refusal: this.#phase, warnings: [] };
  }

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

  lakefsChanged(lakefsRepository: string): void {
    this.#options.repositories.lakefsChanged(lakefsRepository);
  }

  async metrics(caller: Caller): Promise<{ readonly contentType: string; readonly text: string }> {
    checkAdministrator(caller);
    const { metrics } = this.#options;
    return { contentType: metrics.contentType, text: await metrics.text() };
  }

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

/** Whether a right has ended, or what it was a right to. */
function isEnded({ code }: Fault): boolean {
  return (
    code.startsWith("auth/") ||
    code.startsWith("repository/") ||
    code === "lakefs/replaced" ||
    code === "lakefs/missing"
  );
}

function outcomeOf({ status, failure }: RequestEnd): Outcome {
  const code = failure === undefined ? status : asFault(failure).row.http;
  if (code === 499) return "aborted";
  if (code >= 500) return "failed";
  return code >= 400 ? "refused" : "ok";
}
