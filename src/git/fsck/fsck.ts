/**
 * Finds the faults that make an object unfit to be taken in: Git's own checks under Git's message
 * ids, as `receive.fsckObjects=true` applies them (index-pack --strict). The caller's Report
 * decides about each finding (levels.ts). Source: git-fsck(1) "FSCK MESSAGES"; verdicts compared
 * with stock git in test/git/fsck.
 */
import { checkCommit, checkTag } from "./header-lines.js";
import { type Report, STRICT } from "./levels.js";
import { TreeCheck } from "./tree.js";
import { readSubmodules, submoduleRefusal } from "./gitmodules.js";
import type { ObjectType } from "../oid.js";
import type { CheckMarks, Refusal } from "./refusal.js";

/** First reason to refuse the object; undefined: it passes. `marks` takes note of special files. */
export function checkObject(
  type: ObjectType,
  data: Uint8Array,
  marks: CheckMarks,
  report: Report = STRICT,
): Refusal | undefined {
  switch (type) {
    case "tree":
      return new TreeCheck(data, marks, report).next(data.length) as Refusal | undefined;
    case "commit":
      return checkCommit(data, report);
    case "tag":
      return checkTag(data, report);
    case "blob":
      return undefined;
  }
}

// Special blobs -----------------------------------------------------------------------------------
/**
 * A blob that some tree calls .gitmodules. A text that is no config at all is only worth a remark
 * to Git (gitmodulesParse, INFO).
 */
export function checkGitmodules(data: Uint8Array, report: Report = STRICT): Refusal | undefined {
  for (const setting of readSubmodules(data)) {
    const refusal = submoduleRefusal(setting, report);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

/**
 * Bytes of one line of .gitattributes from which Git no longer reads it. gitattributes(5) "NOTES";
 * attr.h ATTR_MAX_LINE_LENGTH.
 */
const ATTRIBUTE_LINE_BYTES = 2_048;
const LF = 0x0a;

/** A blob that some tree calls .gitattributes. */
export function checkGitattributes(data: Uint8Array, report: Report = STRICT): Refusal | undefined {
  const nul = data.indexOf(0);
  const end = nul < 0 ? data.length : nul; // Git reads it as a C string
  for (let at = 0; at < end; ) {
    const lineFeed = data.indexOf(LF, at);
    const stop = lineFeed < 0 || lineFeed > end ? end : lineFeed;
    if (stop - at >= ATTRIBUTE_LINE_BYTES)
      return report("gitattributesLineLength", ".gitattributes has too long lines to parse");
    at = stop + 1;
  }
  return undefined;
}
