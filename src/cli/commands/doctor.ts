/** `lakepack doctor`: what an operator should know and nobody says by itself. */
import { Command } from "commander";
import { Fault } from "../../base/fault.js";
import type { Examination } from "../../lakefs/read/examine.js";
import type { HookExamination } from "../../lakefs/hooks/examine-hooks.js";
import {
  type FolderOptions,
  folderSettings,
  withFolderOptions,
} from "../terminal/folder-options.js";
import { say, sayJson } from "../terminal/say.js";

interface Options extends FolderOptions {
  readonly lakefs?: string;
  readonly repairMapping?: boolean;
  readonly json?: boolean;
}

export function doctorCommand(): Command {
  return withFolderOptions(
    new Command("doctor").description("Look for what is wrong, or cannot be done."),
  )
    .option(
      "--lakefs <repository>",
      "list all that this lakeFS repository holds and Git cannot have, and what its hooks are told of pushes",
    )
    .option(
      "--repair-mapping",
      "with --lakefs: put back the mapping that this data folder has read the repository by",
    )
    .option("--json", "print the findings as JSON")
    .addHelpText(
      "after",
      "\nWithout --lakefs: settings, data folder, permissions, disk, repositories, clock, the front end of a running server, and whether lakeFS answers. Exit code 0: all is well; 1: something is not; 2: wrong usage.\n",
    )
    .exitOverride()
    .action(doctor);
}

async function doctor(options: Options): Promise<void> {
  if (options.repairMapping === true) return repairMapping(options);
  if (options.lakefs !== undefined) return examine(options, options.lakefs);
  const { checkAll } = await import("../doctor/checks.js");
  const checks = await checkAll(folderSettings(options), new AbortController().signal);
  const lines = checks.map(
    ({ name, good, found, advice }) =>
      `${good ? "good" : "BAD "}  ${name}: ${found}${advice === undefined ? "" : `\n        what to do: ${advice}`}\n`,
  );
  await (options.json === true ? sayJson(checks) : say(lines.join("")));
  const failed = checks.filter(({ good }) => !good);
  if (failed.length > 0)
    throw new Fault("doctor/found", { checks: failed.map(({ name }) => name).join(" ") });
}

async function repairMapping(options: Options): Promise<void> {
  const { lakefs } = options;
  if (lakefs === undefined)
    throw new Fault("settings/bad-value", {
      name: "repair-mapping",
      value: "",
      allowed: "with --lakefs <repository> only",
    });
  const { control } = await import("../terminal/control.js");
  const repaired = await control(folderSettings(options), "lakefs.repair-mapping", { lakefs });
  const text = `${lakefs}: the mapping is ${repaired.mapping} (record ${repaired.record ?? "none"})\n`;
  await (options.json === true ? sayJson(repaired) : say(text));
}

/** Findings are no failure: exit code 0. */
async function examine(options: Options, repository: string): Promise<void> {
  const {
    lakefs_endpoint: endpoint,
    lakefs_access_key_id: accessKeyId,
    lakefs_secret_access_key: secretAccessKey,
  } = folderSettings(options);
  if (endpoint === "") throw new Fault("lakefs/unset", { repository });
  const [{ LakefsServer }, { examineRepository }, { examineHooks }] = await Promise.all([
    import("../../lakefs/api/client.js"),
    import("../../lakefs/read/examine.js"),
    import("../../lakefs/hooks/examine-hooks.js"),
  ]);
  const access = { endpoint, accessKeyId, secretAccessKey, patienceMs: 0 };
  const client = new LakefsServer(access).in(repository);
  const { signal } = new AbortController();
  const found = await examineRepository({ client, signal, pagesOnly: false });
  const hooks = await examineHooks(client, signal);
  await (options.json === true
    ? sayJson({ ...found, ...hooks })
    : say(report(found) + reportHooks(hooks)));
}

const GUARD_WORDS = {
  unknown: "is not tried",
  runs: "runs: no push lands on a branch that has moved",
  disabled:
    "does not run, as hooks are disabled in lakeFS: a push that races with a writer is merged with what was there",
  unproven: "is not proven, and no push lands until it is",
} as const;

function reportHooks({ guard, branch, hooks }: HookExamination): string {
  const lines = [
    `the guard of pushes ${GUARD_WORDS[guard.guard]}${guard.reason === undefined ? "" : ` (${guard.reason})`}`,
  ];
  if (hooks.length === 0) lines.push(`no hooks at the head of ${quoted(branch)}`);
  for (const { hook, action, event, branches, says } of hooks) {
    const where = branches.length === 0 ? "" : `, branches ${branches.map(quoted).join(" ")}`;
    lines.push(`hook ${quoted(hook)} (${event}, action ${quoted(action)}${where}): ${says}`);
  }
  return `${lines.join("\n")}\n`;
}

function report({ refs, commits, cuts, examined }: Examination): string {
  const lines = refs.map(
    ({ kind, id, reason }) => `${kind} ${quoted(id)} is not served: ${reason}`,
  );
  for (const { lakeId, refs: names, paths } of commits) {
    lines.push(
      `${names.map(quoted).join(", ")} (lakeFS commit ${lakeId}): ${paths.length} cannot be in Git`,
    );
    for (const { path, reason } of paths) lines.push(`  ${quoted(path)}: ${reason}`);
  }
  for (const { commit, path } of cuts) {
    const gone = path === "" ? "data of it" : `the data of ${quoted(path)} there`;
    lines.push(
      `lakeFS commit ${commit} and what is before it are not in Git's history: ${gone} is gone from lakeFS's storage`,
    );
  }
  const heads = examined === 1 ? "1 head" : `${examined} heads`;
  return `${[...lines, lines.length === 0 ? `all of ${heads} can be in Git` : `${heads} examined`].join("\n")}\n`;
}

/** As it is, or as JSON where it holds what a terminal would act on or an end could not be seen. */
function quoted(text: string): string {
  return /[\x00-\x1f\x7f-\x9f"\\]|^\s|\s$|^$/.test(text)
    ? JSON.stringify(text).replace(
        /[\x7f-\x9f]/g,
        (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
      )
    : text;
}
