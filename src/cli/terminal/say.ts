/**
 * Writes to the person at the terminal, and to programs that read it: the only place of the
 * commands that does (test/layers).
 */
import { printable, printableJson } from "../../base/printable.js";

/**
 * Writes text that a person reads; names in it may be others'. Resolves once the system has taken
 * it.
 */
export function say(text: string): Promise<void> {
  return new Promise((resolve) => process.stdout.write(printable(text), () => resolve()));
}

/** Writes one line of JSON. */
export function sayJson(value: unknown): Promise<void> {
  return new Promise((resolve) =>
    process.stdout.write(`${printableJson(JSON.stringify(value))}\n`, () => resolve()),
  );
}

/** Writes what is no result: failures and notes. */
export function sayAside(text: string): void {
  process.stderr.write(printable(text));
}

/**
 * Lets a reader go before the end (`lakepack repo list | head`): what a command does goes on, and
 * nobody is told of the closed pipe. Other failures of the terminal are thrown as they are.
 */
export function letReadersGo(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
    });
}

/** Writes a line that tells how far it is in place of the last such; "": removes it. */
export function sayOver(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${printable(text)}\x1b[K`);
}
