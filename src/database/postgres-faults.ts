/**
 * Failures of PostgreSQL and of the way to it, by SQLSTATE, by the system's or TLS's code, or,
 * where the client gives none, by its words. Source: PostgreSQL's appendix "Error Codes".
 */
import { Fault, type FaultCode } from "../base/fault.js";

/** The first that fits. */
const BY_CODE: readonly (readonly [pattern: RegExp, fault: FaultCode])[] = [
  [/^57014$/, "database/timeout"],
  [/^(28...|3D000)$/, "database/refused"],
  [/^53300$/, "database/busy"],
  // Ended by an operator or a crash, starting, ending; idle in a transaction; class 08.
  [/^(57P0[1235]|25P03|08...)$/, "database/unreachable"],
  [/^22021$/, "database/bad-text"],
  [/^(CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_|ERR_TLS|ERR_SSL|EPROTO)/, "database/untrusted"],
  [
    /^(ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|EADDRNOTAVAIL|ENOTFOUND|EAI_|ENOENT|EACCES)/,
    "database/unreachable",
  ],
];

/** The client's own words, which have no code. */
const BY_WORDS: readonly (readonly [pattern: RegExp, fault: FaultCode])[] = [
  [/^timeout exceeded when trying to connect/, "database/busy"],
  [/^(Connection terminated|Client has encountered|Client was closed)/, "database/unreachable"],
  [/not queryable/, "database/unreachable"],
  [/does not support SSL|establishing an SSL connection/, "database/untrusted"],
  [/must be a string|SASL/, "database/refused"],
];

/** A Fault stays itself. */
export function postgresFault(error: unknown): Fault {
  if (error instanceof Fault) return error;
  const { code, message } = wordsOf(error);
  const fault =
    BY_CODE.find(([pattern]) => code !== undefined && pattern.test(code)) ??
    BY_WORDS.find(([pattern]) => code === undefined && pattern.test(message));
  return new Fault(fault?.[1] ?? "database/failed", { reason: message, code }, error);
}

/** Returns whether the connection that a statement ran on is gone. */
export function isLost(error: unknown): boolean {
  return postgresFault(error).code === "database/unreachable";
}

/** Returns whether a transaction failed only because of others beside it. */
export function isRaced(error: unknown): boolean {
  return /^(40001|40P01)$/.test(wordsOf(error).code ?? "");
}

function wordsOf(error: unknown): { readonly code: string | undefined; readonly message: string } {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  const known = typeof code === "string" ? code : undefined;
  // Of several addresses that were tried only the code is told.
  const words = typeof message === "string" && message !== "" ? message : known;
  return { code: known, message: words ?? String(error) };
}
