/**
 * Checks that a client may have what it names: tips of refs it can see and objects reachable from
 * them. Git's own server lets version 2 clients name anything; we do not, unless a setting says so.
 */
import { Fault } from "../../base/fault.js";
import { Turns } from "../../base/flow.js";
import { filtered } from "../../base/long-lists.js";
import type { Oid } from "../../git/oid.js";
import { isReachable } from "../../odb/walk/reachable.js";
import type { FetchContext } from "./context.js";
import type { ReachedPacks } from "./reached.js";

/**
 * Throws "odb/not-our-ref" for the first id that may not be had. `tipsOnly`: reachable is not
 * enough (version 0 on a connection that saw the advertisement, where the server does not offer
 * more).
 */
export async function checkWants(
  context: FetchContext,
  wants: readonly Oid[],
  tipsOnly: boolean,
): Promise<void> {
  const tips = await visibleTips(context);
  const turns = new Turns(context.signal);
  const others = await filtered(wants, (want) => !tips.has(want), turns);
  for (const want of others) {
    if (turns.isDue) await turns.next();
    if (!context.has(want)) throw notOurs(want);
  }
  if (others.length === 0 || context.deps.allowAnyWant) return;
  if (tipsOnly) throw notOurs(others[0] as Oid);
  const sight = await Sight.open(context);
  for (const want of others) {
    if (turns.isDue) await turns.next();
    if (!(await sight.sees(want))) throw notOurs(want);
  }
}

/**
 * Tells for one id after the other whether the client may see it. An id that it may not see counts
 * as unknown wherever it is named: a have that is confirmed tells that we hold it, and a boundary
 * below a hidden commit would make its history part of the answer.
 */
export class Sight {
  readonly #context: FetchContext;
  readonly #tips: ReadonlySet<Oid>;
  #reached: ReachedPacks | undefined;

  private constructor(context: FetchContext, tips: ReadonlySet<Oid>) {
    this.#context = context;
    this.#tips = tips;
  }

  /** Throws "base/aborted". */
  static async open(context: FetchContext): Promise<Sight> {
    return new Sight(context, await visibleTips(context));
  }

  /**
   * Costs a look-up; the first id that is here and no tip may cost the walk that marks what the
   * refs reach.
   */
  sees(oid: Oid): boolean | Promise<boolean> {
    if (!this.#context.has(oid)) return false;
    if (this.#tips.has(oid) || this.#context.deps.allowAnyWant) return true;
    return this.#reached === undefined
      ? this.#count(oid)
      : isReachable(this.#reached.packs, this.#reached.bits, oid);
  }

  async #count(oid: Oid): Promise<boolean> {
    const { deps, ...source } = this.#context;
    this.#reached = await deps.reached.packs({ ...source, pool: deps.pool });
    return this.sees(oid);
  }
}

/**
 * Returns those of these ids, in order and each once, that are here and that the client may see.
 */
export async function visibleOf(
  context: FetchContext,
  oids: Iterable<Oid>,
): Promise<ReadonlySet<Oid>> {
  const sight = await Sight.open(context);
  const turns = new Turns(context.signal);
  const visible = new Set<Oid>();
  for (const oid of oids) {
    if (turns.isDue) await turns.next();
    if (await sight.sees(oid)) visible.add(oid);
  }
  return visible;
}

function notOurs(oid: Oid): Fault {
  return new Fault("odb/not-our-ref", { oid });
}

function visibleTips({ deps, refs, signal }: FetchContext): Promise<ReadonlySet<Oid>> {
  return deps.reached.tips(refs, signal);
}
