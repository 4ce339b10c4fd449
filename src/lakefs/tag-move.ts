/**
 * Moving a tag. lakeFS has no call for it: the old one is deleted and the new one made, and hooks may refuse either. A note of it stands before, so that the
 * old tag comes back whatever happens in between:
 *
 *   note     branch lakepack-tag-<unix start>-<random> at a record {parent: the old target, no file, metadata: the tag's name, sealed}
 *   delete   the old tag; refused: the note goes, nothing has changed
 *   create   the new tag; refused or failed: the old one is made again, then the note goes
 *   done     the note goes
 *
 * A list of refs shows a tag that is noted and missing where it was. Whoever meets a note that is older than any move puts the tag back
 * and takes the note away. The note has no file, so no hook is told of it; it is no hidden branch, so that every list of branches shows it.
 */
import { randomBytes } from "node:crypto";
import { asFault, Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import type { SealKeys } from "./claim-seal.js";
import type { LakefsClient } from "./client.js";
import { generationAfter, writeCommitRecord } from "./commit-record.js";
import { askingTwice } from "./hook-again.js";
import { createSurely } from "./landing-create.js";
import { COMMIT_SEAL_KEY, MOVING_KEY } from "./metadata-keys.js";
import { findRef } from "./ref-clash.js";
import { RESERVED_BRANCH_PREFIX } from "./ref-names.js";
import type { RootCommit } from "./root-commit.js";
import type { LakefsRef } from "./types.js";

export const TAG_MOVE_PREFIX = `${RESERVED_BRANCH_PREFIX}tag-`;
const NOTE_NAME = /^lakepack-tag-(\d{1,12})-/;

export interface MovingTag {
  /** The note's branch. */
  readonly note: string;
  /** lakeFS's name of the tag. */
  readonly tag: string;
  /** Commit it was at. */
  readonly old: string;
  /** No move takes so long: its server has died. */
  readonly isLeft: boolean;
}

export interface TagMoverOptions {
  readonly client: LakefsClient;
  readonly repository: string;
  readonly namespace: string;
  readonly root: Pick<RootCommit, "get">;
  readonly seals: Pick<SealKeys, "sealLanding" | "isLandingSealed">;
}

export class TagMover {
  readonly #options: TagMoverOptions;

  constructor(options: TagMoverOptions) {
    this.#options = options;
  }

  /** Of branches those that note a move, and whose word counts: anybody may make a branch, and what it says is put into practice with our key. */
  async moving(branches: readonly LakefsRef[], signal: AbortSignal): Promise<readonly MovingTag[]> {
    const { client, repository, namespace, seals } = this.#options;
    const found: MovingTag[] = [];
    for (const { id: note, commit_id } of branches.slice(0, LIMITS.tagMovesMax)) {
      const started = NOTE_NAME.exec(note)?.[1];
      if (started === undefined) continue;
      const { metadata = {}, parents } = await client.getCommit(repository, commit_id, signal);
      const [old] = parents;
      const tag = metadata[MOVING_KEY];
      if (tag === undefined || old === undefined) continue;
      if (!seals.isLandingSealed(metadata[COMMIT_SEAL_KEY], { namespace, base: tag, tip: old, step: 0 })) continue;
      found.push({ note, tag, old, isLeft: Date.now() - Number(started) * 1_000 > LIMITS.tagMoveMs });
    }
    return found;
  }

  /** The move of one tag that is noted; undefined: it is not being moved. */
  async find(tag: string, signal: AbortSignal): Promise<MovingTag | undefined> {
    const { client, repository } = this.#options;
    const notes: LakefsRef[] = [];
    for await (const branch of client.listBranches(repository, { prefix: TAG_MOVE_PREFIX }, signal)) notes.push(branch);
    return (await this.moving(notes, signal)).find((move) => move.tag === tag);
  }

  /** Puts a tag back where it was, unless there is one, and takes the note away. */
  async settle({ note, tag, old }: MovingTag, signal: AbortSignal): Promise<void> {
    await this.#create(tag, old, signal);
    await this.done(note, signal);
  }

  /** Takes a note away. */
  done(note: string, signal: AbortSignal): Promise<void> {
    return this.#options.client.deleteBranch(this.#options.repository, note, signal);
  }

  /**
   * Moves a tag. False: another one is there by now. Throws why not; the old one is there then, or where lakeFS does not answer any more, its note. Not the
   * pusher's signal: once begun it goes to an end.
   */
  async move(tag: string, old: string, to: string): Promise<boolean> {
    const { client, repository } = this.#options;
    const signal = AbortSignal.timeout(2 * LIMITS.lakefsHookMs);
    const note = await this.#note(tag, old, signal);
    try {
      await askingTwice(() => client.deleteTag(repository, tag, signal), signal);
    } catch (error) {
      await this.#settleAfter(error, { note, tag, old }, signal);
    }
    try {
      const made = await this.#create(tag, to, signal);
      await this.done(note, signal).catch(() => undefined); // whoever lists branches later does it
      return made;
    } catch (error) {
      return this.#settleAfter(error, { note, tag, old }, signal);
    }
  }

  /** Throws `error` once the old tag is there again; both failures where it cannot be made again now. */
  async #settleAfter(error: unknown, { note, tag, old }: Omit<MovingTag, "isLeft">, signal: AbortSignal): Promise<never> {
    await this.settle({ note, tag, old, isLeft: false }, signal).catch((cause: unknown) => {
      const reason = `${asFault(error).message}; the old tag is put back as soon as lakeFS lets it: ${asFault(cause).message}`;
      throw new Fault("lakefs/failed", { tag, reason }, cause);
    });
    throw error;
  }

  #create(tag: string, ref: string, signal: AbortSignal): Promise<boolean> {
    const { client, repository } = this.#options;
    const create = () => client.createTag(repository, { id: tag, ref }, signal);
    const find = async () => (await findRef(client, repository, "tag", tag, signal))?.commit_id;
    return createSurely({ target: ref, create, find }, signal);
  }

  async #note(tag: string, old: string, signal: AbortSignal): Promise<string> {
    const { client, repository, namespace, root, seals } = this.#options;
    const seal = seals.sealLanding({ namespace, base: tag, tip: old, step: 0 });
    if (seal === undefined) throw new Fault("base/internal", { reason: "a tag is moved by servers with a seal key only" });
    const [first, parent] = await Promise.all([root.get(signal), client.getCommit(repository, old, signal)]);
    const start = Math.floor(Date.now() / 1_000);
    const record = await writeCommitRecord(
      client,
      repository,
      {
        committer: "lakepack",
        message: `A tag is being moved: ${tag}`,
        metarangeId: first.meta_range_id,
        creationDate: start,
        parents: [old],
        metadata: { [MOVING_KEY]: tag, [COMMIT_SEAL_KEY]: seal },
        generation: generationAfter([parent]),
      },
      signal,
    );
    const note = `${TAG_MOVE_PREFIX}${start}-${randomBytes(6).toString("hex")}`;
    await client.createBranch(repository, { name: note, source: record }, signal);
    return note;
  }
}
