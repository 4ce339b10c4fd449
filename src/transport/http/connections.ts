/** Counts the connections of each address, so that one of them cannot take all there is. */
import type { ConnectionLimit } from "./contract.js";

export class Connections {
  readonly #limit: ConnectionLimit | undefined;
  readonly #open = new Map<string, number>();

  constructor(limit: ConnectionLimit | undefined) {
    this.#limit = limit;
  }

  /**
   * False: this address has as many as it may; the connection is to be closed, and does not count.
   */
  opened(address: string): boolean {
    const limit = this.#limit;
    if (limit === undefined || limit.exempts(address)) return true;
    const open = this.#open.get(address) ?? 0;
    if (open >= limit.max) return false;
    this.#open.set(address, open + 1);
    return true;
  }

  /** One that `opened` has let in is gone. */
  closed(address: string): void {
    const open = this.#open.get(address);
    if (open === undefined) return;
    if (open <= 1) this.#open.delete(address);
    else this.#open.set(address, open - 1);
  }
}
