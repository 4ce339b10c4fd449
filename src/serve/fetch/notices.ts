/**
 * Notices of a fetch on band 2 beside its progress: which repository a name has led to, and what of
 * lakeFS is not in the answer.
 */
import { asFault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import type { Oid } from "../../git/oid.js";
import type { Uncrossed } from "../../lakefs/read/uncrossed.js";
import { faultFacts } from "../../observe/log.js";
import type { Repository } from "../conversation/conversation.js";
import type { FetchContext } from "./context.js";

/** Cuts that a clone names. */
const CUTS_NAMED = 3;

/**
 * Lines, to be said whatever the client wants of progress: they are about what it gets. `common`:
 * what it has already.
 */
export async function fetchNotices(
  context: FetchContext,
  wants: readonly Oid[],
  common: readonly Oid[],
): Promise<readonly string[]> {
  const { repository, deps, signal } = context;
  if (repository.lakefs === undefined) return repository.notices;
  const unreadable = repository.lakefs
    .unreadable()
    .map(
      ({ name, fault }) =>
        `warning: ${printable(name)} is not in this answer: ${printable(fault.message)}`,
    );
  const known = [
    ...staleLines(context),
    ...repository.notices,
    ...unreadable,
    ...(common.length === 0 ? cutLines(repository) : []),
  ];
  try {
    const found = await firstUncrossed(context, wants);
    return found === undefined ? known : [...known, ...uncrossedLines(repository, found)];
  } catch (error) {
    // A fetch is whole without its notices; an abort is seen by whoever writes next.
    if (!signal.aborted)
      deps.log.warn("what cannot be in Git could not be named", {
        repository: repository.title,
        ...faultFacts(asFault(error)),
      });
    return [...known, "warning: the paths of lakeFS that cannot be in Git could not be looked up"];
  }
}

/**
 * Returns the uncrossed paths of the first wanted commit that has any, the default branch's before
 * others: branches of one repository mostly share them.
 */
async function firstUncrossed(
  { repository, refs, signal }: FetchContext,
  wants: readonly Oid[],
): Promise<Uncrossed | undefined> {
  const { lakefs } = repository;
  if (lakefs === undefined) return undefined;
  const head = refs.byName.get(refs.head)?.oid;
  const ordered =
    head !== undefined && wants.includes(head)
      ? [head, ...wants.filter((want) => want !== head)]
      : wants;
  for (const want of ordered.slice(0, LIMITS.lakefsUncrossedWants)) {
    const [lakeId] = await lakefs.commits.toLake(want, signal);
    const found = lakeId === undefined ? undefined : await lakefs.uncrossed.of(lakeId, signal);
    if (found !== undefined && found.count > 0) return found;
  }
  return undefined;
}

function staleLines({ refs: { staleSinceMs } }: FetchContext): string[] {
  if (staleSinceMs === undefined) return [];
  return [
    `warning: lakeFS does not answer: this is what it had at ${new Date(staleSinceMs).toISOString()}, and may be old`,
  ];
}

/** Tells where the history begins that a clone gets. */
function cutLines(repository: Repository): string[] {
  const cuts = repository.lakefs?.commits.cuts ?? [];
  const lines = cuts
    .slice(0, CUTS_NAMED)
    .map(
      ({ commit, path }) =>
        `warning: lakeFS commit ${commit.slice(0, 12)} and what is before it are not in this history: ` +
        `the data of ${path === "" ? "a file" : printable(path)} there is gone from lakeFS's storage`,
    );
  if (cuts.length <= CUTS_NAMED) return lines;
  return [
    ...lines,
    `  and ${cuts.length - CUTS_NAMED} more: lakepack doctor --lakefs ${nameFor(repository)} lists all`,
  ];
}

/** lakeFS's name of a repository, as this caller may hear it. */
function nameFor({ conceal, lakefs }: Repository): string {
  return conceal === undefined ? (lakefs?.client.repository ?? "") : "with its name in lakeFS";
}

function uncrossedLines(repository: Repository, { lakeId, count, first }: Uncrossed): string[] {
  const paths = count === 1 ? "1 path" : `${count} paths`;
  const more =
    count > first.length
      ? [
          `  and ${count - first.length} more: lakepack doctor --lakefs ${nameFor(repository)} lists all`,
        ]
      : [];
  const head = `warning: ${paths} of lakeFS commit ${lakeId.slice(0, 12)} cannot be in Git and stay in lakeFS:`;
  return [head, ...first.map((line) => `  ${printable(line)}`), ...more];
}

/** A path may hold anything, a terminal's commands too. */
function printable(text: string): string {
  return text.replace(
    /[\x00-\x1f\x7f-\x9f]/g,
    (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}
