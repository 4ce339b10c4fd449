/** Checks the objects of a push against its commands: types, connectivity, fast-forwards. */
import { setImmediate } from "node:timers/promises";
import { Fault } from "../../base/fault.js";
import { Turns } from "../../base/flow.js";
import { distinct } from "../../base/long-lists.js";
import { type Oid, ZERO_OID } from "../../git/oid.js";
import type { IngestedPack } from "../../odb/index-pack/contract.js";
import type { PackTables } from "../../odb/packs/tables.js";
import { type PackHandle, toHandles } from "../../odb/packs/handle.js";
import type { LivePack } from "../../odb/object-database.js";
import {
  type DescribeResult,
  type ObjectSummary,
  type Unconnected,
  ancestorTask,
  connectedTask,
  describeTask,
} from "../../odb/walk/tasks.js";
import type { Pool } from "../../pool/task.js";
import type { PushRequest } from "../../wire/push.js";
import type { Repository } from "../conversation/conversation.js";
import type { LfsService } from "../lfs/lfs.js";
import { refusePointers } from "./pointers.js";
import type { PushPolicy } from "../conversation/push-policy.js";

/** Objects told of in one message between threads: some milliseconds of the event loop. */
const DESCRIBED_AT_ONCE = 5_000;

export interface ObjectCheck {
  readonly refusal?: string;
  /** Final target of an annotated tag. */
  readonly peeled?: string;
}

/** One for all: a push may have a hundred thousand commands. */
const PASSES: ObjectCheck = {};

export interface ObjectCheckInput {
  readonly repository: Repository;
  /** The pushed pack, not yet published; undefined: none came, or an empty one. */
  readonly pack: IngestedPack | undefined;
  readonly request: PushRequest;
  /** Commands already refused need no look. */
  readonly refused: readonly (string | undefined)[];
  readonly pool: Pool;
  /** Tables of packs, of the pushed one too: once it is live, they need not be read again. */
  readonly tables: PackTables;
  readonly policy: PushPolicy;
  /** Tells the pusher of what is let pass. */
  readonly warn: (line: string) => void;
  /** Undefined: pointers are files like others. */
  readonly lfs?: LfsService | undefined;
  readonly signal: AbortSignal;
}

/** One check a command, in order; refused and deleting ones pass. */
export async function checkObjects(input: ObjectCheckInput): Promise<readonly ObjectCheck[]> {
  const { request, refused, signal } = input;
  const asked = [...request.commands.keys()].filter(
    (at) => refused[at] === undefined && request.commands[at]?.new !== ZERO_OID,
  );
  const checks: ObjectCheck[] = request.commands.map(() => PASSES);
  if (asked.length === 0) return checks;
  const { packs } = await input.repository.objects.packs(signal);
  const handles = await withPushed(packs, input.pack, input.tables);
  const oids = asked.map((at) => request.commands[at]?.new as string);
  const described = await describe(input, handles, oids);
  const closed = closedChecksums(packs, input.pack);
  const missing = await unconnected(input, handles, closed, oids);
  asked.forEach((at, index) => {
    checks[at] = judge(
      request.commands[at]?.name as string,
      described[index],
      missing[index],
      request.shallows.length > 0,
    );
  });
  await setImmediate(); // a hundred thousand commands are some tens of milliseconds in each of these
  await refuseNonFastForwards(input, handles, checks);
  await setImmediate();
  await refuseEmptyPointers(input, handles, checks);
  return checks;
}

/** Describes each id, in order. Each is looked at once: most commands of a large push name few. */
async function describe(
  { pool, signal }: ObjectCheckInput,
  packs: readonly PackHandle[],
  oids: readonly Oid[],
): Promise<DescribeResult> {
  const each = [...(await distinct(oids, new Turns(signal)))];
  const found = new Map<Oid, ObjectSummary | undefined>();
  for (let at = 0; at < each.length; at += DESCRIBED_AT_ONCE) {
    const part = each.slice(at, at + DESCRIBED_AT_ONCE);
    const summaries = await pool.run(describeTask, { packs, oids: part }, { signal });
    part.forEach((oid, index) => void found.set(oid, summaries[index]));
  }
  return oids.map((oid) => found.get(oid));
}

/** Live packs and the pushed one, which lies where it was received. */
async function withPushed(
  packs: readonly LivePack[],
  pack: IngestedPack | undefined,
  tables: PackTables,
): Promise<readonly PackHandle[]> {
  const handles = toHandles(packs);
  if (pack === undefined || handles.some(({ checksum }) => checksum === pack.checksum))
    return handles;
  const { checksum, packPath: path, bytes, objectCount, idxPath, revPath, types } = pack;
  return [
    {
      checksum,
      path,
      bytes,
      objectCount,
      ...(await tables.load({ checksum, objectCount, idxPath, revPath, types })),
    },
    ...handles,
  ];
}

function closedChecksums(packs: readonly LivePack[], pack: IngestedPack | undefined): string[] {
  const closed = packs.filter((live) => live.closed).map(({ checksum }) => checksum);
  return pack?.closed ? [...closed, pack.checksum] : closed;
}

/**
 * Existence in a closed pack proves that all below is there; only with an open pack about is there
 * anything to walk.
 */
function unconnected(
  input: ObjectCheckInput,
  packs: readonly PackHandle[],
  closed: readonly string[],
  tips: readonly string[],
): Promise<readonly (Unconnected | undefined)[]> {
  if (packs.every(({ checksum }) => closed.includes(checksum))) return Promise.resolve([]);
  return input.pool.run(connectedTask, { packs, closed, tips }, { signal: input.signal });
}

function judge(
  name: string,
  summary: ObjectSummary | undefined,
  wrong: Unconnected | undefined,
  isShallow: boolean,
): ObjectCheck {
  if (wrong?.found !== undefined) {
    const { oid: object, expected, found } = wrong;
    return { refusal: new Fault("pack/link-type", { object, expected, found }).message };
  }
  if (summary === undefined || wrong !== undefined) {
    if (isShallow) return { refusal: "shallow update not allowed" };
    return {
      refusal:
        wrong === undefined
          ? "missing necessary objects"
          : `missing necessary objects (${wrong.oid})`,
    };
  }
  if (name.startsWith("refs/heads/") && summary.type !== "commit") {
    return { refusal: `a branch holds commits, and this is a ${summary.type}` };
  }
  return summary.peeled === undefined ? PASSES : { peeled: summary.peeled };
}

async function refuseNonFastForwards(
  input: ObjectCheckInput,
  packs: readonly PackHandle[],
  checks: ObjectCheck[],
): Promise<void> {
  const { request, policy, pool, signal } = input;
  if (!policy.denyNonFastForwards) return;
  const moved = [...request.commands.keys()].filter((at) => {
    const command = request.commands[at];
    const isMove = command !== undefined && command.old !== ZERO_OID && command.new !== ZERO_OID;
    return isMove && checks[at]?.refusal === undefined && command.name.startsWith("refs/heads/");
  });
  if (moved.length === 0) return;
  const pairs = moved.map((at) => ({
    old: request.commands[at]?.old as string,
    new: request.commands[at]?.new as string,
  }));
  const forward = await pool.run(ancestorTask, { packs, pairs }, { signal });
  moved.forEach((at, index) => {
    if (forward[index] !== true) checks[at] = { refusal: "non-fast-forward" };
  });
}

/** Refuses what would show LFS pointers whose objects are not here. */
async function refuseEmptyPointers(
  input: ObjectCheckInput,
  packs: readonly PackHandle[],
  checks: ObjectCheck[],
): Promise<void> {
  const { request, repository, pack, lfs, pool, signal, refused } = input;
  if (lfs === undefined || pack === undefined) return;
  const moved = [...request.commands.keys()].filter((at) => {
    const isGone = request.commands[at]?.new === ZERO_OID;
    return !isGone && refused[at] === undefined && checks[at]?.refusal === undefined;
  });
  if (moved.length === 0) return;
  const tips = moved.map((at) => request.commands[at]?.new as string);
  const store = lfs.storeOf(repository);
  // Over lakeFS a pointer is staged as the object it names: where there is none, nothing can land.
  const isLenient = input.policy.lfsMissingObjects === "warn";
  const lenience = !isLenient
    ? undefined
    : repository.lakefs === undefined
      ? "passes"
      : "cannot pass";
  const asked = { pool, packs, pushed: pack.checksum, tips: [...new Set(tips)], store, signal };
  const refusals = await refusePointers({ ...asked, lenience, warn: input.warn });
  moved.forEach((at, index) => {
    const refusal = refusals.get(tips[index] as string);
    if (refusal !== undefined) checks[at] = { refusal };
  });
}
