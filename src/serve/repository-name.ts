/** Names of repositories: what a URL may say and where in the store it leads. */
import { Fault } from "../base/fault.js";
import { isLakefsRepositoryName } from "../lakefs/repository-names.js";

export type RepositoryType = "models" | "datasets" | "spaces" | "lakefs";

export interface RepositoryName {
  readonly type: RepositoryType;
  readonly namespace: string;
  readonly name: string;
}

const LAKEFS_NAMESPACE = "lakefs";
const COMPONENT = /^[0-9A-Za-z_][0-9A-Za-z._-]{0,95}$/;

/** First path components that mean something else in our URLs, so no namespace may be called so. */
const RESERVED = new Set(["models", "datasets", "spaces", "lakefs", "api", "healthz", "readyz", "metrics", "artifacts", "favicon.ico"]);

/** Checks the parts of a URL. Throws "repository/bad-name", which reads as "not found": nothing can be under such a name. */
export function checkRepositoryName(type: RepositoryType, namespace: string, name: string): RepositoryName {
  const plain = name.endsWith(".git") ? name.slice(0, -".git".length) : name;
  // "/lakefs/<repository>": a lakeFS repository under its own name.
  if (type === "models" && namespace === LAKEFS_NAMESPACE && isLakefsRepositoryName(plain)) return { type: "lakefs", namespace, name: plain };
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
  return type === "models" || type === "lakefs" ? `repos/${namespace}/${name}` : `repos/${type}/${namespace}/${name}`;
}

/** For people: "ns/name", "datasets/ns/name". */
export function titleOf({ type, namespace, name }: RepositoryName): string {
  return type === "models" || type === "lakefs" ? `${namespace}/${name}` : `${type}/${namespace}/${name}`;
}
