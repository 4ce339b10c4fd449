/**
 * Files of pushed commits whose data lakeFS's collection has removed. Their blob ids are known, so
 * that the commits stay what they are, but nobody can have those files from here any more: a clone
 * that needs them is refused, by name. Findings are noted, so that an operator hears of them
 * (`lakepack doctor`) and not the next person alone.
 */
import { asFault, type Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import type { Log } from "../../observe/log.js";
import type { LakefsClient } from "../api/client.js";
import { type Cut, isGone } from "../agreed/cuts.js";
import type { LakeNotes } from "./lake-notes.js";

export interface LostContentsOptions {
  readonly client: LakefsClient;
  readonly records: LakeNotes;
  readonly log: Log;
}

export class LostContents {
  readonly #options: LostContentsOptions;
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(options: LostContentsOptions) {
    this.#options = options;
  }

  /**
   * Notes what a failure tells, if that is it. Never rejects: who needs the file is told anyway.
   */
  async note({ code, facts }: Pick<Fault, "code" | "facts">, signal: AbortSignal): Promise<void> {
    const { commit, path } = facts;
    if (code !== "lakefs/gone" || typeof commit !== "string" || typeof path !== "string") return;
    await this.#change(
      (known) =>
        isIn(known, { commit, path }) || known.length >= LIMITS.lakefsLostNoted
          ? known
          : [...known, { commit, path }],
      signal,
    );
  }

  /** Forgets what has its data again: somebody has restored it. Never rejects. */
  async look(signal: AbortSignal): Promise<void> {
    const nowMs = performance.now();
    if (nowMs - this.#lookedMs < LIMITS.lakefsLostLookMs) return;
    this.#lookedMs = nowMs;
    const { client } = this.#options;
    await this.#change(async (known) => {
      const left: Cut[] = [];
      // What cannot be asked now stays noted.
      for (const cut of known)
        if (await isGone(client, cut, signal).catch(() => true)) left.push(cut);
      return left;
    }, signal);
  }

  async #change(
    next: (known: readonly Cut[]) => readonly Cut[] | Promise<readonly Cut[]>,
    signal: AbortSignal,
  ): Promise<void> {
    const { records, log, client } = this.#options;
    try {
      // A damaged note is made again.
      const known = await records.lost(signal).catch((error: unknown) => {
        if (asFault(error).code !== "odb/damaged") throw error;
        return [];
      });
      const now = await next(known);
      if (now.length === known.length) return;
      await records.putLost(now, signal);
      for (const cut of now)
        if (!isIn(known, cut)) log.warn(TOLD, { repository: client.repository, ...cut });
    } catch (error) {
      log.debug("what is gone is not noted", {
        repository: client.repository,
        reason: asFault(error).message,
      });
    }
  }
}

function isIn(known: readonly Cut[], { commit, path }: Cut): boolean {
  return known.some((one) => one.commit === commit && one.path === path);
}

const TOLD =
  "data of a pushed commit is gone from lakeFS's storage: who needs that file is refused";
