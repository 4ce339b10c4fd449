/**
 * Names that some file system takes for ".git" or for a file Git reads: HFS+ ignores certain code points and case, NTFS
 * ignores case, trailing dots and spaces, has streams after ":" and short names with "~". gitattributes(5), gitmodules(5),
 * git-config(1) core.protectHFS and core.protectNTFS; path rules of CVE-2014-9390 and CVE-2019-1352.
 */
const SHORT_PREFIX = { gitmodules: "gi7eba", gitattributes: "gi7d29" } as const;
export type SpecialFile = keyof typeof SHORT_PREFIX;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
/** Code points HFS+ does not see in a name. */
const HFS_IGNORED = /[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]/g;

/** Whether some file system takes this name for ".git". */
export function isDotGit(name: Uint8Array): boolean {
  return hfsName(name) === ".git" || isNtfsDotGit(Buffer.from(name).toString("latin1"));
}

/** Windows also splits at backslashes: any part may be ".git" there. */
export function hasBackslashDotGit(name: Uint8Array): boolean {
  const text = Buffer.from(name).toString("latin1");
  for (let at = text.indexOf("\\"); at >= 0; at = text.indexOf("\\", at + 1)) {
    if (isNtfsDotGit(text.slice(at + 1))) return true;
  }
  return false;
}

/** Whether some file system takes this name for ".gitmodules" or ".gitattributes". */
export function isSpecialName(name: Uint8Array, file: SpecialFile): boolean {
  return hfsName(name) === `.${file}` || isNtfsSpecial(Buffer.from(name).toString("latin1").toLowerCase(), file);
}

/** The name as HFS+ compares it, as far as ASCII goes. What is not UTF-8 ends where it stops to be. */
function hfsName(name: Uint8Array): string {
  return validPrefix(name).replace(HFS_IGNORED, "").replace(/[A-Z]/g, (letter) => letter.toLowerCase()).split("/", 1)[0] as string;
}

function validPrefix(name: Uint8Array): string {
  for (let end = name.length; end > 0; end--) {
    try {
      return decoder.decode(name.subarray(0, end));
    } catch {
      // not UTF-8 up to here: try a shorter part. Names are short, and almost all are valid at once.
    }
  }
  return "";
}

function isNtfsDotGit(name: string): boolean {
  return /^(?:\.git|git~1)[. ]*(?:$|[\\/:])/i.test(name);
}

function isNtfsSpecial(name: string, file: SpecialFile): boolean {
  const rest = afterLongName(name, file) ?? afterShortName(name, file) ?? afterHashedName(name, SHORT_PREFIX[file]);
  return rest !== undefined && /^[ .]*(?:$|:)/.test(rest);
}

function afterLongName(name: string, file: SpecialFile): string | undefined {
  return name.startsWith(`.${file}`) ? name.slice(file.length + 1) : undefined;
}

/** Six letters and ~1 to ~4. */
function afterShortName(name: string, file: SpecialFile): string | undefined {
  return name.startsWith(file.slice(0, 6)) && /^~[1-4]/.test(name.slice(6)) ? name.slice(8) : undefined;
}

/** From the fifth clash on: two letters, four digits of a hash, "~" and a number, eight characters in all. */
function afterHashedName(name: string, prefix: string): string | undefined {
  const tilde = name.indexOf("~");
  if (tilde < 0 || tilde > 6 || !prefix.startsWith(name.slice(0, tilde))) return undefined;
  return /^~[1-9][0-9]*$/.test(name.slice(tilde, 8)) && name.length >= 8 ? name.slice(8) : undefined;
}
