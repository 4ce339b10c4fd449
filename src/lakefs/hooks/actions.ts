/**
 * The actions of a lakeFS repository: which hooks it runs for an event at a branch. They are read
 * as lakeFS reads them: each file directly below `_lakefs_actions/` of one commit is an action,
 * `on` names its events, and each event may be for some branches only.
 *
 * Source: lakeFS 1.86, pkg/actions/action.go (Match), pkg/catalog/actions_source.go (list). A file
 * that lakeFS cannot read fails every event there by itself; here it counts as holding no hook. Too
 * many files or one too large, which lakeFS would look into and we do not, are an error: a hook in
 * there would be passed by.
 */
import { LRUCache } from "lru-cache";
import { z } from "zod";
import { lossyText } from "../../base/bytes.js";
import { asFault, Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import type { LakefsClient } from "../api/client.js";
import { matchesGlob } from "../api/go-glob.js";
import { parseYaml } from "../api/yaml.js";
import { GUARD_PATH, HOOKS_FOLDER } from "../rules/metadata-keys.js";

export const HOOK_EVENTS = [
  "prepare-commit",
  "pre-commit",
  "post-commit",
  "pre-merge",
  "post-merge",
  "pre-create-branch",
  "post-create-branch",
  "pre-delete-branch",
  "post-delete-branch",
  "pre-create-tag",
  "post-create-tag",
  "pre-delete-tag",
  "post-delete-tag",
] as const;
export type HookEvent = (typeof HOOK_EVENTS)[number];

/** One hook of one event. */
export interface OperatorHook {
  readonly id: string;
  readonly action: string;
  readonly event: HookEvent;
  /** Patterns of the branches it is for; empty: all. */
  readonly branches: readonly string[];
}

const ACTION = z.object({
  name: z.string(),
  on: z.record(z.string(), z.object({ branches: z.array(z.string()).nullish() }).nullish()),
  hooks: z.array(z.object({ id: z.string() })).nullish(),
});

/**
 * Hooks of an action file, event by event in its order; none where it is no action. Throws
 * "lakefs/unread-hooks".
 */
function parseAction(text: string): readonly OperatorHook[] {
  const action = ACTION.safeParse(readYaml(text)).data;
  if (action === undefined) return [];
  const { name, on, hooks } = action;
  return Object.entries(on).flatMap(([event, filter]) => {
    if (!isHookEvent(event)) return [];
    return (hooks ?? []).map(({ id }) => ({
      id,
      action: name,
      event,
      branches: filter?.branches ?? [],
    }));
  });
}

function readYaml(text: string): unknown {
  try {
    // As Go's yaml.v3 does: "<<" merges. Few aliases, or a small file becomes a large one.
    return parseYaml(text, {
      merge: true,
      maxAliasCount: LIMITS.actionAliasesMax,
      logLevel: "silent",
    });
  } catch (error) {
    if (error instanceof ReferenceError)
      throw new Fault("lakefs/unread-hooks", { reason: "one has too many aliases" }, error);
    return undefined; // said by the caller
  }
}

function isHookEvent(event: string): event is HookEvent {
  return (HOOK_EVENTS as readonly string[]).includes(event);
}

/**
 * Returns whether lakeFS runs the hook for its event at a branch; events of tags have no branch.
 */
export function isFor({ branches }: OperatorHook, branch: string): boolean {
  return branches.length === 0 || branches.some((pattern) => matchesGlob(pattern, branch));
}

/** Hooks of some events that lakeFS runs at a branch, in its order. */
export function hooksFor(
  hooks: readonly OperatorHook[],
  events: readonly HookEvent[],
  branch: string,
): readonly OperatorHook[] {
  return hooks.filter((hook) => events.includes(hook.event) && isFor(hook, branch));
}

export interface CommitActions {
  /** In the order of their files. */
  readonly hooks: readonly OperatorHook[];
  /** The guard of a landing that somebody has built on is there (guard.ts). */
  readonly hasGuard: boolean;
}

/**
 * Reads the actions of one repository's commits. A commit's never change, so they are read once.
 */
export class ActionsReader {
  readonly #client: LakefsClient;
  readonly #known = new LRUCache<string, CommitActions>({ max: LIMITS.actionCommitsMax });
  /** By address and checksum: most commits have the files of their parent. */
  readonly #files = new LRUCache<string, readonly OperatorHook[]>({ max: LIMITS.actionFilesMax });

  constructor(client: LakefsClient) {
    this.#client = client;
  }

  /** Throws "lakefs/unread-hooks". */
  async at(commit: string, signal: AbortSignal): Promise<CommitActions> {
    const known = this.#known.get(commit);
    if (known !== undefined) return known;
    const hooks: OperatorHook[] = [];
    const { results, pagination } = await this.#client.listObjects(
      commit,
      HOOKS_FOLDER,
      signal,
      HOOKS_FOLDER,
    );
    const files = results.filter(
      ({ path }) => path !== GUARD_PATH && !path.slice(HOOKS_FOLDER.length).includes("/"),
    );
    if (files.length > LIMITS.actionFilesMax || pagination.has_more)
      throw new Fault("lakefs/unread-hooks", { reason: "there are too many files" });
    for (const { path, physical_address, checksum, size_bytes = 0 } of files) {
      if (size_bytes > LIMITS.actionFileBytesMax)
        throw new Fault("lakefs/unread-hooks", { reason: `${path} has ${size_bytes} bytes` });
      const key = `${physical_address} ${checksum}`;
      const read = this.#files.get(key) ?? (await this.#read(commit, path, signal));
      this.#files.set(key, read);
      hooks.push(...read);
    }
    const actions = { hooks, hasGuard: results.some(({ path }) => path === GUARD_PATH) };
    this.#known.set(commit, actions);
    return actions;
  }

  /** A new commit has the hooks of another, which was asked for before. */
  know(commit: string, { hooks }: CommitActions): void {
    this.#known.set(commit, { hooks, hasGuard: false });
  }

  /** A file whose data is gone holds no hook that could run: lakeFS fails by itself then. */
  async #read(commit: string, path: string, signal: AbortSignal): Promise<readonly OperatorHook[]> {
    try {
      const bytes = await this.#client.readObject(commit, path, LIMITS.actionFileBytesMax, signal);
      return parseAction(lossyText(bytes));
    } catch (error) {
      if (asFault(error).code === "lakefs/gone") return [];
      throw error;
    }
  }
}
