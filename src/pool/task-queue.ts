/** The order in which waiting tasks get a thread: interactive before background, first come first served within each. */
import { queueOptionsSymbol } from "piscina";
import type { Priority } from "./tasks.js";

/** What the pool library hands over: an opaque task that carries our options under its symbol. */
export interface QueuedTask {
  readonly [queueOptionsSymbol]: object | null;
}

export interface QueueOptions {
  readonly priority: Priority;
}

const ORDER: readonly Priority[] = ["interactive", "background"];

export class PriorityQueue {
  readonly #waiting: Record<Priority, Set<QueuedTask>> = { interactive: new Set(), background: new Set() };

  get size(): number {
    return this.#waiting.interactive.size + this.#waiting.background.size;
  }

  push(task: QueuedTask): void {
    this.#of(task).add(task);
  }

  remove(task: QueuedTask): void {
    this.#of(task).delete(task);
  }

  shift(): QueuedTask | null {
    for (const priority of ORDER) {
      for (const task of this.#waiting[priority]) {
        this.#waiting[priority].delete(task);
        return task;
      }
    }
    return null;
  }

  #of(task: QueuedTask): Set<QueuedTask> {
    const options = task[queueOptionsSymbol] as QueueOptions | null;
    return this.#waiting[options?.priority ?? "interactive"];
  }
}
