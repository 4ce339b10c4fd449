/**
 * Names of repositories: what a URL may say. Where a name leads, the database says
 * (repositories/table.ts).
 */
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { isKey } from "../../store/key.js";
import { isLakefsRepositoryName } from "../../lakefs/rules/hub-names.js";

/** Types of a hub's repository, in the order in which a name without a type is looked for. */
const HUB_TYPES = ["models", "datasets", "spaces"] as const;
export type HubRepositoryType = (typeof HUB_TYPES)[number];
export type RepositoryType = HubRepositoryType | "lakefs";

/** One repository's name. */
export interface TypedName {
  readonly type: RepositoryType;
  readonly namespace: string;
  readonly name: string;
}

/**
 * A repository's name as it was asked for. "untyped" is the model of that name, else the dataset,
 * else the space.
 */
export interface RepositoryName {
  readonly type: RepositoryType | "untyped";
  readonly namespace: string;
  readonly name: string;
}

const LAKEFS_NAMESPACE = "lakefs";
const COMPONENT = /^[0-9A-Za-z_][0-9A-Za-z._-]{0,95}$/;

/** First path components that mean something else in our URLs, so no namespace may be called so. */
const RESERVED: ReadonlySet<string> = new Set([
  "models",
  "datasets",
  "spaces",
  "lakefs",
  "api",
  "healthz",
  "readyz",
  "metrics",
  "artifacts",
  "favicon.ico",
]);

/**
 * Checks the parts of a URL. Throws "repository/bad-name", which reads as "not found": nothing can
 * be under such a name.
 */
function checkRepositoryName(
  type: HubRepositoryType | "untyped",
  namespace: string,
  name: string,
): RepositoryName {
  const plain = name.endsWith(".git") ? name.slice(0, -".git".length) : name;
  // "/lakefs/<repository>": a lakeFS repository under its own name.
  if (type === "untyped" && namespace === LAKEFS_NAMESPACE && isLakefsRepositoryName(plain))
    return { type: "lakefs", namespace, name: plain };
  if (!isNamespace(namespace) || !isComponent(plain)) {
    const reason = RESERVED.has(namespace.toLowerCase())
      ? `'${namespace}' cannot be a namespace: our own addresses begin so`
      : undefined;
    throw badName(`${type === "untyped" ? "" : `${type}/`}${namespace}/${name}`, reason);
  }
  return { type, namespace, name: plain };
}

/** `typed`: the name as it was written. */
export function badName(typed: string, reason?: string): Fault {
  return new Fault("repository/bad-name", {
    name: typed.slice(0, LIMITS.messageNameBytesMax),
    ...(reason === undefined ? {} : { reason }),
  });
}

/**
 * Returns the reason why so many parts are no name; undefined: they may be one. Of three, the first
 * says what the repository is.
 */
export function complaintOfParts(parts: readonly string[]): string | undefined {
  if (parts.length < 2) return "it has no namespace: a name is namespace/name";
  if (parts.length === 2 || (parts.length === 3 && isHubType(parts[0])))
    return isHubType(parts[0]) && parts.length === 2
      ? "it has no namespace: a name is namespace/name"
      : undefined;
  return `it has ${parts.length} parts: a name is namespace/name, before which only ${HUB_TYPES.join("/, ")}/ may stand`;
}

function isHubType(part: string | undefined): boolean {
  return HUB_TYPES.some((type) => type === part);
}

/**
 * The name at the head of these path components, and what follows it. Undefined: they are too few.
 * Throws "repository/bad-name".
 */
export function takeRepositoryName(
  parts: readonly string[],
): { readonly name: RepositoryName; readonly rest: readonly string[] } | undefined {
  const type = HUB_TYPES.find((one) => one === parts[0]);
  const [namespace, name, ...rest] = type === undefined ? parts : parts.slice(1);
  if (namespace === undefined || name === undefined) return undefined;
  return { name: checkRepositoryName(type ?? "untyped", namespace, name), rest };
}

/**
 * A name as a person writes it: "ns/name", "datasets/ns/name", "lakefs/repository", with or without
 * ".git". Throws "repository/bad-name".
 */
export function readRepositoryName(text: string): RepositoryName {
  const taken = takeRepositoryName(text.split("/"));
  if (taken === undefined || taken.rest.length > 0)
    throw badName(text, complaintOfParts(text.split("/")));
  return taken.name;
}

/**
 * A component ends neither in ".git" (it would be lost from URLs) nor in ".lock" (Git's own tools
 * trip over it).
 */
function isComponent(text: string): boolean {
  return (
    COMPONENT.test(text) &&
    !text.includes("..") &&
    !text.endsWith(".git") &&
    !text.endsWith(".lock") &&
    !text.endsWith(".")
  );
}

/** The names a request may mean, the first that exists wins. */
export function candidatesOf({ type, namespace, name }: RepositoryName): readonly TypedName[] {
  return type === "untyped"
    ? HUB_TYPES.map((each) => ({ type: each, namespace, name }))
    : [{ type, namespace, name }];
}

export function lakefsName(repository: string): TypedName {
  return { type: "lakefs", namespace: LAKEFS_NAMESPACE, name: repository };
}

/** Where the repositories of the layout before lie, and those of a server without a template. */
export const REPOSITORIES_FOLDER = "repos/";

/** The place of new repositories in the store, of which `{id}` is in no other's. */
export const PREFIX_TEMPLATE = `${REPOSITORIES_FOLDER}{id}`;

/** Returns the place of a repository in the store, whatever its names are. */
export function storePrefix({
  id,
  prefix,
}: {
  readonly id: string;
  readonly prefix: string | null;
}) {
  return prefix ?? `${REPOSITORIES_FOLDER}${id}`;
}

/** A user's names of the parts of a name: a hub's, and those of artifact stores. */
const PREFIX_FIELDS = ["id", "type", "ns", "name", "workspace", "alias"] as const;

/**
 * Returns the reason why a template is none, or undefined. One without `{id}` would give two
 * repositories one place.
 */
export function complaintOfTemplate(template: string): string | undefined {
  const fields = [...template.matchAll(/\{([^{}]*)\}/g)].map(([, field]) => field);
  const unknown = fields.find((field) => !PREFIX_FIELDS.some((one) => one === field));
  if (unknown !== undefined) return `{${unknown}} is not known`;
  if (!fields.includes("id")) return "it must have {id}: no other repository ever has the same";
  const sample = fillTemplate(template, "0".repeat(32), {
    type: "models",
    namespace: "a",
    name: "b",
  });
  return isKey(sample) ? undefined : "it is no key of the store";
}

/** Returns the place of a new repository. */
export function fillTemplate(
  template: string,
  id: string,
  { type, namespace, name }: TypedName,
): string {
  const fields = { id, type, ns: namespace, name, workspace: namespace, alias: name };
  return template.replace(/\{(\w+)\}/g, (_, field: keyof typeof fields) => fields[field]);
}

/**
 * Returns the name of the user who owns what stands under this name here; undefined: lakeFS's own
 * names are nobody's.
 */
export function ownerOf({ type, namespace }: TypedName): string | undefined {
  return type === "lakefs" ? undefined : namespace;
}

/** Returns whether a user may be called so: the name is a namespace too. */
export function isNamespace(text: string): boolean {
  return isComponent(text) && !RESERVED.has(text.toLowerCase());
}

/** For people: "ns/name", "datasets/ns/name". */
export function titleOf({ type, namespace, name }: RepositoryName): string {
  return type === "datasets" || type === "spaces"
    ? `${type}/${namespace}/${name}`
    : `${namespace}/${name}`;
}

/** Returns the repository's type in one word. */
export function kindOf(type: RepositoryType): "model" | "dataset" | "space" | "lakefs" {
  return type === "lakefs" ? type : KINDS[type];
}

const KINDS = { models: "model", datasets: "dataset", spaces: "space" } as const;
