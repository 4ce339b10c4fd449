/** Counts what a backup or a restore has done so far. */
import { LIMITS } from "../../base/limits.js";

export class Tally {
  repositories = 0;
  lfsObjects = 0;
  /** Files that were brought, and their bytes: those that were there already do not count. */
  files = 0;
  bytes = 0;
  damaged = 0;
  /** The first of those that are damaged. */
  readonly named: string[] = [];
  readonly #onProgress: (tally: Tally) => void;

  constructor(onProgress: (tally: Tally) => void) {
    this.#onProgress = onProgress;
  }

  brought(bytes: number): void {
    this.files++;
    this.bytes += bytes;
    this.#onProgress(this);
  }

  repository(): void {
    this.repositories++;
    this.#onProgress(this);
  }

  damage(name: string): void {
    this.damaged++;
    if (this.named.length < LIMITS.backupNamedMax) this.named.push(name);
  }
}
