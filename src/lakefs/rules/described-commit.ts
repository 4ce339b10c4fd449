/**
 * Describes a Git commit or tag in lakeFS: its message and who made it. The raw object has it all
 * exactly; this is for people.
 */
import { AUTHOR_KEY, PUSHER_KEY } from "./metadata-keys.js";

export interface Description {
  readonly committer: string;
  readonly message: string;
}

/**
 * Returns the committer that lakeFS shows: the account that pushed it where there is one, else the
 * author; `metadata` says the rest.
 */
export function committerOf(
  { committer }: Description,
  pusher: string | undefined,
): { readonly committer: string; readonly metadata: Readonly<Record<string, string>> } {
  if (pusher === undefined) return { committer, metadata: {} };
  return { committer: pusher, metadata: { [PUSHER_KEY]: pusher, [AUTHOR_KEY]: committer } };
}

/**
 * `raw`: the object as text; a bad byte in it is U+FFFD. NUL would end a string in some readers.
 */
export function describeCommit(raw: string): Description {
  return describe(raw, "author");
}

export function describeTag(raw: string): Description {
  return describe(raw, "tagger");
}

function describe(raw: string, who: string): Description {
  const split = raw.indexOf("\n\n");
  const header = split < 0 ? raw : raw.slice(0, split);
  const message = split < 0 ? "" : raw.slice(split + 2).replace(/\n+$/, "");
  const person = new RegExp(`^${who} (.*>)`, "m").exec(header)?.[1] ?? "";
  return {
    committer: person.replaceAll("\0", "\ufffd"),
    message: message.replaceAll("\0", "\ufffd"),
  };
}
