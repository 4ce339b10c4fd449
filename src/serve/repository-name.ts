/** Names of repositories: what a URL may say and where in the store it leads. */
import { Fault } from "../base/fault.js";

export type RepositoryType = "models" | "datasets" | "spaces";

export interface RepositoryName {
  readonly type: RepositoryType;
  readonly namespace: string;
  readonly name: string;
}

const COMPONENT = /^[0-9A-Za-z_][0-9A-Za-z._-]{0,95}$/;

/** First path components that mean something else in our URLs, so no namespace may be called so. */
const RESERVED = new Set(["models", "datasets", "spaces", "lakefs", "api", "healthz", "readyz", "metrics", "artifacts", "favicon.ico"]);

/** Checks the parts of a URL. Throws "repository/bad-name", which reads as "not found": nothing can be under such a name. */
export function checkRepositoryName(type: RepositoryType, namespace: string, name: string): RepositoryName {
  const plain = name.endsWith(".git") ? name.slice(0, -".git".length) : name;
  if (!isComponent(namespace) || RESERVED.has(namespace.toLowerCase()) || !isComponent(plain)) {
    throw new Fault("repository/bad-name", { name: `${namespace}/${name}`.slice(0, 200) });
  }
  return { type, namespace, name: plain };
}

/** A component ends neither in ".git" (it would be lost from URLs) nor in ".lock" (Git's own tools trip over it). */
function isComponent(text: string): boolean {
  return COMPONENT.test(text) && !text.includes("..") && !text.endsWith(".git") && !text.endsWith(".lock") && !text.endsWith(".");
}

/** Where it lies in the store. Models are the untyped default. */
export function storePrefix({ type, namespace, name }: RepositoryName): string {
  return type === "models" ? `repos/${namespace}/${name}` : `repos/${type}/${namespace}/${name}`;
}

/** For people: "ns/name", "datasets/ns/name". */
export function titleOf({ type, namespace, name }: RepositoryName): string {
  return type === "models" ? `${namespace}/${name}` : `${type}/${namespace}/${name}`;
}
