/**
 * Notes about one request beside its answer. A failure inside the protocol stands under a status
 * that says 200: the client reads the row's words and the request's id here, and by the same call
 * log and metrics learn of it, so that none of them is told without the others.
 */
import { type Fault, type FaultCode, toldText } from "../../base/fault.js";
import type { LogFacts } from "../../observe/log.js";
import { oneLine } from "../../wire/pkt-line.js";
import { type Conceal, concealed } from "./conceal.js";

export interface RequestRecord {
  /** Unique; the client sees it with what fails, and the request's one line in the log has it. */
  readonly id: string;
  /** The client is told of this in the protocol. The first one is how the request ended. */
  failed(fault: Fault): void;
  /** Cuts from what the client is told, not from the log, what is not for him. */
  readonly conceal?: Conceal | undefined;
  /** Facts for the request's line in the log: never a secret. */
  note(facts: LogFacts): void;
}

/** For what is asked beside a conversation, whose failures are thrown. */
export const UNRECORDED: RequestRecord = { id: "", failed: () => undefined, note: () => undefined };

/**
 * Words that clients or people look for as they are. "Reading" is no failure: the work goes on, and
 * the next request is another one.
 */
const WITHOUT_ID: ReadonlySet<FaultCode> = new Set<FaultCode>([
  "odb/not-our-ref",
  "lakefs/reading",
]);
/** Leaves room for the id in a line of the protocol. */
const WORDS_MAX = 900;

/** Takes note of a failure; what the client is to read of it, one line. */
export function tell(record: RequestRecord, fault: Fault): string {
  record.failed(fault);
  const words = oneLine(wordsOf(concealed(fault, record.conceal))).slice(0, WORDS_MAX);
  return WITHOUT_ID.has(fault.code) ? words : `${words} (request ${record.id})`;
}

/** Git's words where clients look for them. */
function wordsOf(fault: Fault): string {
  return fault.code === "odb/not-our-ref"
    ? `upload-pack: not our ref ${fault.facts.oid}`
    : toldText(fault);
}
