/**
 * A new branch or tag: lakeFS's call for it only makes, never moves. Where its answer is lost, the
 * ref itself tells what became of it.
 */
import { asFault } from "../../base/fault.js";
import { askingTwice } from "../hooks/hook-again.js";

export interface NewRef {
  /** lakeFS commit id it is to be at. */
  readonly target: string;
  /** Throws "lakefs/conflict" where there is one. */
  create(): Promise<unknown>;
  /** Commit id it is at; undefined: it is not there. */
  find(): Promise<string | undefined>;
}

/** Tries where lakeFS gave no answer and the ref is not there. */
const TRIES_MAX = 4;

/** False: there is one at another commit. */
export async function createSurely(
  { target, create, find }: NewRef,
  signal: AbortSignal,
): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    try {
      await askingTwice(create, signal);
      return true;
    } catch (error) {
      const { code } = asFault(error);
      if (code !== "lakefs/conflict" && code !== "lakefs/unreachable" && code !== "lakefs/failed")
        throw error;
      const there = await find();
      if (there !== undefined) return there === target;
      if (code === "lakefs/conflict" || attempt === TRIES_MAX) throw error;
    }
  }
}
