/**
 * Reads the CPU and memory that a process tree has used, from /proc (Linux). CPU of ended children
 * counts once their parent has waited for them.
 */
import { readdirSync, readFileSync } from "node:fs";

/** USER_HZ: /proc counts CPU in hundredths of a second on every Linux. */
const TICKS_PER_SECOND = 100;
const PAGE_BYTES = 4096;

interface Stat {
  readonly parent: number;
  readonly cpuTicks: number;
  readonly rssPages: number;
}

function readStat(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = text
      .slice(text.lastIndexOf(")") + 2)
      .split(" ")
      .map(Number);
    const at = (field: number) => fields[field - 3] as number; // numbering of proc(5); the first left is field 3
    return { parent: at(4), cpuTicks: at(14) + at(15) + at(16) + at(17), rssPages: at(24) };
  } catch {
    return undefined; // it has ended since it was listed
  }
}

/** `root` and everything below it. */
function tree(root: number): Map<number, Stat> {
  const all = new Map<number, Stat>();
  for (const name of readdirSync("/proc")) {
    const stat = /^\d+$/.test(name) ? readStat(Number(name)) : undefined;
    if (stat !== undefined) all.set(Number(name), stat);
  }
  const members = new Map<number, Stat>();
  const isMember = (pid: number): boolean =>
    pid === root || (all.has(pid) && pid > 1 && isMember((all.get(pid) as Stat).parent));
  for (const [pid, stat] of all) if (isMember(pid)) members.set(pid, stat);
  return members;
}

/** CPU seconds, user and system, of process trees. */
export function cpuSeconds(roots: readonly number[]): number {
  let ticks = 0;
  for (const root of roots) for (const { cpuTicks } of tree(root).values()) ticks += cpuTicks;
  return ticks / TICKS_PER_SECOND;
}

/** Resident bytes of process trees now. */
export function rssBytes(roots: readonly number[]): number {
  let pages = 0;
  for (const root of roots) for (const { rssPages } of tree(root).values()) pages += rssPages;
  return pages * PAGE_BYTES;
}

/** Watches resident memory while something runs. */
export class RssWatch {
  readonly #roots: readonly number[];
  readonly #timer: NodeJS.Timeout;
  readonly before: number;
  peak: number;

  constructor(roots: readonly number[]) {
    this.#roots = roots;
    this.before = rssBytes(roots);
    this.peak = this.before;
    this.#timer = setInterval(() => this.#look(), 50);
  }

  /** Growth of the peak over the start, in bytes. */
  stop(): number {
    this.#look();
    clearInterval(this.#timer);
    return this.peak - this.before;
  }

  #look(): void {
    this.peak = Math.max(this.peak, rssBytes(this.#roots));
  }
}
