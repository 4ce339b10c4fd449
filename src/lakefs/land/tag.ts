/**
 * One tag lands: a light one points at its commit, an annotated one at a commit record that carries
 * the raw tag. lakeFS's tags never move.
 */
import { lossyText } from "../../base/bytes.js";
import { type Oid, ZERO_OID } from "../../git/oid.js";
import { parseTag } from "../../git/tag.js";
import type { RefChange, RefUpdateOptions } from "../../odb/ref-store.js";
import type { CommitActions, OperatorHook } from "../hooks/actions.js";
import { generationAfter, writeCommitRecord } from "../api/commit-record.js";
import { textRefusal } from "../rules/commit-text.js";
import { committerOf, describeTag } from "../rules/described-commit.js";
import { askingTwice } from "../hooks/hook-again.js";
import type { CommitWriter } from "./commits.js";
import { createSurely } from "./create-ref.js";
import { TAG_KEY } from "../rules/metadata-keys.js";
import { findRef, nameClash } from "./ref-clash.js";
import { toLakefsId } from "../rules/ref-names.js";
import type { MovingTag } from "./tag-move.js";
import type { LakefsRef } from "../api/types.js";
import { describeTask } from "../../odb/walk/tasks.js";
import { rawObjectsTask } from "./tasks.js";

const MOVE_REFUSAL =
  "the tag already exists, and this server does not move tags (setting lakefs_forced_pushes)";

function unsureText({ id }: OperatorHook): string {
  return (
    `the hook '${id}' (pre-create-tag) might refuse the new tag in lakeFS, and the old one when it is put back: ` +
    "delete the tag first, then push the new one"
  );
}

export class TagLanding {
  readonly #writer: CommitWriter;
  readonly #tag: string;
  readonly #change: RefChange;
  readonly #options: RefUpdateOptions;
  readonly #signal: AbortSignal;

  /** `short`: its name behind refs/tags/. */
  constructor(
    writer: CommitWriter,
    short: string,
    change: RefChange,
    options: RefUpdateOptions,
    signal: AbortSignal,
  ) {
    this.#writer = writer;
    this.#tag = toLakefsId("tag", short);
    this.#change = change;
    this.#options = options;
    this.#signal = signal;
  }

  async land(): Promise<string | undefined> {
    const { client, policy } = this.#writer.options;
    const { there, move } = await this.#current();
    const current = there === undefined ? ZERO_OID : await this.#gitIdOf(there);
    if (current === this.#change.new) return undefined;
    if (current !== this.#change.old)
      return current === ZERO_OID
        ? "the tag does not exist any more; fetch first"
        : "the tag already exists; fetch first";
    if (this.#change.new === ZERO_OID) return this.#delete(move);
    if (there !== undefined && !policy.allowForced) return MOVE_REFUSAL;
    if (there === undefined) {
      const clash = await nameClash(client, this.#change.name, this.#signal);
      if (clash !== undefined) return clash;
    }
    const target =
      this.#change.peeled === undefined
        ? await this.#lightTarget()
        : await this.#record(this.#change.peeled);
    if (typeof target !== "string") return target.refusal;
    if (there !== undefined && move === undefined) return this.#move(there.commit_id, target);
    await this.#options.stillMay?.();
    const reason = await this.#create(target);
    if (move !== undefined && reason === undefined)
      await this.#writer.tagMover.done(move, this.#signal);
    return reason;
  }

  /** Finds the tag; one that somebody is moving, or has not finished to move, is where it was. */
  async #current(): Promise<{ readonly there: LakefsRef | undefined; readonly move?: MovingTag }> {
    const there = await this.#find();
    // Who makes a tag from nothing need not ask: there was none, or git would know it.
    if (there !== undefined || this.#change.old === ZERO_OID) return { there };
    const move = await this.#writer.tagMover.find(this.#tag, this.#signal);
    return move === undefined ? { there } : { there: { id: this.#tag, commit_id: move.old }, move };
  }

  async #delete(move: MovingTag | undefined): Promise<string | undefined> {
    const { client } = this.#writer.options;
    if (this.#options.denyDeletes) return "deletion prohibited";
    await this.#options.stillMay?.();
    if (move === undefined)
      await askingTwice(() => client.deleteTag(this.#tag, this.#signal), this.#signal);
    const note = move ?? (await this.#writer.tagMover.find(this.#tag, this.#signal)); // left by a server that has died
    if (note !== undefined) await this.#writer.tagMover.done(note, this.#signal);
    return undefined;
  }

  async #move(old: string, target: string): Promise<string | undefined> {
    const unsure = await this.#unsureHook(old, target);
    if (unsure !== undefined) return unsureText(unsure);
    await this.#options.stillMay?.();
    const made = await this.#writer.tagMover.move(this.#tag, old, target);
    if (!made) return "the tag already exists in lakeFS; fetch first";
    this.#say(target);
    return undefined;
  }

  /**
   * lakeFS reads a tag's hooks from its target. Where they may refuse the new tag, and the old one
   * when it is put back, the tag might be lost.
   */
  async #unsureHook(old: string, target: string): Promise<OperatorHook | undefined> {
    const [before, after] = [
      await this.#writer.actions.at(old, this.#signal),
      await this.#writer.actions.at(target, this.#signal),
    ];
    const onTags = ({ hooks }: CommitActions) =>
      hooks.find(({ event }) => event === "pre-create-tag");
    return onTags(before) && onTags(after);
  }

  async #create(ref: string): Promise<string | undefined> {
    const { client } = this.#writer.options;
    const create = () => client.createTag({ id: this.#tag, ref }, this.#signal);
    const find = async () => (await this.#find())?.commit_id;
    const made = await createSurely({ target: ref, create, find }, this.#signal);
    if (!made) return "the tag already exists in lakeFS; fetch first";
    this.#say(ref);
    return undefined;
  }

  #say(ref: string): void {
    this.#options.onResult?.(`${this.#change.name}: ${this.#change.new} is lakeFS commit ${ref}`);
  }

  #find(): Promise<LakefsRef | undefined> {
    const { client } = this.#writer.options;
    return findRef(client, "tag", this.#tag, this.#signal);
  }

  async #gitIdOf({ commit_id }: LakefsRef): Promise<Oid> {
    const record = (await this.#writer.options.commits.resolve([commit_id], this.#signal)).get(
      commit_id,
    );
    return record?.tag ?? record?.commit ?? ZERO_OID;
  }

  async #lightTarget(): Promise<string | { readonly refusal: string }> {
    const oid = this.#change.new;
    const packs = await this.#writer.packs(this.#signal);
    const [summary] = await this.#writer.options.pool.run(
      describeTask,
      { packs, oids: [oid] },
      { signal: this.#signal },
    );
    if (summary?.type !== "commit")
      return {
        refusal: `lakeFS has tags of commits only, and this is a ${summary?.type ?? "missing object"}`,
      };
    return this.#writer.commitIn(oid, this.#options, this.#signal);
  }

  /** The record that stands for an annotated tag of `commit`, read back as that tag. */
  async #record(commit: Oid): Promise<string | { readonly refusal: string }> {
    const { client, pool, commits, mapping } = this.#writer.options;
    const [raw] = await pool.run(
      rawObjectsTask,
      { packs: await this.#writer.packs(this.#signal), oids: [this.#change.new] },
      { signal: this.#signal },
    );
    const link = parseTag(raw as Uint8Array);
    if (link.targetType !== "commit")
      return {
        refusal: `lakeFS has tags of commits only, and this is a tag of a ${link.targetType}`,
      };
    const parent = await client.getCommit(
      await this.#writer.commitIn(commit, this.#options, this.#signal),
      this.#signal,
    );
    const description = describeTag(lossyText(raw as Uint8Array));
    const { committer, metadata: who } = committerOf(description, this.#options.pusher);
    const metadata = { [TAG_KEY]: Buffer.from(raw as Uint8Array).toString("base64"), ...who };
    const creationDate = Math.floor(Date.now() / 1_000);
    const { message } = description;
    const facts = {
      committer,
      message,
      metarangeId: parent.meta_range_id,
      creationDate,
      parents: [parent.id],
      metadata,
      generation: generationAfter([parent]),
    };
    const id = await writeCommitRecord(client, facts, this.#signal);
    const read = (await commits.resolve([id], this.#signal)).get(id);
    if (read?.tag === this.#change.new) return id;
    const odd = textRefusal("tag", raw as Uint8Array, mapping);
    const why = odd === undefined ? "" : ` (${odd.id}: ${odd.text}, whatever fsck_levels says)`;
    return { refusal: `the tag would read back differently from lakeFS${why}` };
  }
}
