/**
 * Reads lakeFS's answer where a hook kept it from doing something: one hook said no, another could
 * not be asked. Both come as status 412 with one text:
 *
 *   pre-merge hook aborted, run id 'x': 1 error occurred:
 * hook run id '0000_0000' failed on action 'policy' hook 'ticket': action failed: webhook
 *       request failed
 *     (status code: 403)
 *
 * and an action file that lakeFS cannot read comes as 500: "pre-merge hook aborted, run id 'x':
 * parsing file _lakefs_actions/a.yaml: …". Before 1.60.0 the text begins with "1 error occurred",
 * so the call says which hook it was.
 *
 * Source: lakeFS 1.48 and 1.86, pkg/graveler/errors.go, pkg/actions/service.go (runTasks),
 * webhook.go, airflow.go; test/lakefs/hooks holds it against the server.
 */
import { Fault, type FaultFacts } from "../../base/fault.js";
import { GUARD_ACTION } from "./hidden-branches.js";

const ABORTED = /([a-z]+(?:-[a-z]+)+) hook aborted, run id '[^']*': ([\s\S]*)/;
const ABORTED_ONCE = /^\d+ errors? occurred:\s+\* (?:hook run id '|parsing file )/;
const EVENT_OF_CALL: Readonly<Record<string, string>> = {
  merge: "pre-merge",
  commit: "pre-commit",
  createBranch: "pre-create-branch",
  deleteBranch: "pre-delete-branch",
  createTag: "pre-create-tag",
  deleteTag: "pre-delete-tag",
};
const FAILED =
  /^hook run id '[^']*' failed on action '(.*?)' hook '(.*?)': (?:action failed: )?([\s\S]*)$/;
const STATUS = /\(status code: (\d+)\)/;
/**
 * An HTTP client's failure: what was asked is no business of the pusher's, and may hold a token.
 */
const NO_ANSWER = /^(?:Post|Get|Put) "[^"]*": ([\s\S]*)$/;
/** Statuses that say something of the hook's server, and nothing of what it was asked about. */
const isServerTrouble = (status: number) => status === 408 || status === 429 || status >= 500;

/** A hook may say what it likes. */
const SAID_CHARS_MAX = 2_000;

interface HookOutcome {
  readonly hook: string;
  readonly action: string;
  /** Undefined: it said no. */
  readonly trouble: string | undefined;
  readonly says: string;
}

/** The fault of a reply that a hook caused; undefined: none did. `facts`: what is known beside. */
export function hookFault(
  says: string,
  facts: FaultFacts & { readonly call: string },
): Fault | undefined {
  const { event, text } = abortedBy(says, facts.call);
  if (event === undefined) return undefined;
  const outcomes = text.split(/\n\t\* /).flatMap((part) => readOutcome(part.trim()));
  const told =
    outcomes.find(({ action }) => action === GUARD_ACTION) ??
    outcomes.find(({ trouble }) => trouble === undefined) ??
    outcomes[0];
  if (told === undefined) {
    return new Fault("lakefs/refused", {
      ...facts,
      event,
      reason: `lakeFS cannot run its hooks (${event}): ${oneLine(text)}`,
    });
  }
  const { hook, action, trouble } = told;
  if (trouble !== undefined)
    return new Fault("lakefs/hook-failed", { ...facts, hook, action, event, reason: trouble });
  return new Fault("lakefs/refused", { ...facts, hook, action, event, reason: told.says });
}

function abortedBy(
  says: string,
  call: string,
): { readonly event: string | undefined; readonly text: string } {
  const [, event, text = ""] = ABORTED.exec(says) ?? [];
  if (event !== undefined) return { event, text };
  return { event: ABORTED_ONCE.test(says) ? EVENT_OF_CALL[call] : undefined, text: says };
}

/** Returns the pusher's text of "lakefs/refused": a hook in its own words, or lakeFS's reason. */
export function refusalText({ facts }: Fault): string {
  const { hook, action, event, reason } = facts;
  if (hook !== undefined)
    return `a hook in lakeFS refused it: '${hook}' (${event}, action '${action}'): ${reason}`;
  return event === undefined ? `lakeFS refused it: ${reason}` : String(reason);
}

/**
 * Returns whether a hook that could not be asked is worth another try at once: not one that took
 * all of its time.
 */
export function isWorthAnotherTry({ code, facts }: Fault): boolean {
  return (
    code === "lakefs/hook-failed" &&
    !/deadline exceeded|Client\.Timeout|context canceled/.test(String(facts["reason"]))
  );
}

function readOutcome(part: string): readonly HookOutcome[] {
  const [, action, hook, said] = FAILED.exec(part) ?? [];
  if (action === undefined || hook === undefined || said === undefined) return [];
  const says = oneLine(said);
  const status = Number(STATUS.exec(says)?.[1]);
  const silent = NO_ANSWER.exec(said)?.[1];
  const trouble =
    silent !== undefined
      ? oneLine(silent)
      : isServerTrouble(status)
        ? `it answered ${status}`
        : undefined;
  return [{ hook, action, trouble, says }];
}

function oneLine(text: string): string {
  return text.trim().replace(/\s+/g, " ").slice(0, SAID_CHARS_MAX);
}
