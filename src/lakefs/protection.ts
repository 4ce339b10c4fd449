/** lakeFS's branch protection: glob patterns over branch ids. Merges pass it in lakeFS, so a push must ask for itself. */

export function isProtected(branch: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) => toRegExp(pattern).test(branch));
}

/** "*" and "?" as in a shell, "[…]" and "{a,b}" as lakeFS's matcher has them. A branch id holds none of these. */
function toRegExp(pattern: string): RegExp {
  let depth = 0;
  const text = pattern.replace(/[\s\S]/g, (byte) => {
    if (byte === "*") return ".*";
    if (byte === "?") return ".";
    if (byte === "{") {
      depth++;
      return "(?:";
    }
    if (byte === "}" && depth > 0) {
      depth--;
      return ")";
    }
    if (byte === "," && depth > 0) return "|";
    return byte.replace(/[\\^$.|?*+()[\]{}]/, "\\$&");
  });
  try {
    return new RegExp(`^${text}$`);
  } catch {
    return new RegExp(`^${pattern.replace(/[\\^$.|?*+()[\]{}]/g, "\\$&")}$`); // an odd pattern protects the branch of its name
  }
}
