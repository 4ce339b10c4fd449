/** One tag lands: a light one points at its commit, an annotated one at a commit record that carries the raw tag. lakeFS's tags never move. */
import { lossyText } from "../base/bytes.js";
import { type Oid, ZERO_OID } from "../git/oid.js";
import { parseTag } from "../git/tag.js";
import type { RefChange, RefUpdateOptions } from "../odb/ref-store.js";
import { generationAfter, writeCommitRecord } from "./commit-record.js";
import { textRefusal } from "./commit-text.js";
import { describeTag } from "./described-commit.js";
import type { Lander } from "./lander.js";
import { createSurely } from "./landing-create.js";
import { TAG_KEY } from "./metadata-keys.js";
import { findRef, nameClash } from "./ref-clash.js";
import { toLakefsId } from "./ref-names.js";
import type { LakefsRef } from "./types.js";

export class TagLanding {
  readonly #lander: Lander;
  readonly #tag: string;
  readonly #change: RefChange;
  readonly #options: RefUpdateOptions;
  readonly #signal: AbortSignal;

  /** `short`: its name behind refs/tags/. */
  constructor(lander: Lander, short: string, change: RefChange, options: RefUpdateOptions, signal: AbortSignal) {
    this.#lander = lander;
    this.#tag = toLakefsId("tag", short);
    this.#change = change;
    this.#options = options;
    this.#signal = signal;
  }

  async land(): Promise<string | undefined> {
    const { client, repository } = this.#lander.options;
    const there = await this.#find();
    const current = there === undefined ? ZERO_OID : await this.#gitIdOf(there);
    if (current === this.#change.new) return undefined;
    if (current !== this.#change.old) return current === ZERO_OID ? "the tag does not exist any more; fetch first" : "the tag already exists; fetch first";
    if (this.#change.new === ZERO_OID) {
      await this.#options.stillMay?.();
      await client.deleteTag(repository, this.#tag, this.#signal);
      return undefined;
    }
    if (there === undefined) {
      const clash = await nameClash(client, repository, this.#change.name, this.#signal);
      if (clash !== undefined) return clash;
    }
    const target = this.#change.peeled === undefined ? await this.#lightTarget() : await this.#record(this.#change.peeled);
    if (typeof target !== "string") return target.refusal;
    await this.#options.stillMay?.();
    // Two calls: for a moment there is no tag, and the old one is gone if this process dies here.
    if (there !== undefined) await client.deleteTag(repository, this.#tag, this.#signal);
    return this.#create(target);
  }

  async #create(ref: string): Promise<string | undefined> {
    const { client, repository } = this.#lander.options;
    const made = await createSurely({
      target: ref,
      create: () => client.createTag(repository, { id: this.#tag, ref }, this.#signal),
      find: async () => (await this.#find())?.commit_id,
    });
    if (!made) return "the tag already exists in lakeFS; fetch first";
    this.#options.onResult?.(`${this.#change.name}: ${this.#change.new} is lakeFS commit ${ref}`);
    return undefined;
  }

  #find(): Promise<LakefsRef | undefined> {
    const { client, repository } = this.#lander.options;
    return findRef(client, repository, "tag", this.#tag, this.#signal);
  }

  async #gitIdOf({ commit_id }: LakefsRef): Promise<Oid> {
    const record = (await this.#lander.options.commits.resolve([commit_id], this.#signal)).get(commit_id);
    return record?.tag ?? record?.commit ?? ZERO_OID;
  }

  async #lightTarget(): Promise<string | { readonly refusal: string }> {
    const oid = this.#change.new;
    const packs = await this.#lander.packs(this.#signal);
    const [summary] = await this.#lander.options.pool.run("receive-pack/describe", { packs, oids: [oid] }, { signal: this.#signal });
    if (summary?.type !== "commit") return { refusal: `lakeFS has tags of commits only, and this is a ${summary?.type ?? "missing object"}` };
    return this.#lander.commitIn(oid, this.#signal, this.#onProgress);
  }

  /** The record that stands for an annotated tag of `commit`, read back as that tag. */
  async #record(commit: Oid): Promise<string | { readonly refusal: string }> {
    const { client, repository, pool, commits, mapping } = this.#lander.options;
    const [raw] = await pool.run("landing/rawObjects", { packs: await this.#lander.packs(this.#signal), oids: [this.#change.new] }, { signal: this.#signal });
    const link = parseTag(raw as Uint8Array);
    if (link.targetType !== "commit") return { refusal: `lakeFS has tags of commits only, and this is a tag of a ${link.targetType}` };
    const parent = await client.getCommit(repository, await this.#lander.commitIn(commit, this.#signal, this.#onProgress), this.#signal);
    const { committer, message } = describeTag(lossyText(raw as Uint8Array));
    const metadata = { [TAG_KEY]: Buffer.from(raw as Uint8Array).toString("base64") };
    const creationDate = Math.floor(Date.now() / 1_000);
    const facts = { committer, message, metarangeId: parent.meta_range_id, creationDate, parents: [parent.id], metadata, generation: generationAfter([parent]) };
    const id = await writeCommitRecord(client, repository, facts, this.#signal);
    const read = (await commits.resolve([id], this.#signal)).get(id);
    if (read?.tag === this.#change.new) return id;
    const odd = textRefusal("tag", raw as Uint8Array, mapping);
    const why = odd === undefined ? "" : ` (${odd.id}: ${odd.text}, whatever fsck_levels says)`;
    return { refusal: `the tag would read back differently from lakeFS${why}` };
  }

  readonly #onProgress = (line: string, done: boolean): void => this.#options.onProgress?.(line, done);
}
