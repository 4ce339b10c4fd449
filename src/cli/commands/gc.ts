/**
 * `lakepack gc`. Goes to the server that runs on the data folder; where none does, works on the
 * folder itself.
 */
import { type Command, InvalidArgumentError } from "commander";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { control, controlling } from "../terminal/control.js";
import { folderSettings } from "../terminal/folder-options.js";
import type { Settings } from "../server/settings.js";
import { allPages, print, subcommand, type SubcommandOptions } from "../terminal/subcommand.js";

interface Options extends SubcommandOptions {
  readonly all?: boolean;
  readonly grace?: number;
}

export function gcCommand(): Command {
  return subcommand(
    "gc",
    "Remove files of repositories that nothing names any more: packs made one with others, leavings of failed pushes, old lists of refs, what writes that died have left.",
  )
    .argument("[names...]", "ns/name, datasets/ns/name, spaces/ns/name, lakefs/repository")
    .option(
      "--all",
      "every repository that is not over lakeFS (to look at one of those lakeFS is asked), what is left of deleted ones, and Git LFS objects that nothing leads to",
    )
    .option(
      "--grace <hours>",
      "how long nothing must have named them; 0 only while nobody clones or pushes [default gc_grace_hours]",
      readHours,
    )
    .addHelpText(
      "after",
      "\nA server does this by itself, after pushes and after it has read lakeFS, at most once an hour a repository. Of a repository over lakeFS packs are made one before.\n",
    )
    .action(gc);
}

function readHours(text: string): number {
  const hours = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || hours > LIMITS.gcGraceHoursMax)
    throw new InvalidArgumentError(`0 to ${LIMITS.gcGraceHoursMax}.`);
  return hours;
}

async function gc(names: readonly string[], options: Options): Promise<void> {
  const settings = folderSettings(options);
  if ((names.length === 0) !== (options.all === true)) {
    throw new Fault("settings/bad-value", {
      name: "names",
      value: names.join(" "),
      allowed: "names of repositories, or --all",
    });
  }
  const all =
    options.all === true
      ? (
          await controlling(settings, (send) =>
            allPages(
              (after) => send("repo.list", { after }),
              ({ name }) => name,
            ),
          )
        )
          .filter(({ lakefs }) => lakefs === null)
          .map(({ name }) => name)
      : names;
  if (options.all === true) await collectSetAside(settings, options);
  for (const name of all) {
    const done = await control(settings, "repo.collect", {
      name,
      grace_hours: options.grace ?? settings.gc_grace_hours,
    });
    const later =
      done.waiting_files === 0
        ? ""
        : `; ${done.waiting_files} more (${done.waiting_bytes} bytes) wait for their grace period`;
    print(
      options,
      done,
      `${done.name}: ${done.removed_files} files (${done.removed_bytes} bytes) removed${later}`,
    );
  }
}

/**
 * Deletes or sets aside repositories where lakeFS has another one of their name, and tells which.
 */
async function collectSetAside(settings: Settings, options: Options): Promise<void> {
  const done = await control(settings, "repo.collectSetAside", {
    grace_hours: options.grace ?? settings.gc_grace_hours,
  });
  if (done.repositories === 0 && done.removed_files === 0) return;
  print(
    options,
    done,
    `${done.repositories} deleted repositories: ${done.removed_files} files (${done.removed_bytes} bytes) removed`,
  );
}
