/**
 * Reports which hook of lakeFS is told of what lakepack does: the table of the documentation, and
 * doctor's findings on a repository's own actions. The test (test/lakefs/hooks-table) makes each of
 * these pushes on a real server and holds the table against what it was told.
 */
import { HOOK_EVENTS, type HookEvent, isFor, type OperatorHook } from "./actions.js";
import { newWorkBranch } from "../api/hidden-branches.js";

/**
 * Operations of a person. `branch`: a new one with new commits; `reading`: clones, fetches, and the
 * first contact with a repository.
 */
export const HOOK_OPERATIONS = [
  "reading",
  "push",
  "branch",
  "tag",
  "moved tag",
  "deleted branch",
  "deleted tag",
] as const;
export type HookOperation = (typeof HOOK_OPERATIONS)[number];

/**
 * `work`: it is told of the hidden branch lakepack-work-…, on which each new commit of a push is
 * made once; `target`: of the branch or tag that was pushed.
 */
export type HookPlace = "work" | "target";

const COMMITS: Partial<Record<HookOperation, readonly HookPlace[]>> = {
  push: ["work"],
  branch: ["work"],
  tag: ["work"],
};

export const HOOK_TABLE: Readonly<
  Record<HookEvent, Partial<Readonly<Record<HookOperation, readonly HookPlace[]>>>>
> = {
  "prepare-commit": COMMITS,
  "pre-commit": COMMITS,
  "post-commit": COMMITS,
  "pre-merge": { push: ["target"] },
  "post-merge": { push: ["target", "work"] },
  "pre-create-branch": { branch: ["target"] },
  "post-create-branch": { branch: ["target"] },
  "pre-delete-branch": { "deleted branch": ["target"] },
  "post-delete-branch": { "deleted branch": ["target"] },
  "pre-create-tag": { tag: ["target"], "moved tag": ["target"] },
  "post-create-tag": { tag: ["target"], "moved tag": ["target"] },
  "pre-delete-tag": { "moved tag": ["target"], "deleted tag": ["target"] },
  "post-delete-tag": { "moved tag": ["target"], "deleted tag": ["target"] },
};

const TITLES: Readonly<Record<HookOperation, string>> = {
  reading: "clone, fetch",
  push: "push to a branch",
  branch: "push of a new branch",
  tag: "push of a tag",
  "moved tag": "tag moved",
  "deleted branch": "branch deleted",
  "deleted tag": "tag deleted",
};

/** The table in Markdown. */
export function formatHookTable(): string {
  const head = ["hook", ...HOOK_OPERATIONS.map((operation) => TITLES[operation])];
  const rows = HOOK_EVENTS.map((event) => [
    `\`${event}\``,
    ...HOOK_OPERATIONS.map((operation) => cell(HOOK_TABLE[event][operation])),
  ]);
  return [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |\n`).join("");
}

function cell(places: readonly HookPlace[] = []): string {
  return places.join(", ") || "–";
}

export interface HookFinding {
  readonly hook: string;
  readonly action: string;
  readonly event: HookEvent;
  /** Patterns of its branches; empty: all. */
  readonly branches: readonly string[];
  /** Places where it is told of a push; `passed`: commits to its branches are never made by one. */
  readonly sees: readonly HookPlace[] | "passed";
  readonly says: string;
}

/** Reports the part of each hook of a repository in pushes. */
export function reportHooks(hooks: readonly OperatorHook[]): readonly HookFinding[] {
  const work = newWorkBranch().name;
  return hooks.map((hook) => {
    const { id, action, event, branches } = hook;
    const sees = seen(hook, work);
    return { hook: id, action, event, branches, sees, says: sentence(hook, sees) };
  });
}

function seen(hook: OperatorHook, work: string): HookFinding["sees"] {
  const all = new Set(Object.values(HOOK_TABLE[hook.event]).flat());
  if (!isFor(hook, work)) all.delete("work");
  return all.size === 0 ? "passed" : [...all];
}

function sentence({ event }: OperatorHook, sees: HookFinding["sees"]): string {
  if (sees === "passed") {
    return event === "post-commit"
      ? "no push runs it; a post-merge hook is told of pushes"
      : "no push can run it: pushes to its branches are refused, or land with a warning (lakefs_pre_commit=pass); " +
          "make it pre-merge";
  }
  const target = `of ${SUBJECTS[event]}`;
  const words = { work: "of each pushed commit, on a hidden branch lakepack-work-…", target };
  const first =
    event === "post-merge"
      ? { ...words, work: "of one merge more, into a hidden branch lakepack-work-…" }
      : words;
  return `told ${sees.map((place) => first[place]).join(", and ")}`;
}

const MERGE = "each push to a branch that is there, as of a merge into it";
const SUBJECTS: Readonly<Record<HookEvent, string>> = {
  "prepare-commit": "commits",
  "pre-commit": "commits",
  "post-commit": "commits",
  "pre-merge": MERGE,
  "post-merge": `${MERGE} (lakepack.tip in its metadata names the commit that stays)`,
  "pre-create-branch": "each new branch that is pushed",
  "post-create-branch": "each new branch that is pushed",
  "pre-delete-branch": "each branch that a push deletes",
  "post-delete-branch": "each branch that a push deletes",
  "pre-create-tag": "each tag that is pushed",
  "post-create-tag": "each tag that is pushed",
  "pre-delete-tag": "each tag that a push deletes or moves",
  "post-delete-tag": "each tag that a push deletes or moves",
};
