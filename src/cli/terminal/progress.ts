/** The line on a terminal that tells how far a command is: of those that a person waits for. */
import { LIMITS } from "../../base/limits.js";
import { sayOver } from "./say.js";

export class ProgressLine {
  #shownMs = 0;

  /** `text` is asked for where it is time to show it. */
  show(text: () => string): void {
    if (performance.now() - this.#shownMs < LIMITS.progressEveryMs) return;
    this.#shownMs = performance.now();
    sayOver(text());
  }

  /** Before what is said at the end. */
  end(): void {
    sayOver("");
  }
}
