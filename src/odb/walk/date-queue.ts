/**
 * Commits waiting in a walk, the newest first; of equal dates the one that came first. A binary
 * heap.
 */
import type { CommitNode } from "./commits.js";

interface Waiting {
  readonly node: CommitNode;
  readonly order: number;
}

export class DateQueue {
  readonly #heap: Waiting[] = [];
  #pushed = 0;

  get length(): number {
    return this.#heap.length;
  }

  /** The newest, left in place. */
  peek(): CommitNode | undefined {
    return this.#heap[0]?.node;
  }

  push(node: CommitNode): void {
    const heap = this.#heap;
    const item: Waiting = { node, order: this.#pushed++ };
    let at = heap.length;
    heap.push(item);
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = heap[up] as Waiting;
      if (!before(item, parent)) break;
      heap[at] = parent;
      at = up;
    }
    heap[at] = item;
  }

  pop(): CommitNode | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (last !== undefined && heap.length > 0) this.#sink(last);
    return top?.node;
  }

  /** Puts `item` where it belongs from the top down. */
  #sink(item: Waiting): void {
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Waiting, heap[child] as Waiting))
        child++;
      if (!before(heap[child] as Waiting, item)) break;
      heap[at] = heap[child] as Waiting;
      at = child;
    }
    heap[at] = item;
  }
}

function before(left: Waiting, right: Waiting): boolean {
  return (
    left.node.date > right.node.date ||
    (left.node.date === right.node.date && left.order < right.order)
  );
}
