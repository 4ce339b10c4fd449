/**
 * The writing half of the bridge: `git push` makes lakeFS commits. Objects are stored first; then
 * each change of a ref lands by itself, as lakeFS has no transaction over several. A branch moves
 * by the guarded landing (commit-point.ts), a new one appears with one call.
 *
 * What runs where: packs are read, blobs hashed and uploaded in a pool thread (build-trees.ts),
 * because contents are many bytes; records, checks and the commit point are few small calls and run
 * here.
 */
import { setMaxListeners } from "node:events";
import { LRUCache } from "lru-cache";
import { asFault, Fault, toldText } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { ZERO_OID } from "../../git/oid.js";
import type { RefChange, RefOutcome, RefUpdateOptions } from "../../odb/ref-store.js";
import type { LakefsClient } from "../api/client.js";
import type { GuardState } from "../hooks/guard-proof.js";
import { refusalText } from "../api/hook-answer.js";
import { BranchLanding } from "./branch.js";
import type { Landing, LandingOptions } from "./contract.js";
import { completeLanding } from "./commit-point.js";
import { TagLanding } from "./tag.js";
import { CommitWriter } from "./commits.js";
import { splitRefName } from "../rules/ref-names.js";
import { Sweeper } from "./sweep.js";
import type { MovingTag } from "./tag-move.js";
import type { LakefsRef } from "../api/types.js";

export function createLanding(options: LandingOptions): Landing {
  return new LakefsLanding(options);
}

class LakefsLanding implements Landing {
  readonly #options: LandingOptions;
  /** With the server's own key. */
  readonly #writer: CommitWriter;
  /** By key id, those that work with a person's. */
  readonly #personal = new LRUCache<string, CommitWriter>({ max: LIMITS.lakefsKeysHeldMax });
  readonly #sweeper: Sweeper;

  constructor(options: LandingOptions) {
    this.#options = options;
    this.#writer = new CommitWriter(options);
    this.#sweeper = new Sweeper(options);
  }

  async update(
    changes: readonly RefChange[],
    options: RefUpdateOptions,
    given?: AbortSignal,
  ): Promise<readonly RefOutcome[]> {
    const signal = given === undefined ? new AbortController().signal : AbortSignal.any([given]);
    setMaxListeners(0, signal); // every record that waits for its turn listens
    if (options.atomic && changes.length > 1)
      return changes.map(({ name }) =>
        refusal(name, "lakeFS cannot move several refs at once; push without --atomic"),
      );
    if ((await this.#client.getRepository(signal)).read_only === true) {
      return changes.map(({ name }) => refusal(name, "the repository is read-only in lakeFS"));
    }
    await this.#options.objects.keep(options.packs ?? [], signal);
    const writer = this.#writerFor(options.pusher);
    const outcomes = new Map<RefChange, RefOutcome>();
    // Deletes first, as they may make room for others.
    for (const change of [...changes].sort((left, right) => rank(left) - rank(right)))
      outcomes.set(change, await this.#landOne(writer, change, options, signal));
    this.#sweeper.start();
    return changes.map((change) => outcomes.get(change) as RefOutcome);
  }

  async complete(branch: string, lakeId: string, signal: AbortSignal): Promise<void> {
    const { client, log } = this.#options;
    const head = await this.#client.getCommit(lakeId, signal);
    const completed = await completeLanding(
      this.#client,
      branch,
      head,
      this.#writer.isSealed,
      signal,
    );
    if (completed)
      log.info("a half-landed push was completed", {
        repository: client.repository,
        branch,
        merge: lakeId,
      });
  }

  get guard(): GuardState {
    return this.#writer.guard.state;
  }

  moving(branches: readonly LakefsRef[], signal: AbortSignal): Promise<readonly MovingTag[]> {
    return this.#writer.tagMover.moving(branches, signal);
  }

  async settle(move: MovingTag, signal: AbortSignal): Promise<void> {
    if (await this.#writer.tagMover.settle(move, signal))
      this.#options.log.info("a tag whose move was not finished was put back", {
        repository: this.#options.client.repository,
        tag: move.tag,
      });
  }

  forget(move: MovingTag, signal: AbortSignal): Promise<void> {
    return this.#writer.tagMover.done(move, signal);
  }

  get #client(): LakefsClient {
    return this.#options.client;
  }

  /** Throws "lakefs/no-credentials". */
  #writerFor(pusher: string | undefined): CommitWriter {
    const { credentials, client } = this.#options;
    const access = credentials?.accessFor(pusher, client.repository);
    if (access === undefined) return this.#writer;
    const key = `${access.endpoint} ${access.accessKeyId}`;
    const known = this.#personal.get(key);
    if (known !== undefined) return known;
    const writer = new CommitWriter(
      { ...this.#options, access, client: client.withAccess(access) },
      this.#writer,
    );
    this.#personal.set(key, writer);
    return writer;
  }

  async #landOne(
    writer: CommitWriter,
    change: RefChange,
    options: RefUpdateOptions,
    signal: AbortSignal,
  ): Promise<RefOutcome> {
    const { name } = change;
    try {
      const ref = splitRefName(name);
      if (ref === undefined)
        throw new Fault("base/internal", { reason: "neither a branch nor a tag", ref: name });
      const landing = ref.kind === "branch" ? BranchLanding : TagLanding;
      const reason = await new landing(writer, ref.short, change, options, signal).land();
      return reason === undefined ? { name, ok: true } : refusal(name, reason);
    } catch (error) {
      const fault = asFault(error);
      if (signal.aborted) throw fault;
      return { ...refusal(name, sentence(fault)), fault };
    }
  }
}

function refusal(name: string, reason: string) {
  return { name, ok: false, reason } as const;
}

function rank(change: RefChange): number {
  return change.new === ZERO_OID ? 0 : 1;
}

/** Returns the pusher's text of a failure. */
function sentence(fault: Fault): string {
  const { path, reason } = fault.facts;
  if (fault.code === "lakefs/unmappable" && reason !== undefined)
    return path === undefined
      ? String(reason)
      : `'${shown(String(path))}' cannot be in lakeFS: ${reason}`;
  if (fault.code === "lakefs/refused") return refusalText(fault);
  return toldText(fault);
}

/** A path in a sentence that git cuts after some hundred bytes: its middle gives way. */
function shown(path: string): string {
  const text = path.replace(/[\x00-\x1f\x7f]/g, "?");
  const half = LIMITS.messageNameBytesMax / 2;
  return text.length <= 2 * half ? text : `${text.slice(0, half)}…${text.slice(-half)}`;
}
