/**
 * A push: commands and a pack come in, objects are published, refs move, a report goes out. Two
 * phases: what is published is invisible until the refs move, and `ok` is said after that is
 * durable.
 *
 * Source: gitprotocol-pack(5) "Pushing Data To a Server"; the order of checks is
 * git-receive-pack(1)'s.
 */
import { setImmediate } from "node:timers/promises";
import { concat } from "../../base/bytes.js";
import { asFault, clientText, Fault } from "../../base/fault.js";
import { checkAborted, failureToTell, Turns } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { ZERO_OID } from "../../git/oid.js";
import type { Ingest, IngestedPack } from "../../odb/index-pack/contract.js";
import { toPackLine } from "../../odb/manifest/objects.js";
import type { RefChange, RefOutcome } from "../../odb/ref-store.js";
import type { PackTables } from "../../odb/packs/tables.js";
import type { Pool } from "../../pool/task.js";
import type { Offer } from "../../wire/capabilities.js";
import { errorPacket, FLUSH, oneLine } from "../../wire/pkt-line.js";
import {
  reportPieces,
  type PushCommand,
  type PushReport,
  type PushRequest,
  PushRequestReader,
} from "../../wire/push.js";
import { bringAll } from "../fetch/bring-contents.js";
import type { Conceal } from "../conversation/conceal.js";
import type { Exchange, Repository } from "../conversation/conversation.js";
import { isPromising } from "../fetch/context.js";
import type { LfsService } from "../lfs/lfs.js";
import { PacketInput } from "../conversation/packet-input.js";
import { checkObjects } from "./objects.js";
import { type PushPolicy, refuseCommands } from "../conversation/push-policy.js";
import { fsckLines, withWayOut } from "./fsck.js";
import { fatalPacket } from "../fetch/pack-reply.js";
import { PushProgress } from "../conversation/progress.js";
import { type EffectivePolicy, policyFor } from "../conversation/repository-settings.js";
import { tell } from "../conversation/request-record.js";

export interface ReceivePackServices {
  readonly pool: Pool;
  readonly tables: PackTables;
  readonly policy: PushPolicy;
  readonly offer: Offer;
  readonly lfs?: LfsService | undefined;
  /**
   * Takes note of a repository that this push makes, before anybody is told that it is there.
   * Returns the one to push to: another node may have made it meanwhile.
   */
  readonly created: (repository: Repository) => Promise<Repository>;
}

/**
 * Holds one push from its first byte to its report. Malformed requests end with `ERR`, or on band 3
 * where the client has asked for bands already (git takes an `ERR` for a "bad band" then);
 * everything later ends with a report.
 */
export async function receivePack(
  exchange: Exchange,
  services: ReceivePackServices,
): Promise<void> {
  const input = new PacketInput(exchange.input, LIMITS.pushCommandBytesMax);
  const reader = new PushRequestReader(services.offer);
  let request: PushRequest;
  try {
    request = await readRequest(input, reader);
    if (request.commands.length === 0) return await endProbe(request, input, exchange.stateless);
  } catch (error) {
    const fault = failureToTell(exchange.signal, error);
    if (exchange.signal.aborted) throw fault;
    await exchange.output.write(fatalAnswer(reader.bandMode, tell(exchange.request, fault)));
    return;
  }
  const progress = new PushProgress(
    exchange.output,
    request.bandMode,
    request.capabilities.has("quiet"),
  );
  for (const notice of exchange.repository.notices) progress.say(notice);
  try {
    const report = await new Push(exchange, services, request, progress).run(input);
    await progress.settle();
    checkAborted(exchange.signal);
    const turns = new Turns(exchange.signal);
    for (const piece of answerOf(concealedReport(report, exchange.repository.conceal), request)) {
      if (turns.isDue) await turns.next();
      await exchange.output.write(piece);
    }
  } finally {
    progress.stop();
  }
}

/**
 * A lone flush, the probe before a large push, has nothing for an answer. Throws "wire/bad-request"
 * for all else that holds no command.
 */
async function endProbe(
  { shallows, options }: PushRequest,
  input: PacketInput,
  stateless: boolean,
): Promise<void> {
  if (shallows.length > 0 || options.length > 0)
    throw new Fault("wire/bad-request", { reason: "no command" });
  if (stateless) await input.expectEnd(); // on a connection that stays open nobody says that nothing follows
}

/**
 * The report. A client that asked for none hears nothing of success, as from Git, but does of a
 * refusal: nothing would mean success. gitprotocol-capabilities(5) "report-status".
 */
function answerOf(
  report: PushReport,
  { capabilities, bandMode }: PushRequest,
): Iterable<Uint8Array> {
  const refusal =
    capabilities.has("report-status") || capabilities.has("report-status-v2")
      ? undefined
      : refusalOf(report);
  return refusal === undefined
    ? reportPieces(report, capabilities)
    : [fatalAnswer(bandMode, refusal)];
}

/** Returns the reason why not all was done; undefined: it was. */
function refusalOf({ unpack, commands }: PushReport): string | undefined {
  if (unpack !== "ok") return unpack;
  for (const command of commands)
    if (!command.ok) return `${oneLine(command.name)}: ${oneLine(command.reason)}`;
  return undefined;
}

function fatalAnswer(mode: PushRequest["bandMode"], words: string): Uint8Array {
  return mode === "none" ? errorPacket(words) : concat([fatalPacket(mode, words), FLUSH]);
}

async function readRequest(input: PacketInput, reader: PushRequestReader): Promise<PushRequest> {
  for (let packet = await input.next(); packet !== undefined; packet = await input.next()) {
    const request = reader.take(packet);
    if (request !== undefined) return request;
  }
  throw new Fault("wire/truncated", { reason: "the command list has no flush at its end" });
}

class Push {
  readonly #exchange: Exchange;
  readonly #services: ReceivePackServices;
  readonly #request: PushRequest;
  readonly #progress: PushProgress;
  /** As asked for, until it is certain which one has the name. */
  #repository: Repository;
  /** Read once it is certain that the repository has a row. */
  #policy!: EffectivePolicy;

  constructor(
    exchange: Exchange,
    services: ReceivePackServices,
    request: PushRequest,
    progress: PushProgress,
  ) {
    this.#exchange = exchange;
    this.#repository = exchange.repository;
    this.#services = services;
    this.#request = request;
    this.#progress = progress;
  }

  async run(input: PacketInput): Promise<PushReport> {
    const { commands } = this.#request;
    let ingest: Ingest | undefined;
    try {
      // What fails here stands in the report: of an error status git would show the number alone.
      if (this.#repository.created)
        this.#repository = await this.#services.created(this.#repository);
      this.#policy = policyFor(this.#services.policy, (await this.#repository.settings?.()) ?? {});
      ingest = this.#request.packFollows ? await this.#begin() : undefined;
      const pack = ingest && (await this.#receive(ingest, input));
      const outcomes = await this.#land(pack);
      this.#tellRefusals(outcomes);
      return { unpack: "ok", commands: outcomes };
    } catch (error) {
      const fault = withWayOut(failureToTell(this.#exchange.signal, error), this.#repository);
      if (this.#exchange.signal.aborted) throw fault;
      const reason = tell(this.#exchange.request, fault);
      await drain(input);
      if (/\/unknown-outcome$/.test(fault.code))
        return {
          unpack: "ok",
          commands: commands.map(({ name }) => ({ name, ok: false, reason })),
        };
      return {
        unpack: reason,
        commands: commands.map(({ name }) => ({ name, ok: false, reason: "unpacker error" })),
      };
    } finally {
      await ingest?.discard().catch((error: unknown) => {
        // It changes nothing about what became of the push; the next start removes it.
        this.#exchange.request.note({ notRemoved: asFault(error).message });
      });
    }
  }

  async #begin(): Promise<Ingest> {
    await this.#bringPromised();
    return this.#repository.objects.beginIngest({
      pool: this.#services.pool,
      fsck: this.#policy.fsck,
      rules: this.#policy.rules,
      signal: this.#exchange.signal,
      onProgress: (progress) => this.#progress.update(progress),
    });
  }

  /** A thin pack's bases, and what new trees share with old ones, must be here. */
  async #bringPromised(): Promise<void> {
    const repository = this.#repository;
    const { signal } = this.#exchange;
    const { packs } = await repository.objects.packs(signal);
    if (repository.promised === undefined || !isPromising({ repository, packs })) return;
    await bringAll(repository.promised, (line, done) => this.#progress.report(line, done), signal);
  }

  async #receive(ingest: Ingest, input: PacketInput): Promise<IngestedPack | undefined> {
    const rest = input.rest();
    for (let chunk = await rest.read(); chunk !== undefined; chunk = await rest.read())
      await ingest.write(chunk);
    const pack = await ingest.finish();
    for (const line of fsckLines(pack)) this.#progress.say(line);
    return pack.objectCount === 0 ? undefined : pack;
  }

  /** Objects are here: what may become of each command, and then it becomes so. */
  async #land(pack: IngestedPack | undefined): Promise<readonly RefOutcome[]> {
    const repository = this.#repository;
    const { signal } = this.#exchange;
    const { commands } = this.#request;
    const refused = await refuseCommands(commands);
    const asked = { repository, pack, request: this.#request, refused, policy: this.#policy };
    const warn = (line: string) => this.#progress.say(line);
    const checks = await checkObjects({ ...this.#services, ...asked, warn, signal });
    // A hundred thousand commands are some tens of milliseconds in each of these lines: others come
    // between.
    await setImmediate();
    const reasons = refused.map((reason, at) => reason ?? checks[at]?.refusal);
    await setImmediate();
    const statuses = commands.map(({ name }, at) => status(name, reasons[at]));
    if (this.#isAtomic() && reasons.some((reason) => reason !== undefined))
      return failAll(statuses);
    await setImmediate();
    const allowed = commands.flatMap((command, at) =>
      reasons[at] === undefined ? [toChange(command, checks[at]?.peeled)] : [],
    );
    if (allowed.length === 0) return statuses;
    const ended = await this.#ended();
    if (ended !== undefined)
      return statuses.map((before) =>
        before.ok ? { name: before.name, ok: false, ...ended } : before,
      );
    if (pack !== undefined) await repository.objects.publish(pack, signal);
    const landed = await this.#move(allowed, pack);
    await setImmediate();
    repository.changed();
    this.#summarize([...landed.values()].filter((outcome) => outcome.ok).length, pack);
    await setImmediate();
    return statuses.map((before) => (before.ok ? (landed.get(before.name) ?? before) : before));
  }

  /**
   * Returns the reason why nothing moves any more; undefined: the pusher may still do what he
   * began. Where that cannot be found out nothing moves either.
   */
  async #ended(): Promise<{ readonly reason: string; readonly fault: Fault } | undefined> {
    try {
      await this.#exchange.stillMay(this.#repository);
      return undefined;
    } catch (error) {
      if (this.#exchange.signal.aborted) throw error;
      const fault = failureToTell(this.#exchange.signal, error);
      return { reason: clientText(fault), fault };
    }
  }

  async #move(
    changes: readonly RefChange[],
    pack: IngestedPack | undefined,
  ): Promise<Map<string, RefOutcome>> {
    const repository = this.#repository;
    const { signal } = this.#exchange;
    const { denyDeletes, denyDeleteCurrent } = this.#policy;
    const packs = pack === undefined ? [] : [toPackLine(pack, "push")];
    const onProgress = (line: string, done: boolean) => this.#progress.report(line, done);
    const onResult = (line: string) => this.#progress.say(line);
    const stillMay = () => this.#exchange.stillMay(repository);
    const { account: pusher } = this.#exchange;
    const options = {
      atomic: this.#isAtomic(),
      denyDeletes,
      denyDeleteCurrent,
      packs,
      pusher,
      stillMay,
      onProgress,
      onResult,
    };
    const outcomes = await repository.refs
      .update(changes, options, signal)
      .catch((error: unknown) => refusedAll(changes, failureToTell(signal, error)));
    const turns = new Turns(signal);
    const byName = new Map<string, RefOutcome>();
    for (const outcome of outcomes) {
      if (turns.isDue) await turns.next();
      byName.set(outcome.name, outcome);
    }
    return byName;
  }

  #summarize(landed: number, pack: IngestedPack | undefined): void {
    const repository = this.#repository;
    if (repository.created && landed > 0) this.#progress.say(`created ${repository.title}`);
    this.#exchange.request.note({
      refs: landed,
      objects: pack?.objectCount ?? 0,
      packBytes: pack?.bytes ?? 0,
      ...pack?.counters,
    });
  }

  /**
   * The reasons stand in the report; beside them, where there is a band for it, the id under which
   * the log has more.
   */
  #tellRefusals(outcomes: readonly RefOutcome[]): void {
    const refused = outcomes.filter((outcome) => !outcome.ok);
    const [first] = refused;
    if (first === undefined) return;
    const { request } = this.#exchange;
    const ours = refused.find(({ fault }) => fault !== undefined)?.fault;
    request.failed(
      ours ??
        new Fault("push/refused", {
          refused: refused.length,
          of: outcomes.length,
          ref: first.name,
          reason: first.reason,
        }),
    );
    this.#progress.say(`request ${request.id}`);
  }

  #isAtomic(): boolean {
    return this.#request.capabilities.has("atomic");
  }
}

/**
 * Takes what the client is still sending: it reads no report before it has sent all, and a
 * connection cut under it would show "RPC failed" in place of the reason.
 */
async function drain(input: PacketInput): Promise<void> {
  let bytes = 0;
  const rest = input.rest();
  for (let chunk = await rest.read(); chunk !== undefined; chunk = await rest.read()) {
    bytes += chunk.length;
    if (bytes > LIMITS.refusedDrainBytesMax)
      throw new Fault("wire/too-much", { refusedDrainBytesMax: LIMITS.refusedDrainBytesMax });
  }
}

function status(name: string, reason: string | undefined): RefOutcome {
  return reason === undefined ? { name, ok: true } : { name, ok: false, reason };
}

function failAll(statuses: readonly RefOutcome[]): readonly RefOutcome[] {
  return statuses.map((one) =>
    one.ok ? { name: one.name, ok: false, reason: "atomic push failure" } : one,
  );
}

/**
 * A right that ended at the last moment refuses each ref in words; other failures are the push's.
 */
function refusedAll(changes: readonly RefChange[], fault: Fault): readonly RefOutcome[] {
  if (fault.code !== "push/no-longer") throw fault;
  return changes.map(({ name }) => ({ name, ok: false, reason: clientText(fault), fault }));
}

/** Reasons come from lakeFS too. */
function concealedReport(
  { unpack, commands }: PushReport,
  conceal: Conceal | undefined,
): PushReport {
  if (conceal === undefined) return { unpack, commands };
  return {
    unpack: conceal(unpack),
    commands: commands.map((one) => (one.ok ? one : { ...one, reason: conceal(one.reason) })),
  };
}

function toChange(command: PushCommand, peeled: string | undefined): RefChange {
  return { ...command, ...(command.new !== ZERO_OID && peeled !== undefined ? { peeled } : {}) };
}
