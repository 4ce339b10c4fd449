/**
 * Hooks on commits, and a push. lakeFS runs them for `POST branches/<branch>/commits` alone: a push
 * makes its trees on a work branch, where hooks for every branch judge them, and its commits are
 * records, of which no hook is told. A hook that is for the target and not for the work branch
 * would be passed by.
 */
import { hooksFor, type HookEvent, type OperatorHook } from "./actions.js";

/** Choice about a hook that a push would pass by: `refuse`, or `pass` with a warning. */
export type PreCommitPolicy = "refuse" | "pass";

const COMMIT_EVENTS: readonly HookEvent[] = ["prepare-commit", "pre-commit"];
const BRANCH_EVENTS: readonly HookEvent[] = [
  "pre-create-branch",
  "post-create-branch",
  "pre-delete-branch",
  "post-delete-branch",
];

/** The first hook that judges commits to `branch` and none to the work branch. */
export function passedBy(
  hooks: readonly OperatorHook[],
  branch: string,
  workBranch: string,
): OperatorHook | undefined {
  const asked = new Set(hooksFor(hooks, COMMIT_EVENTS, workBranch));
  return hooksFor(hooks, COMMIT_EVENTS, branch).find((hook) => !asked.has(hook));
}

/** `branch`: as Git calls it. */
export function passedByText({ id, event }: OperatorHook, branch: string): string {
  return (
    `lakeFS checks commits to ${branch} by the hook '${id}' (${event}), which a push cannot run: ` +
    "push another branch and merge it in lakeFS, or make it pre-merge"
  );
}

/** Counts the hooks that are told of a commit to the work branch. */
export function hooksOnCommits(hooks: readonly OperatorHook[], workBranch: string): number {
  return hooksFor(hooks, [...COMMIT_EVENTS, "post-commit"], workBranch).length;
}

/**
 * Counts the hooks that are told of the guard's merge into it: those before a merge are the guard's
 * own.
 */
export function hooksBehindMerges(hooks: readonly OperatorHook[], workBranch: string): number {
  return hooksFor(hooks, ["post-merge"], workBranch).length;
}

/** Returns whether a hook would be told of the work branch's beginning or end. */
export function tellsOfBranch(hooks: readonly OperatorHook[], workBranch: string): boolean {
  return hooksFor(hooks, BRANCH_EVENTS, workBranch).length > 0;
}
