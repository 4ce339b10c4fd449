/**
 * The log: one JSON line an event, to standard error. Secrets never reach it: callers pass named
 * facts, not requests, and what looks like one is cut.
 */
import { pino } from "pino";
import type { Fault } from "../base/fault.js";
import { printableJson } from "../base/printable.js";
import { withoutSecrets } from "../base/secret-text.js";

export type LogLevel = "silent" | "error" | "warn" | "info" | "debug" | "trace";
export type LogFacts = Readonly<Record<string, unknown>>;

export interface Log {
  /** True if `trace` is heard: its lines need not be made otherwise. */
  readonly tracing?: boolean;
  error(event: string, facts?: LogFacts): void;
  warn(event: string, facts?: LogFacts): void;
  info(event: string, facts?: LogFacts): void;
  debug(event: string, facts?: LogFacts): void;
  trace(event: string, facts?: LogFacts): void;
}

export function createLog(level: LogLevel): Log {
  const output = pino.destination(2);
  const logger = pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    { write: (line) => output.write(`${printableJson(withoutSecrets(line.trimEnd()))}\n`) },
  );
  return {
    tracing: level === "trace",
    error: (event, facts) => logger.error(facts ?? {}, event),
    warn: (event, facts) => logger.warn(facts ?? {}, event),
    info: (event, facts) => logger.info(facts ?? {}, event),
    debug: (event, facts) => logger.debug(facts ?? {}, event),
    trace: (event, facts) => logger.trace(facts ?? {}, event),
  };
}

/** A fault as log facts; internal ones with their stack. */
export function faultFacts(fault: Fault): LogFacts {
  const cause = fault.cause instanceof Error ? fault.cause.stack : undefined;
  return {
    fault: fault.code,
    message: fault.message,
    ...(fault.code === "base/internal" ? { stack: cause ?? fault.stack } : {}),
  };
}
