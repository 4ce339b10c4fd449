/**
 * Moving a tag. lakeFS has no call for it: the old one is deleted and the new one made, and hooks
 * may refuse either. A note of it stands before, so that the old tag comes back whatever happens in
 * between:
 *
 *   note     branch lakepack-tag-<unix ms>-<random> at a record {parent: the old target, no file,
 *            metadata: the tag's name, sealed}
 *   delete   the old tag; refused: the note goes, nothing has changed
 *   create   the new tag; refused or failed: the old one is made again, then the note goes
 *   done     the note goes
 *
 * A list of refs shows a tag that is noted and missing where it was. Any server that meets a note
 * older than any move puts the tag back and takes the note away; a note whose tag is elsewhere by
 * now is taken away at once, and so is one of a tag that a push deletes: it would bring the tag
 * back. The note has no file, so no hook is told of it; it is no hidden branch, so that every list
 * of branches shows it.
 */
import { randomBytes } from "node:crypto";
import { asFault, Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import type { SealKeys } from "../rules/claim-seal.js";
import type { LakefsClient } from "../api/client.js";
import { generationAfter, writeCommitRecord } from "../api/commit-record.js";
import { askingTwice } from "../hooks/hook-again.js";
import { createSurely } from "./create-ref.js";
import { COMMIT_SEAL_KEY, MOVING_KEY } from "../rules/metadata-keys.js";
import { findRef } from "./ref-clash.js";
import { RESERVED_BRANCH_PREFIX } from "../api/hidden-branches.js";
import type { RootCommit } from "../agreed/root-commit.js";
import type { LakefsRef } from "../api/types.js";

export const TAG_MOVE_PREFIX = `${RESERVED_BRANCH_PREFIX}tag-`;
const NOTE_NAME = /^lakepack-tag-(\d{1,15})-/;

export interface MovingTag {
  /** The note's branch. */
  readonly note: string;
  /** lakeFS's name of the tag. */
  readonly tag: string;
  /** Commit it was at. */
  readonly old: string;
  readonly startMs: number;
  /** No move takes so long: its server has died. */
  readonly isLeft: boolean;
}

export interface TagMoverOptions {
  readonly client: LakefsClient;
  readonly namespace: string;
  readonly root: Pick<RootCommit, "get">;
  readonly seals: Pick<SealKeys, "sealLanding" | "isLandingSealed">;
}

export class TagMover {
  readonly #options: TagMoverOptions;

  constructor(options: TagMoverOptions) {
    this.#options = options;
  }

  /**
   * Returns the branches that note a move, each tag's last one: earlier ones are left over from a
   * crash, and the tag has been elsewhere since.
   */
  async moving(branches: readonly LakefsRef[], signal: AbortSignal): Promise<readonly MovingTag[]> {
    const last = new Map<string, MovingTag>();
    for (const move of await this.#read(branches, signal)) {
      if ((last.get(move.tag)?.startMs ?? 0) < move.startMs) last.set(move.tag, move);
    }
    return [...last.values()];
  }

  /** The move of one tag that is noted; undefined: it is not being moved. */
  async find(tag: string, signal: AbortSignal): Promise<MovingTag | undefined> {
    return (await this.moving(await this.#notes(signal), signal)).find((move) => move.tag === tag);
  }

  /**
   * Puts a tag back where it was, unless there is one, and takes its notes away. True: it was put
   * back.
   */
  async settle(move: MovingTag, signal: AbortSignal): Promise<boolean> {
    const { client } = this.#options;
    const isMissing = (await findRef(client, "tag", move.tag, signal)) === undefined;
    if (isMissing) await this.#create(move.tag, move.old, signal);
    await this.done(move, signal);
    return isMissing;
  }

  /** Takes a note away, and those before it. */
  async done({ tag, note, startMs }: MovingTag, signal: AbortSignal): Promise<void> {
    const { client } = this.#options;
    const all = await this.#read(await this.#notes(signal), signal);
    const before = all.filter(
      (other) => other.tag === tag && other.startMs <= startMs && other.note !== note,
    );
    for (const other of before) await client.deleteBranch(other.note, signal);
    await client.deleteBranch(note, signal);
  }

  async #notes(signal: AbortSignal): Promise<readonly LakefsRef[]> {
    const { client } = this.#options;
    const notes: LakefsRef[] = [];
    for await (const branch of client.listBranches({ prefix: TAG_MOVE_PREFIX }, signal))
      notes.push(branch);
    return notes;
  }

  /**
   * Notes whose word counts: anybody may make a branch, and what it says is put into practice with
   * our key.
   */
  async #read(branches: readonly LakefsRef[], signal: AbortSignal): Promise<readonly MovingTag[]> {
    const { client, namespace, seals } = this.#options;
    const found: MovingTag[] = [];
    for (const { id: note, commit_id } of branches.slice(0, LIMITS.tagMovesMax)) {
      const startMs = Number(NOTE_NAME.exec(note)?.[1]);
      if (Number.isNaN(startMs)) continue;
      const { metadata = {}, parents } = await client.getCommit(commit_id, signal);
      const [old] = parents;
      const tag = metadata[MOVING_KEY];
      if (tag === undefined || old === undefined) continue;
      if (
        !seals.isLandingSealed(metadata[COMMIT_SEAL_KEY], {
          namespace,
          base: tag,
          tip: old,
          step: 0,
        })
      )
        continue;
      found.push({ note, tag, old, startMs, isLeft: Date.now() - startMs > LIMITS.tagMoveMs });
    }
    return found;
  }

  /**
   * Moves a tag. False: another one is there by now. Throws why not; the old one is there then, or
   * where lakeFS does not answer any more, its note. Not the pusher's signal: once begun it goes to
   * an end.
   */
  async move(tag: string, old: string, to: string): Promise<boolean> {
    const { client } = this.#options;
    const signal = AbortSignal.timeout(2 * LIMITS.lakefsHookMs);
    const move = await this.#note(tag, old, signal);
    try {
      // As late as can be: lakeFS deletes whatever is there.
      if ((await findRef(client, "tag", tag, signal))?.commit_id !== old)
        return await this.#ends(move, false, signal);
      await askingTwice(() => client.deleteTag(tag, signal), signal);
      return await this.#ends(move, await this.#create(tag, to, signal), signal);
    } catch (error) {
      await this.settle(move, signal).catch((cause: unknown) => {
        const [first, second] = [asFault(error).message, asFault(cause).message];
        const reason = `${first}; the old tag is put back as soon as lakeFS lets it: ${second}`;
        throw new Fault("lakefs/failed", { tag, reason }, cause);
      });
      throw error;
    }
  }

  /** A note that stays is taken away by whoever meets it when it is old. */
  async #ends(move: MovingTag, made: boolean, signal: AbortSignal): Promise<boolean> {
    await this.done(move, signal).catch(() => undefined);
    return made;
  }

  #create(tag: string, ref: string, signal: AbortSignal): Promise<boolean> {
    const { client } = this.#options;
    const create = () => client.createTag({ id: tag, ref }, signal);
    const find = async () => (await findRef(client, "tag", tag, signal))?.commit_id;
    return createSurely({ target: ref, create, find }, signal);
  }

  async #note(tag: string, old: string, signal: AbortSignal): Promise<MovingTag> {
    const { client, namespace, root, seals } = this.#options;
    const seal = seals.sealLanding({ namespace, base: tag, tip: old, step: 0 });
    if (seal === undefined)
      throw new Fault("base/internal", {
        reason: "a tag is moved by servers with a seal key only",
      });
    const [first, parent] = await Promise.all([root.get(signal), client.getCommit(old, signal)]);
    const startMs = Date.now();
    const record = await writeCommitRecord(
      client,
      {
        committer: "lakepack",
        message: `A tag is being moved: ${tag}`,
        metarangeId: first.meta_range_id,
        creationDate: Math.floor(startMs / 1_000),
        parents: [old],
        metadata: { [MOVING_KEY]: tag, [COMMIT_SEAL_KEY]: seal },
        generation: generationAfter([parent]),
      },
      signal,
    );
    const note = `${TAG_MOVE_PREFIX}${startMs}-${randomBytes(6).toString("hex")}`;
    await client.createBranch({ name: note, source: record }, signal);
    return { note, tag, old, startMs, isLeft: false };
  }
}
