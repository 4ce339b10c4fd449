/** Shared parts of the commands on a data folder: options, pages, and how a result is said. */
import { Command } from "commander";
import { LIMITS } from "../../base/limits.js";
import { type FolderOptions, withFolderOptions } from "./folder-options.js";
import { say, sayJson } from "./say.js";

export interface SubcommandOptions extends FolderOptions {
  readonly json?: boolean;
}

export function subcommand(name: string, about: string): Command {
  return withFolderOptions(new Command(name).description(about))
    .option("--json", "print the result as JSON")
    .exitOverride();
}

/** The value as one line of JSON, or the text for people. */
export function print({ json }: SubcommandOptions, value: unknown, text: string): void {
  if (json === true) void sayJson(value);
  else if (text !== "") void say(`${text}\n`);
}

/**
 * All of a list that comes in pages of `listedPageMax`; `next` takes the last key so far, "" at
 * first.
 */
export async function allPages<T>(
  next: (after: string) => Promise<readonly T[]>,
  keyOf: (item: T) => string,
): Promise<T[]> {
  const all: T[] = [];
  for (
    let page: readonly T[] | undefined;
    page === undefined || page.length === LIMITS.listedPageMax;
    all.push(...page)
  ) {
    const last = all.at(-1);
    page = await next(last === undefined ? "" : keyOf(last));
  }
  return all;
}
