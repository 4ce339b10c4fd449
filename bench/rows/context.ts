/** The parameters that every row is given. */
import type { CorpusName, Scale } from "../corpus.js";
import type { Peer } from "../peer.js";
import type { Report } from "../report.js";

export interface BenchContext {
  readonly scale: Scale;
  readonly report: Report;
  /** Scratch folder of this run. */
  readonly folder: string;
  /** Undefined: not installed here; rows that need it are FAILED. */
  readonly peer: Peer | undefined;
  /** Bare repository of a corpus, made at its first use. */
  corpus(name: CorpusName): Promise<string>;
}
