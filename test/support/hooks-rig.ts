/**
 * Hooks of lakeFS as an operator has them: a webhook of the test's own that is told of events and
 * answers as the test says.
 */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Test } from "tap";
import { HOOK_EVENTS, type HookEvent } from "../../src/lakefs/hooks/actions.js";
import type { Source } from "./lakefs-reading.js";
import { isBefore, type RunningLakefs } from "./lakefs-servers.js";

/** A webhook's request, as far as tests look at it. */
export interface SeenEvent {
  readonly event_type: HookEvent;
  readonly repository_id: string;
  readonly branch_id?: string;
  readonly tag_id?: string;
  readonly hook_id: string;
  readonly commit_message?: string;
  readonly committer?: string;
  readonly commit_metadata?: Readonly<Record<string, string>>;
}

/** `cut`: the connection ends without an answer; a number: it is the status. */
export type Answer = { readonly status: number; readonly afterMs?: number } | "cut";

export interface Hooks {
  readonly url: string;
  readonly seen: SeenEvent[];
  /** Default: 200 to all. */
  answer: (event: SeenEvent) => Answer | Promise<Answer>;
  /**
   * Returns the events since the last look, once nothing came for a moment (post-hooks run beside).
   */
  take(): Promise<SeenEvent[]>;
}

const YES: Answer = { status: 200 };
const QUIET_MS = 150;

/** The events that this lakeFS knows: `prepare-commit` came with 1.52. */
export async function eventsOf(server: RunningLakefs): Promise<readonly HookEvent[]> {
  return (await isBefore(server, 52))
    ? HOOK_EVENTS.filter((event) => event !== "prepare-commit")
    : HOOK_EVENTS;
}

export async function startHooks(t: Test): Promise<Hooks> {
  const hooks: { seen: SeenEvent[]; answer: Hooks["answer"] } = { seen: [], answer: () => YES };
  let lastAt = 0;
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const event = JSON.parse(Buffer.concat(parts).toString()) as SeenEvent;
      hooks.seen.push(event);
      lastAt = Date.now();
      void Promise.resolve(hooks.answer(event)).then((answer) => reply(response, answer));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const take = async () => {
    const began = Date.now();
    while (Date.now() - Math.max(lastAt, began) < QUIET_MS)
      await new Promise((wake) => setTimeout(wake, 20));
    return hooks.seen.splice(0);
  };
  return Object.assign(hooks, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    take,
  });
}

function reply(response: ServerResponse, answer: Answer): void {
  if (answer === "cut") return void response.destroy();
  setTimeout(() => response.writeHead(answer.status).end(), answer.afterMs ?? 0);
}

/**
 * An action of one webhook for each event. `branches`: the filter of those that may have one;
 * undefined: none.
 */
export function actionFile(
  name: string,
  url: string,
  events: readonly HookEvent[],
  branches?: readonly string[],
): string {
  const filter = (event: HookEvent) =>
    branches === undefined || event.endsWith("-tag")
      ? ""
      : `\n    branches: ${JSON.stringify(branches)}`;
  const on = events.map((event) => `  ${event}:${filter(event)}`).join("\n");
  return `name: ${name}\non:\n${on}\nhooks:\n  - id: ticket\n    type: webhook\n    properties:\n      url: ${url}\n      timeout: 20s\n`;
}

/** Commits action files in lakeFS, where no hook judges it. */
export async function putActions(
  source: Source,
  files: Readonly<Record<string, string>>,
  branch = "main",
): Promise<void> {
  const named = Object.entries(files).map(([name, text]) => [`_lakefs_actions/${name}`, text]);
  await source.put(Object.fromEntries(named) as Record<string, string>, { branch });
  await source.commit("actions", { branch });
}

/** "pre-commit work", "pre-merge main": the event and what it is about, random names cut. */
export function eventText({ event_type, branch_id, tag_id }: SeenEvent): string {
  const about = tag_id
    ? `tag ${tag_id}`
    : (branch_id ?? "").replace(/^lakepack-(work|kept|tag)-.*/, "lakepack-$1-…");
  return `${event_type} ${about}`;
}
