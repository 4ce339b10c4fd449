/** One printed line: our figure, the peer's, the ratio and the bar it is held to. */
export interface Figure {
  readonly row: string;
  readonly ours: number;
  readonly peer?: number;
  /** Name of the peer; "git" if absent. */
  readonly peerName?: string;
  readonly unit: string;
  /** Largest ratio (with a peer) or value (without) that meets the bar; absent: for information. */
  readonly bar?: number;
}

/** The cost of one operation on a lakeFS repository. */
export interface OperationCost {
  /** Objects in the repository. */
  readonly objects: number;
  readonly operation: string;
  readonly seconds: number;
  /** Calls of lakeFS, by its own count. */
  readonly calls: number;
  readonly listing: number;
  readonly contents: number;
  /** Between lakeFS and whoever asked it. */
  readonly bytes: number;
  /** Seconds of CPU of lakepack; 0 for lakectl. */
  readonly cpu: number;
  /** Bytes. */
  readonly rssGrowth: number;
}

/** One line of a row's result, as bench/results/<row>.json keeps it. */
export type Entry =
  | { readonly figure: Figure }
  | { readonly cost: OperationCost }
  | { readonly failed: { readonly row: string; readonly reason: string } }
  | { readonly note: string };

export class Report {
  readonly #lines: { readonly text: string; readonly failed: boolean }[] = [];
  #entries: Entry[] = [];

  /** Returns the entries since the last call: those of one row, where it is called after each. */
  takeEntries(): readonly Entry[] {
    const entries = this.#entries;
    this.#entries = [];
    return entries;
  }

  add(figure: Figure): void {
    this.#entries.push({ figure });
    const ratio = figure.peer === undefined ? figure.ours : figure.ours / figure.peer;
    const failed = figure.bar !== undefined && !(ratio <= figure.bar);
    const against =
      figure.peer === undefined
        ? ""
        : `  ${figure.peerName ?? "git"} ${show(figure.peer)} ${figure.unit}  ratio ${show(ratio)}`;
    const bar =
      figure.bar === undefined ? "" : `  bar ${show(figure.bar)} ${failed ? "MISSED" : "met"}`;
    this.#say(
      `${figure.row.padEnd(46)} ${show(figure.ours)} ${figure.unit}${against}${bar}`,
      failed,
    );
  }

  /** A row that could not be measured: never silently left out. */
  fail(row: string, reason: string): void {
    this.#entries.push({ failed: { row, reason } });
    this.#say(`${row.padEnd(46)} FAILED: ${reason}`, true);
  }

  note(text: string): void {
    this.#entries.push({ note: text.trim() });
    this.#print(text);
  }

  /** `text` is how it is printed. */
  cost(cost: OperationCost, text: string): void {
    this.#entries.push({ cost });
    this.#print(text);
  }

  #print(text: string): void {
    process.stdout.write(`${text}\n`);
  }

  get failures(): number {
    return this.#lines.filter((line) => line.failed).length;
  }

  #say(text: string, failed: boolean): void {
    this.#lines.push({ text, failed });
    process.stdout.write(`${text}\n`);
  }
}

function show(value: number): string {
  if (value === 0) return "0";
  const digits =
    Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 1 ? 2 : 3;
  return value.toFixed(digits);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[sorted.length >> 1] as number;
}
