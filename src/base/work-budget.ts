/**
 * Counts the work that one request causes, and ends it where it is more than any ordinary one
 * needs.
 */
import { Fault, type FaultCode } from "./fault.js";

export class WorkBudget {
  #left: number;
  #max: number;
  readonly #fault: FaultCode;
  readonly #unit: string;

  /**
   * `unit`: what is counted, as the message says it ("paths"). `fault`: what a request that needs
   * more is told.
   */
  constructor(max: number, unit: string, fault: FaultCode) {
    this.#left = max;
    this.#max = max;
    this.#fault = fault;
    this.#unit = unit;
  }

  get spent(): number {
    return this.#max - this.#left;
  }

  /** Raises the whole: for work that grows with what there is, as it comes to light. */
  allow(amount: number): void {
    this.#left += amount;
    this.#max += amount;
  }

  /**
   * Throws the fault once more than the whole is spent. Costs some nanoseconds: to be called where
   * the loops are.
   */
  spend(amount: number): void {
    this.#left -= amount;
    if (this.#left < 0) throw new Fault(this.#fault, { limit: this.#max, unit: this.#unit });
  }
}
