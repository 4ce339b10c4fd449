/** Takes a URL's path apart. */
import { Fault } from "../../base/fault.js";
import {
  badName,
  complaintOfParts,
  type RepositoryName,
  takeRepositoryName,
} from "../../serve/conversation/repository-name.js";

export type Target =
  | { readonly kind: "home" }
  | { readonly kind: "health" }
  | { readonly kind: "ready" }
  | { readonly kind: "metrics" }
  | { readonly kind: "lakefs-webhook" }
  /** `file`: what follows the repository, "" for the repository itself. */
  | { readonly kind: "repository" | "api"; readonly name: RepositoryName; readonly file: string };

/** "/api/repos/<name>…": what the JSON API says of a repository. */
const API_REPOSITORIES = ["api", "repos"] as const;

/**
 * Reads a path as it was sent. Throws "http/bad-request", "http/not-found", "repository/bad-name".
 */
export function readPath(path: string): Target {
  if (path === "/") return { kind: "home" };
  if (path === "/healthz") return { kind: "health" };
  if (path === "/readyz") return { kind: "ready" };
  if (path === "/metrics") return { kind: "metrics" };
  if (path === "/api/lakefs/webhook") return { kind: "lakefs-webhook" };
  const parts = path.slice(1).split("/").map(decodePart);
  if (parts.at(-1) === "") parts.pop(); // one slash at the end of a page's address
  if (!path.startsWith("/") || parts.includes("")) throw new Fault("http/not-found");
  const typed = nameBefore(parts);
  const complaint = typed && complaintOfParts(typed);
  if (typed !== undefined && complaint !== undefined) throw badName(typed.join("/"), complaint);
  const isApi = API_REPOSITORIES.every((part, at) => parts[at] === part);
  const taken = takeRepositoryName(isApi ? parts.slice(API_REPOSITORIES.length) : parts);
  if (taken === undefined) throw new Fault("http/not-found");
  return { kind: isApi ? "api" : "repository", name: taken.name, file: taken.rest.join("/") };
}

/**
 * Returns the name as it was typed, before a file that Git and its helpers ask a repository for.
 * Undefined: no such file.
 */
function nameBefore(parts: readonly string[]): readonly string[] | undefined {
  const lfs = parts.findIndex((part, at) => part === "info" && parts[at + 1] === "lfs");
  if (lfs >= 0) return parts.slice(0, lfs);
  if (parts.at(-1) === "refs" && parts.at(-2) === "info") return parts.slice(0, -2);
  return FILES.has(parts.at(-1) ?? "") ? parts.slice(0, -1) : undefined;
}

const FILES: ReadonlySet<string> = new Set(["git-upload-pack", "git-receive-pack", "HEAD"]);

/**
 * One component, decoded. A component that means something else to somebody behind us is refused,
 * however it is spelt.
 */
function decodePart(part: string): string {
  let text: string;
  try {
    text = decodeURIComponent(part);
  } catch {
    throw new Fault("http/bad-request", { reason: "broken percent-encoding in the path" });
  }
  if (text === "." || text === ".." || /[\x00-\x1f\x7f/\\]/.test(text))
    throw new Fault("http/bad-request", {
      reason: "the path holds a dot component, a control character or an encoded slash",
    });
  return text;
}
