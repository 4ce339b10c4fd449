/**
 * `lakepack repo`: repositories by name. Goes to the server that runs on the data folder; where
 * none does, works on the folder itself.
 */
import { Argument, Command, InvalidArgumentError, Option } from "commander";
import { createInterface } from "node:readline/promises";
import { type Role, ROLES } from "../../auth/caller.js";
import type { SettingsFacts } from "../../api/repository-settings.js";
import type { AccessFacts, Visibility } from "../../auth/permissions.js";
import { Fault } from "../../base/fault.js";
import type { Recovered } from "../../serve/repositories/removal.js";
import { control, controlling } from "../terminal/control.js";
import { folderSettings } from "../terminal/folder-options.js";
import { allPages, print, subcommand, type SubcommandOptions } from "../terminal/subcommand.js";

export function repoCommand(): Command {
  return new Command("repo")
    .description("Make, list, look up, set up and delete repositories, and say who may use them.")
    .addCommand(createCommand())
    .addCommand(listCommand())
    .addCommand(resolveCommand())
    .addCommand(showCommand())
    .addCommand(setCommand())
    .addCommand(unsetCommand())
    .addCommand(accessCommand())
    .addCommand(visibilityCommand())
    .addCommand(grantCommand())
    .addCommand(revokeCommand())
    .addCommand(bundleCommand())
    .addCommand(deleteCommand())
    .addCommand(forgetCommand())
    .addCommand(adoptCommand())
    .addCommand(recoverCommand())
    .exitOverride();
}

const NAME = "ns/name, or datasets/ns/name, spaces/ns/name";
const ANY_NAME = `${NAME}, lakefs/repository`;

interface CreateOptions extends SubcommandOptions {
  readonly lakefs?: string;
  readonly visibility?: Visibility;
}

function createCommand(): Command {
  return subcommand("create", "Make an empty repository, or another name of a lakeFS repository.")
    .argument("<name>", NAME)
    .option("--lakefs <repository>", "the lakeFS repository that shall have this name")
    .addOption(
      new Option(
        "--visibility <visibility>",
        "who may read it: everybody, or who was granted to; default: private",
      ).choices(["public", "private"]),
    )
    .action(async (name: string, options: CreateOptions) => {
      const { lakefs, visibility } = options;
      const given = {
        name,
        ...(lakefs === undefined ? {} : { lakefs }),
        ...(visibility === undefined ? {} : { visibility }),
      };
      const made = await control(folderSettings(options), "repo.create", given);
      print(
        options,
        made,
        made.lakefs === null
          ? `created ${made.name}`
          : `created ${made.name}, which is lakeFS repository ${made.lakefs}`,
      );
    });
}

function listCommand(): Command {
  return subcommand(
    "list",
    "List the repositories in the store, and which lakeFS repository a name stands for.",
  ).action(async (options: SubcommandOptions) => {
    const settings = folderSettings(options);
    const all = await controlling(settings, (send) =>
      allPages(
        (after) => send("repo.list", { after }),
        ({ name }) => name,
      ),
    );
    const lines = all.map(
      ({ name, kind, lakefs }) => `${name}\t${kind}${lakefs === null ? "" : `\t${lakefs}`}`,
    );
    print(options, all, lines.join("\n"));
  });
}

function resolveCommand(): Command {
  return subcommand("resolve", "Print both ids of a commit, given either.")
    .argument("<name>", ANY_NAME)
    .argument("<id>", "40 hex digits of Git, or 64 of lakeFS", readId)
    .action(async (name: string, id: string, options: SubcommandOptions) => {
      const found = await control(folderSettings(options), "repo.resolve", { name, id });
      const lakefs =
        found.lakefs_ids.length === 0 && found.lakefs !== null ? [found.lakefs] : found.lakefs_ids;
      const tagged = found.type === "tag" ? [`commit ${found.commit}`] : [];
      print(
        options,
        found,
        [
          `git ${found.git}`,
          ...tagged,
          `tree ${found.tree}`,
          ...lakefs.map((each) => `lakefs ${each}`),
        ].join("\n"),
      );
    });
}

function readId(text: string): string {
  if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(text))
    throw new InvalidArgumentError(
      "40 hex digits of Git, or 64 of lakeFS: short ids are not looked up.",
    );
  return text;
}

function showCommand(): Command {
  return subcommand(
    "show",
    "Print what is known of a repository, and its settings with where each comes from.",
  )
    .argument("<name>", ANY_NAME)
    .action(async (name: string, options: SubcommandOptions) => {
      const found = await control(folderSettings(options), "repo.describe", { name });
      const { id, kind, visibility, state, created_at, head, lakefs, guard, settings } = found;
      const facts = {
        id,
        kind,
        visibility,
        state,
        created: created_at,
        head,
        ...(lakefs === null ? {} : { lakefs }),
        ...(guard === null ? {} : { guard }),
      };
      const lines = Object.entries(facts).map(([fact, value]) => `${fact}\t${value}`);
      print(options, found, [found.name, ...lines, ...settingLines(settings)].join("\n"));
    });
}

const SETTINGS_HELP = `
Settings, which overrule the server's for this repository:
  fsck_levels=missingEmail=ignore,badTimezone=warn   what becomes of single messages of fsck: error, warn, ignore
  fsck_skip_list=<oid>,<oid>…                        objects that are not checked
  lfs_missing_objects=refuse|warn                    a push whose LFS pointers have no file here
Ids that protect those who fetch (gitmodules*, hasDot*, symlink*, nullSha1, treeNotSorted, duplicateEntries) are
set by the server's own fsck_levels only.
`;

function setCommand(): Command {
  return subcommand("set", "Set what a repository has in place of the server's settings.")
    .argument("<name>", ANY_NAME)
    .argument("<setting=value...>", "each replaces what was set before")
    .addHelpText("after", SETTINGS_HELP)
    .action(async (name: string, given: readonly string[], options: SubcommandOptions) => {
      const pairs = given.map((pair) => [
        pair.split("=", 1)[0] as string,
        pair.includes("=") ? pair.slice(pair.indexOf("=") + 1) : "",
      ]);
      await changeSettings(name, Object.fromEntries(pairs) as Record<string, string>, options);
    });
}

function unsetCommand(): Command {
  return subcommand("unset", "Take settings of a repository away: the server's count again.")
    .argument("<name>", ANY_NAME)
    .argument("<setting...>", "fsck_levels, fsck_skip_list, lfs_missing_objects")
    .action(async (name: string, given: readonly string[], options: SubcommandOptions) => {
      await changeSettings(
        name,
        Object.fromEntries(given.map((setting) => [setting, null])),
        options,
      );
    });
}

async function changeSettings(
  name: string,
  settings: Record<string, string | null>,
  options: SubcommandOptions,
): Promise<void> {
  const now = await control(folderSettings(options), "repo.set", { name, settings });
  print(options, now, settingLines(now).join("\n"));
}

function settingLines(settings: SettingsFacts): string[] {
  const {
    fsck,
    fsck_levels: levels,
    fsck_skip_list: skipped,
    lfs_missing_objects: missing,
  } = settings;
  return [
    `fsck\t${fsck.value}\t${fsck.from}`,
    ...Object.entries(levels).map(
      ([id, { value, from }]) => `fsck_levels\t${id}=${value}\t${from}`,
    ),
    ...(skipped.server === 0 ? [] : [`fsck_skip_list\t${skipped.server} ids\tserver`]),
    ...skipped.repository.map((id) => `fsck_skip_list\t${id}\trepository`),
    `lfs_missing_objects\t${missing.value}\t${missing.from}`,
  ];
}

function accessCommand(): Command {
  return subcommand("access", "Print who may use a repository beside its owner and administrators.")
    .argument("<name>", ANY_NAME)
    .action(async (name: string, options: SubcommandOptions) => {
      printAccess(options, await control(folderSettings(options), "repo.access", { name }));
    });
}

function visibilityCommand(): Command {
  return subcommand("visibility", "Let everybody read a repository, or not.")
    .argument("<name>", ANY_NAME)
    .addArgument(new Argument("<visibility>", "who may read it").choices(["public", "private"]))
    .action(async (name: string, visibility: Visibility, options: SubcommandOptions) => {
      printAccess(
        options,
        await control(folderSettings(options), "repo.visibility", { name, visibility }),
      );
    });
}

function grantCommand(): Command {
  return subcommand("grant", "Let a user use a repository. A second grant replaces the first.")
    .argument("<name>", ANY_NAME)
    .argument("<user>", "who may")
    .addArgument(new Argument("<role>", "what").choices([...ROLES]))
    .action(async (name: string, user: string, role: Role, options: SubcommandOptions) => {
      printAccess(
        options,
        await control(folderSettings(options), "repo.grant", { name, user, role }),
      );
    });
}

function revokeCommand(): Command {
  return subcommand("revoke", "Take away what was granted to a user.")
    .argument("<name>", ANY_NAME)
    .argument("<user>", "who may no longer")
    .action(async (name: string, user: string, options: SubcommandOptions) => {
      printAccess(
        options,
        await control(folderSettings(options), "repo.grant", { name, user, role: null }),
      );
    });
}

function bundleCommand(): Command {
  return subcommand("bundle", "Make a bundle for clones of what is in none yet (bundle_uri).")
    .argument("<name>", NAME)
    .action(async (name: string, options: SubcommandOptions) => {
      const made = await control(folderSettings(options), "repo.bundle", { name });
      const { kind, bytes } = made;
      print(
        options,
        made,
        kind === null
          ? `${made.name}: all of it is in bundles`
          : `${made.name}: a ${kind} bundle of ${bytes} bytes`,
      );
    });
}

const DELETE_HELP = `
Until its files go, \`lakepack repo adopt\` brings it back. Of a second name of a lakeFS repository only the name
goes, and nothing is deleted in lakeFS.
`;

interface DeleteOptions extends SubcommandOptions {
  readonly yes?: boolean;
}

function deleteCommand(): Command {
  return subcommand(
    "delete",
    "Delete a repository: its name is free at once, its files go after gc_grace_hours.",
  )
    .argument("<name>", ANY_NAME)
    .option("--yes", "do not ask for the name again")
    .addHelpText("after", DELETE_HELP)
    .action(async (name: string, options: DeleteOptions) => {
      await confirmName(name, options);
      const gone = await control(folderSettings(options), "repo.delete", { name });
      print(options, gone, `deleted ${gone.name}`);
    });
}

function forgetCommand(): Command {
  return subcommand(
    "forget",
    "Remove at once what had this name and was deleted, or was made again in lakeFS: files, grants, other names.",
  )
    .argument("<name>", ANY_NAME)
    .option("--yes", "do not ask for the name again")
    .action(async (name: string, options: DeleteOptions) => {
      await confirmName(name, options);
      const done = await control(folderSettings(options), "repo.forget", { name });
      const files = `${done.removed_files} files (${done.removed_bytes} bytes)`;
      print(options, done, `${done.name}: ${done.repositories} forgotten, ${files} removed`);
    });
}

function adoptCommand(): Command {
  return subcommand(
    "adopt",
    "Bring back what had this name last, or take in what lies in the store.",
  )
    .argument("<name|prefix>", `${ANY_NAME}; or a place in the store: repos/<id>`)
    .argument("[name]", "the name that what lies there shall have")
    .addHelpText(
      "after",
      "\nWhere another repository has the name by now, that one gets its visibility, grants and other names. What is taken in is private.\n",
    )
    .action(async (first: string, second: string | undefined, options: SubcommandOptions) => {
      const given = second === undefined ? { name: first } : { prefix: first, name: second };
      const done = await control(folderSettings(options), "repo.adopt", given);
      const what = ADOPTED[done.outcome];
      const names = done.names.map((each) => `${each} leads to it again`);
      const taken = done.taken.map((each) => `${each} leads elsewhere by now`);
      print(options, done, [`${done.name} ${what}`, ...names, ...taken].join("\n"));
    });
}

const ADOPTED = {
  restored: "has its name again",
  inherited: "has the visibility and the grants of the one before",
  "taken in": "is what lay there",
} as const;

function recoverCommand(): Command {
  return subcommand(
    "recover",
    "Give repositories of the store that no name leads to the names that their manifests tell.",
  )
    .addHelpText("after", "\nFor a lost database. What is recovered is private.\n")
    .action(async (options: SubcommandOptions) => {
      const all = await control(folderSettings(options), "repo.recover", {});
      print(options, all, all.map(recoveredLine).join("\n"));
    });
}

function recoveredLine({ id, name, reason, lfsObjects }: Recovered): string {
  if (reason === null)
    return `${name}\t${id}${lfsObjects === null ? "\tits LFS objects are not linked: see the log" : ""}`;
  return `${id}\tnot recovered: ${reason}${name === null ? "" : ` (${name})`}`;
}

/** Throws "settings/bad-value" unless the name was typed again, or nobody needs to. */
async function confirmName(name: string, { yes }: DeleteOptions): Promise<void> {
  if (yes === true) return;
  const refused = (value: string) =>
    new Fault("settings/bad-value", {
      name: "name",
      value,
      allowed: `${name} typed again, or --yes`,
    });
  if (!process.stdin.isTTY) throw refused("");
  const asking = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const typed = await asking.question(`Type ${name} again to go on: `);
    if (typed.trim() !== name) throw refused(typed.trim());
  } finally {
    asking.close();
  }
}

function printAccess(options: SubcommandOptions, access: AccessFacts): void {
  const { name, visibility, grants } = access;
  print(
    options,
    access,
    [`${name}\t${visibility}`, ...grants.map(({ user, role }) => `${user}\t${role}`)].join("\n"),
  );
}
