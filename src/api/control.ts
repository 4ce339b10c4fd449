/**
 * Commands to the process that owns a data folder: a closed set, each with its arguments and its
 * result, as one line of JSON either way.
 *
 *   {"command":"repo.create","arguments":{"name":"ns/name","lakefs":"repository"}}
 *   {"ok":true,"result":{…}}      {"ok":false,"fault":"repository/exists","facts":{"name":"ns/name"}}
 *
 * transport/control-socket carries them; a command line that finds no server runs the same table
 * itself.
 */
import { z } from "zod";
import { ROLES } from "../auth/caller.js";
import { asFault, Fault, type FaultRecord, isFaultCode, toRecord } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import { faultFacts, type Log } from "../observe/log.js";
import { readRepositoryName } from "../serve/conversation/repository-name.js";
import type { AccountApi } from "./accounts.js";
import type { PoolApi } from "./pool.js";
import type { RepositoryApi } from "./repositories.js";

export interface ControlServices {
  readonly accounts: AccountApi;
  readonly repositories: RepositoryApi;
  /** Undefined: no server runs, the command works on the folder itself. */
  readonly pool?: PoolApi;
  readonly log: Log;
}

interface Command<A, R> {
  readonly arguments: z.ZodType<A>;
  readonly run: (services: ControlServices, given: A, signal: AbortSignal) => Promise<R>;
}

function command<A, R>(shape: z.ZodType<A>, run: Command<A, R>["run"]): Command<A, R> {
  return { arguments: shape, run };
}

const text = z.string().min(1).max(LIMITS.controlTextMax);
const count = (max: number) => z.number().int().min(1).max(max).optional();
const commitId = z.string().regex(/^([0-9a-f]{40}|[0-9a-f]{64})$/);

const role = z.enum(ROLES);
const visibility = z.enum(["public", "private"]);
const after = z.string().max(LIMITS.controlTextMax);

const COMMANDS = {
  "repo.create": command(
    z.strictObject({ name: text, lakefs: text.optional(), visibility: visibility.optional() }),
    ({ repositories }, { name, lakefs, visibility: seen = "private" }, signal) =>
      repositories.create(readRepositoryName(name), lakefs, seen, signal),
  ),
  "repo.delete": command(z.strictObject({ name: text }), ({ repositories }, { name }) =>
    repositories.remove(readRepositoryName(name)),
  ),
  "repo.forget": command(z.strictObject({ name: text }), ({ repositories }, { name }, signal) =>
    repositories.forget(readRepositoryName(name), signal),
  ),
  "repo.adopt": command(
    z.strictObject({ name: text, prefix: text.optional() }),
    ({ repositories }, { name, prefix }, signal) =>
      prefix === undefined
        ? repositories.adopt(readRepositoryName(name), signal)
        : repositories.takeIn(prefix, readRepositoryName(name), signal),
  ),
  "repo.recover": command(z.strictObject({}), ({ repositories }, _, signal) =>
    repositories.recover(signal),
  ),
  "repo.access": command(
    z.strictObject({ name: text }),
    async ({ repositories, accounts }, { name }, signal) =>
      accounts.access(await repositories.rightsOf(readRepositoryName(name), false, signal)),
  ),
  "repo.visibility": command(
    z.strictObject({ name: text, visibility }),
    async ({ repositories, accounts }, given, signal) =>
      accounts.setVisibility(
        await repositories.rightsOf(readRepositoryName(given.name), true, signal),
        given.visibility,
      ),
  ),
  "repo.grant": command(
    z.strictObject({ name: text, user: text, role: role.nullable() }),
    async ({ repositories, accounts }, given, signal) =>
      accounts.grant(
        await repositories.rightsOf(readRepositoryName(given.name), true, signal),
        given.user,
        given.role,
      ),
  ),
  "user.create": command(
    z.strictObject({ name: text, admin: z.boolean() }),
    ({ accounts }, { name, admin }) => accounts.createUser(name, admin),
  ),
  "user.list": command(z.strictObject({ after }), ({ accounts }, given) =>
    accounts.users(given.after),
  ),
  "user.change": command(
    z.strictObject({ name: text, disabled: z.boolean().optional(), admin: z.boolean().optional() }),
    ({ accounts }, { name, ...change }) => accounts.changeUser(name, change),
  ),
  "token.create": command(
    z.strictObject({
      user: text,
      scope: role,
      label: z.string().max(LIMITS.tokenLabelMax),
      expires: z.iso.datetime().nullable(),
    }),
    ({ accounts }, { user, ...wish }) => accounts.createToken(user, wish),
  ),
  "token.list": command(z.strictObject({ user: text.optional(), after }), ({ accounts }, given) =>
    accounts.tokens(given.user, given.after),
  ),
  "token.revoke": command(z.strictObject({ id: text }), ({ accounts }, { id }) =>
    accounts.revokeToken(id),
  ),
  "repo.list": command(z.strictObject({ after }), ({ repositories }, given) =>
    repositories.list(given.after),
  ),
  "repo.show": command(z.strictObject({ name: text }), ({ repositories }, { name }, signal) =>
    repositories.show(readRepositoryName(name), signal),
  ),
  "repo.describe": command(z.strictObject({ name: text }), ({ repositories }, { name }, signal) =>
    repositories.describe(readRepositoryName(name), signal),
  ),
  "repo.set": command(
    z.strictObject({ name: text, settings: z.record(z.string(), z.unknown()) }),
    ({ repositories }, given, signal) =>
      repositories.changeSettings(readRepositoryName(given.name), given.settings, signal),
  ),
  "repo.collect": command(
    z.strictObject({ name: text, grace_hours: z.number().min(0).max(LIMITS.gcGraceHoursMax) }),
    ({ repositories }, given, signal) =>
      repositories.collect(readRepositoryName(given.name), given.grace_hours, signal),
  ),
  "repo.bundle": command(z.strictObject({ name: text }), ({ repositories }, { name }, signal) =>
    repositories.bundle(readRepositoryName(name), signal),
  ),
  "repo.collectSetAside": command(
    z.strictObject({ grace_hours: z.number().min(0).max(LIMITS.gcGraceHoursMax) }),
    ({ repositories }, given, signal) => repositories.collectSetAside(given.grace_hours, signal),
  ),
  "repo.resolve": command(
    z.strictObject({ name: text, id: commitId }),
    ({ repositories }, { name, id }, signal) =>
      repositories.commit(readRepositoryName(name), id, signal),
  ),
  "lakefs.repair-mapping": command(
    z.strictObject({ lakefs: text }),
    ({ repositories }, { lakefs }, signal) => repositories.repairMapping(lakefs, signal),
  ),
  "pool.show": command(z.strictObject({}), async ({ pool }) => running(pool).show()),
  "pool.set": command(
    z.strictObject({
      threads: count(LIMITS.poolThreadsMax),
      queue: count(LIMITS.poolQueueSettingMax),
    }),
    async ({ pool }, { threads, queue }) =>
      running(pool).set({
        ...(threads === undefined ? {} : { threads }),
        ...(queue === undefined ? {} : { queue }),
      }),
  ),
} as const;

/** Throws "control/no-server". */
function running(pool: PoolApi | undefined): PoolApi {
  if (pool === undefined) throw new Fault("control/no-server");
  return pool;
}

export type ControlCommand = keyof typeof COMMANDS;
export type ControlArguments<K extends ControlCommand> =
  (typeof COMMANDS)[K] extends Command<infer A, unknown> ? A : never;
export type ControlResult<K extends ControlCommand> = Awaited<
  ReturnType<(typeof COMMANDS)[K]["run"]>
>;

const REQUEST = z.strictObject({ command: z.string(), arguments: z.unknown() });
const ANSWER = z.union([
  z.strictObject({ ok: z.literal(true), result: z.unknown() }),
  z.strictObject({
    ok: z.literal(false),
    fault: z.string(),
    facts: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  }),
]);

/** Runs one command in this process. Throws what it throws, and "control/bad-request". */
export async function runControl<K extends ControlCommand>(
  services: ControlServices,
  name: K,
  given: unknown,
  signal: AbortSignal,
): Promise<ControlResult<K>> {
  const { arguments: shape, run } = COMMANDS[name] as unknown as Command<
    ControlArguments<K>,
    ControlResult<K>
  >;
  const parsed = shape.safeParse(given);
  if (parsed.success) return run(services, parsed.data, signal);
  const issue = parsed.error.issues[0];
  throw new Fault("control/bad-request", {
    command: name,
    argument: issue?.path.join("."),
    reason: issue?.message,
  });
}

/**
 * One line in, one line out, without their LF. Never rejects: a failure is an answer. Arguments are
 * not logged: some will be secrets.
 */
export async function answerControl(
  services: ControlServices,
  line: string,
  signal: AbortSignal,
): Promise<string> {
  let name: string | undefined;
  try {
    name = readCommand(line);
    const result = await runControl(
      services,
      name as ControlCommand,
      (JSON.parse(line) as { arguments: unknown }).arguments,
      signal,
    );
    services.log.info("command", { command: name });
    return JSON.stringify({ ok: true, result });
  } catch (error) {
    const fault = asFault(error);
    services.log[fault.row.http >= 500 ? "error" : "info"]("command refused", {
      command: name,
      ...faultFacts(fault),
    });
    const { fault: code, facts } = toRecord(fault);
    return JSON.stringify({ ok: false, fault: code, facts });
  }
}

/** Throws "control/bad-request": not JSON of this shape, or a command of another version. */
function readCommand(line: string): ControlCommand {
  const request = REQUEST.safeParse(parseJson(line));
  if (!request.success)
    throw new Fault("control/bad-request", {
      reason: "not a line of JSON with command and arguments",
    });
  const { command: name } = request.data;
  if (!Object.hasOwn(COMMANDS, name))
    throw new Fault("control/bad-request", {
      command: name.slice(0, LIMITS.messageNameBytesMax),
      allowed: Object.keys(COMMANDS).join(" "),
    });
  return name as ControlCommand;
}

export function formatControlRequest<K extends ControlCommand>(
  name: K,
  given: ControlArguments<K>,
): string {
  return JSON.stringify({ command: name, arguments: given });
}

/** The result in an answer of `name`. Throws the Fault it carries, or "control/failed". */
export function readControlAnswer<K extends ControlCommand>(
  name: K,
  line: string,
): ControlResult<K> {
  const answer = ANSWER.safeParse(parseJson(line));
  if (!answer.success)
    throw new Fault("control/failed", { command: name, reason: "its answer cannot be read" });
  if (answer.data.ok) return answer.data.result as ControlResult<K>;
  throw fromRecord(answer.data);
}

function fromRecord({
  fault,
  facts,
}: {
  readonly fault: string;
  readonly facts: FaultRecord["facts"];
}): Fault {
  return isFaultCode(fault)
    ? new Fault(fault, facts)
    : new Fault("control/failed", { ...facts, fault });
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined; // said by the caller
  }
}
