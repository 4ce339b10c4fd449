/**
 * Answers that list refs, kept as bytes while the refs are what they were: thousands of clients ask
 * the same of a repository between two pushes. The key is the state of the refs and what was asked,
 * never who asks.
 */
import { LRUCache } from "lru-cache";
import { concat } from "../../base/bytes.js";
import { type ByteSink, Turns } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";

/** Identity of a state of the refs: a snapshot is one object as long as nothing has changed. */
type RefState = object;

export class RefAnswers {
  readonly #numbers = new WeakMap<RefState, number>();
  #lastNumber = 0;
  readonly #kept = new LRUCache<string, Uint8Array>({
    maxSize: LIMITS.refAnswersBytesMax,
    maxEntrySize: LIMITS.refAnswerBytesMax,
    sizeCalculation: (bytes, key) => bytes.length + key.length + 1,
  });

  /**
   * Writes what `make` yields, or what it yielded for the same `question` about the same refs.
   * `isWhole`: nothing else is in the reply.
   */
  async write(
    output: ByteSink,
    state: RefState,
    question: string,
    make: () => Iterable<Uint8Array>,
    isWhole = false,
  ): Promise<void> {
    const key = `${this.#numberOf(state)} ${question}`;
    const known = this.#kept.get(key);
    if (known !== undefined) {
      if (isWhole) output.expect?.(known.length); // so that it is not copied to learn its length
      return output.write(known);
    }
    let parts: Uint8Array[] | undefined = key.length <= LIMITS.refQuestionBytesMax ? [] : undefined;
    let bytes = 0;
    const turns = new Turns();
    for (const part of make()) {
      if (turns.isDue) await turns.next();
      bytes += part.length;
      if (bytes > LIMITS.refAnswerBytesMax) parts = undefined;
      parts?.push(part);
      await output.write(part);
    }
    if (parts !== undefined) this.#kept.set(key, concat(parts));
  }

  #numberOf(state: RefState): number {
    const known = this.#numbers.get(state);
    if (known !== undefined) return known;
    this.#numbers.set(state, ++this.#lastNumber);
    return this.#lastNumber;
  }
}
