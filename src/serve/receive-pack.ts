/**
 * A push: commands and a pack come in, objects are published, refs move, a report goes out. Two phases: what is published is
 * invisible until the refs move, and `ok` is said after that is durable.
 *
 * Source: gitprotocol-pack(5) "Pushing Data To a Server"; the order of checks is git-receive-pack(1)'s.
 */
import { asFault, Fault } from "../base/fault.js";
import { checkAborted } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import { ZERO_OID } from "../git/oid.js";
import { faultFacts, type Log } from "../observe/log.js";
import type { Ingest, IngestedPack } from "../odb/ingest-contract.js";
import { toPackRecord } from "../odb/manifest-objects.js";
import type { RefChange } from "../odb/ref-store.js";
import type { Pool } from "../pool/tasks.js";
import type { Offer } from "../wire/capabilities.js";
import { errorPacket } from "../wire/pkt-line.js";
import { type CommandStatus, formatReport, type PushCommand, type PushReport, type PushRequest, PushRequestReader } from "../wire/push.js";
import { bringAll } from "./bring-contents.js";
import type { Exchange } from "./conversation.js";
import { isPromising } from "./fetch-context.js";
import type { LfsService } from "./lfs.js";
import { PacketInput } from "./packet-input.js";
import { checkObjects } from "./push-objects.js";
import { type PushPolicy, refuseCommands } from "./push-policy.js";
import { PushProgress } from "./push-progress.js";

export interface ReceivePackServices {
  readonly pool: Pool;
  readonly policy: PushPolicy;
  readonly offer: Offer;
  readonly log: Log;
  readonly lfs?: LfsService | undefined;
}

/** Holds one push from its first byte to its report. Malformed requests end with `ERR`, everything later with a report. */
export async function receivePack(exchange: Exchange, services: ReceivePackServices): Promise<void> {
  const input = new PacketInput(exchange.input, LIMITS.pushCommandBytesMax);
  let request: PushRequest | undefined;
  try {
    request = await readRequest(input, services.offer);
  } catch (error) {
    const fault = asFault(error);
    if (fault.code === "base/aborted") throw fault;
    await exchange.output.write(errorPacket(fault.message));
    return;
  }
  if (request === undefined || request.commands.length === 0) return; // the probe before a large push
  const progress = new PushProgress(exchange.output, request.bandMode, request.capabilities.has("quiet"));
  for (const notice of exchange.repository.notices) progress.say(notice);
  try {
    const report = await new Push(exchange, services, request, progress).run(input);
    await progress.settle();
    checkAborted(exchange.signal);
    await exchange.output.write(formatReport(report, request.capabilities));
  } finally {
    progress.stop();
  }
}

async function readRequest(input: PacketInput, offer: Offer): Promise<PushRequest | undefined> {
  const reader = new PushRequestReader(offer);
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

  constructor(exchange: Exchange, services: ReceivePackServices, request: PushRequest, progress: PushProgress) {
    this.#exchange = exchange;
    this.#services = services;
    this.#request = request;
    this.#progress = progress;
  }

  async run(input: PacketInput): Promise<PushReport> {
    const { commands } = this.#request;
    let ingest: Ingest | undefined;
    try {
      ingest = this.#request.packFollows ? await this.#begin() : undefined;
      const pack = ingest && (await this.#receive(ingest, input));
      return { unpack: "ok", commands: await this.#land(pack) };
    } catch (error) {
      const fault = this.#logged(error);
      if (this.#exchange.signal.aborted) throw fault;
      await drain(input);
      const reason = fault.message;
      if (/\/unknown-outcome$/.test(fault.code)) return { unpack: "ok", commands: commands.map(({ name }) => ({ name, ok: false, reason })) };
      return { unpack: reason, commands: commands.map(({ name }) => ({ name, ok: false, reason: "unpacker error" })) };
    } finally {
      await ingest?.discard().catch((error: unknown) => {
        // It changes nothing about what became of the push; the next start removes it.
        this.#services.log.warn("what was received is not removed", faultFacts(asFault(error)));
      });
    }
  }

  async #begin(): Promise<Ingest> {
    await this.#bringPromised();
    return this.#exchange.repository.objects.beginIngest({
      pool: this.#services.pool,
      fsck: this.#services.policy.fsck,
      signal: this.#exchange.signal,
      onProgress: (progress) => this.#progress.update(progress),
    });
  }

  /** A thin pack's bases, and what new trees share with old ones, must be here. */
  async #bringPromised(): Promise<void> {
    const { repository, signal } = this.#exchange;
    const { packs } = await repository.objects.packs(signal);
    if (repository.promised === undefined || !isPromising({ repository, packs })) return;
    await bringAll(repository.promised, (line, done) => this.#progress.report(line, done), signal);
  }

  async #receive(ingest: Ingest, input: PacketInput): Promise<IngestedPack | undefined> {
    const rest = input.rest();
    for (let chunk = await rest.read(); chunk !== undefined; chunk = await rest.read()) await ingest.write(chunk);
    const pack = await ingest.finish();
    return pack.objectCount === 0 ? undefined : pack;
  }

  /** Objects are here: what may become of each command, and then it becomes so. */
  async #land(pack: IngestedPack | undefined): Promise<readonly CommandStatus[]> {
    const { repository, signal } = this.#exchange;
    const { commands } = this.#request;
    const refused = refuseCommands(commands);
    const checks = await checkObjects({ repository, pack, request: this.#request, refused, ...this.#services, signal });
    const reasons = refused.map((reason, at) => reason ?? checks[at]?.refusal);
    const statuses = commands.map(({ name }, at) => status(name, reasons[at]));
    if (this.#isAtomic() && reasons.some((reason) => reason !== undefined)) return failAll(statuses);
    const allowed = commands.flatMap((command, at) => (reasons[at] === undefined ? [toChange(command, checks[at]?.peeled)] : []));
    if (allowed.length === 0) return statuses;
    if (pack !== undefined) await repository.objects.publish(pack, signal);
    const landed = await this.#move(allowed, pack);
    repository.changed();
    this.#summarize([...landed.values()].filter((outcome) => outcome.ok).length, pack);
    return statuses.map((before) => (before.ok ? (landed.get(before.name) ?? before) : before));
  }

  async #move(changes: readonly RefChange[], pack: IngestedPack | undefined): Promise<Map<string, CommandStatus>> {
    const { repository, signal } = this.#exchange;
    const { denyDeletes, denyDeleteCurrent } = this.#services.policy;
    const packs = pack === undefined ? [] : [toPackRecord(pack, "push")];
    const onProgress = (line: string, done: boolean) => this.#progress.report(line, done);
    const onResult = (line: string) => this.#progress.say(line);
    const options = { atomic: this.#isAtomic(), denyDeletes, denyDeleteCurrent, packs, onProgress, onResult };
    const outcomes = await repository.refs.update(changes, options, signal);
    return new Map(outcomes.map((outcome) => [outcome.name, outcome]));
  }

  #summarize(landed: number, pack: IngestedPack | undefined): void {
    const { repository } = this.#exchange;
    if (repository.created && landed > 0) this.#progress.say(`created ${repository.title}`);
    this.#services.log.info("push", {
      repository: repository.title,
      refs: landed,
      objects: pack?.objectCount ?? 0,
      bytes: pack?.bytes ?? 0,
      ...pack?.counters,
    });
  }

  #isAtomic(): boolean {
    return this.#request.capabilities.has("atomic");
  }

  #logged(error: unknown): Fault {
    const fault = asFault(error);
    const level = fault.row.http >= 500 ? "error" : "info";
    this.#services.log[level]("push refused", { repository: this.#exchange.repository.title, ...faultFacts(fault) });
    return fault;
  }
}

/**
 * Takes what the client is still sending: it reads no report before it has sent all, and a connection cut under it would show
 * "RPC failed" in place of the reason.
 */
async function drain(input: PacketInput): Promise<void> {
  let bytes = 0;
  const rest = input.rest();
  for (let chunk = await rest.read(); chunk !== undefined; chunk = await rest.read()) {
    bytes += chunk.length;
    if (bytes > LIMITS.refusedDrainBytesMax) throw new Fault("wire/too-much", { refusedDrainBytesMax: LIMITS.refusedDrainBytesMax });
  }
}

function status(name: string, reason: string | undefined): CommandStatus {
  return reason === undefined ? { name, ok: true } : { name, ok: false, reason };
}

function failAll(statuses: readonly CommandStatus[]): readonly CommandStatus[] {
  return statuses.map((one) => (one.ok ? { name: one.name, ok: false, reason: "atomic push failure" } : one));
}

function toChange(command: PushCommand, peeled: string | undefined): RefChange {
  return { ...command, ...(command.new !== ZERO_OID && peeled !== undefined ? { peeled } : {}) };
}
