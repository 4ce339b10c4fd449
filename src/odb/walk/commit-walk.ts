/**
 * Commits that are reachable from some and not from others, newest first. The cost follows the
 * difference: the walk ends when everything waiting is known to be uninteresting.
 *
 * Clocks are not to be trusted: a child may be dated before its parent. So the walk goes on for a
 * few commits after it looks done, and what is marked uninteresting late is taken out again. An
 * object that slips through costs bytes, never correctness.
 */
import type { TaskWatch } from "../../pool/control.js";
import { DateQueue } from "./date-queue.js";
import type { CommitNode, Commits } from "./commits.js";
import { NONE } from "../packs/numbering.js";

/** Marks of objects, one byte each, shared by the walks of one task. */
export const MARK = {
  /** Met by the walk. */
  seen: 1,
  /** The other side has it. */
  uninteresting: 2,
  /** Taken out of the queue. */
  walked: 4,
  /** To be sent. */
  sent: 8,
  /** Reached through a link: filters apply (they do not to what was asked for by id). */
  linked: 16,
  /** A filter was asked about it and leaves it out. */
  refused: 32,
} as const;

export interface CommitRange {
  /** Numbers of commits to start from. */
  readonly wants: readonly number[];
  /** Commits the other side has, with all they reach. */
  readonly haves: readonly number[];
  /**
   * Commits older than this are left out, seconds since 1970. With haves they count as had, and all
   * they reach; without, they are only not followed, so that a wrong clock hides less. Git draws
   * the same line.
   */
  readonly since?: number;
}

export interface WalkedCommits {
  /** Newest first. */
  readonly commits: readonly CommitNode[];
  /** Uninteresting parents of those. */
  readonly edges: readonly number[];
}

/** Commits the walk looks at after it seems done. Git: SLOP in revision.c. */
const SLOP = 5;

export function walkCommits(
  commits: Commits,
  marks: Uint8Array,
  range: CommitRange,
  watch: TaskWatch,
): Promise<WalkedCommits> {
  const walk = new CommitWalk(commits, marks, range.since ?? 0, watch);
  for (const want of range.wants) walk.start(want, 0);
  for (const have of range.haves) walk.start(have, MARK.uninteresting);
  return walk.run(range.haves.length > 0);
}

class CommitWalk {
  readonly #commits: Commits;
  readonly #marks: Uint8Array;
  readonly #since: number;
  readonly #watch: TaskWatch;
  readonly #queue = new DateQueue();
  readonly #found: CommitNode[] = [];
  /** Commits in the queue that are not marked uninteresting. */
  #interesting = 0;

  constructor(commits: Commits, marks: Uint8Array, since: number, watch: TaskWatch) {
    this.#commits = commits;
    this.#marks = marks;
    this.#since = since;
    this.#watch = watch;
  }

  start(number: number, mark: number): void {
    if (mark !== 0) this.#markUninteresting(number);
    this.#enqueue(number, 0);
  }

  async run(isLimited: boolean): Promise<WalkedCommits> {
    let slop = SLOP;
    let lastDate = Number.POSITIVE_INFINITY;
    for (let node = this.#queue.pop(); node !== undefined; node = this.#queue.pop()) {
      this.#watch.step();
      if (this.#watch.shouldYield()) await this.#watch.turn();
      if (!isLimited && node.date < this.#since) continue;
      if (this.#leave(node)) {
        this.#walkUninteresting(node);
        const next = this.#queue.peek();
        if (next === undefined) break;
        slop = lastDate <= next.date || this.#interesting > 0 ? SLOP : slop - 1;
        if (slop === 0) break;
        continue;
      }
      this.#found.push(node);
      lastDate = node.date;
      this.#walkInteresting(node);
    }
    return this.#result();
  }

  /** Takes `node` out of the counts; true where it is uninteresting. */
  #leave(node: CommitNode): boolean {
    const marks = this.#marks;
    const { number } = node;
    if (!this.#has(number, MARK.uninteresting)) {
      this.#interesting--;
      if (node.date < this.#since) marks[number] = this.#bits(number) | MARK.uninteresting;
    }
    marks[number] = this.#bits(number) | MARK.walked;
    return this.#has(number, MARK.uninteresting);
  }

  #walkInteresting(node: CommitNode): void {
    for (const parent of this.#commits.parents(node)) {
      if (parent === NONE) throw this.#commits.missingLink(node);
      this.#enqueue(parent, MARK.linked);
    }
  }

  /** Parents that are not here do not matter: the other side has them. */
  #walkUninteresting(node: CommitNode): void {
    for (const parent of this.#commits.parents(node)) {
      if (parent === NONE) continue;
      this.#markUninteresting(parent);
      this.#enqueue(parent, MARK.linked);
    }
  }

  #enqueue(number: number, mark: number): void {
    if (this.#has(number, MARK.seen)) return;
    this.#marks[number] = this.#bits(number) | MARK.seen | mark;
    this.#queue.push(this.#commits.node(number));
    if (!this.#has(number, MARK.uninteresting)) this.#interesting++;
  }

  /** Marks `start`, and through commits that were walked already everything they led to. */
  #markUninteresting(start: number): void {
    const waiting = [start];
    for (let number = waiting.pop(); number !== undefined; number = waiting.pop()) {
      if (number === NONE || this.#has(number, MARK.uninteresting)) continue;
      this.#marks[number] = this.#bits(number) | MARK.uninteresting;
      if (!this.#has(number, MARK.seen)) continue;
      if (!this.#has(number, MARK.walked)) this.#interesting--;
      else
        for (const parent of this.#commits.parents(this.#commits.node(number)))
          waiting.push(parent);
    }
  }

  #result(): WalkedCommits {
    const commits = this.#found.filter(({ number }) => !this.#has(number, MARK.uninteresting));
    const edges = new Set<number>();
    for (const node of commits) {
      for (const parent of this.#commits.parents(node)) {
        if (this.#has(parent, MARK.uninteresting)) edges.add(parent);
      }
    }
    return { commits, edges: [...edges] };
  }

  #bits(number: number): number {
    return this.#marks[number] as number;
  }

  #has(number: number, mark: number): boolean {
    return (this.#bits(number) & mark) !== 0;
  }
}
