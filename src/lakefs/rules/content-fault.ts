/**
 * Failures that lie in one path of one commit, or in its attributes, and not in the way to lakeFS:
 * others' contents are fine, and asking again at once is no use.
 */
import type { Fault } from "../../base/fault.js";

const OF_CONTENT: ReadonlySet<string> = new Set([
  "lakefs/damaged",
  "lakefs/gone",
  "lakefs/bad-reply",
  "lakefs/missing",
]);

export function isContentFault({ code, facts }: Fault): boolean {
  return (
    code === "lakefs/too-many-attributes" || (OF_CONTENT.has(code) && facts["path"] !== undefined)
  );
}
