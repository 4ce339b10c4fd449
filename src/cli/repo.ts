/** `lakepack repo`: repositories by name. Goes to the server that runs on the data folder; where none does, works on the folder itself. */
import { Argument, Command, InvalidArgumentError, Option } from "commander";
import { type Role, ROLES } from "../auth/caller.js";
import type { AccessFacts, Visibility } from "../auth/permissions.js";
import { control } from "./control.js";
import { folderSettings } from "./folder-options.js";
import { allPages, print, subcommand, type SubcommandOptions } from "./subcommand.js";

export function repoCommand(): Command {
  return new Command("repo")
    .description("Make, list and look up repositories, and say who may use them.")
    .addCommand(createCommand())
    .addCommand(listCommand())
    .addCommand(resolveCommand())
    .addCommand(accessCommand())
    .addCommand(visibilityCommand())
    .addCommand(grantCommand())
    .addCommand(revokeCommand())
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
    .addOption(new Option("--visibility <visibility>", "who may read it: everybody, or who was granted to; default: private").choices(["public", "private"]))
    .action(async (name: string, options: CreateOptions) => {
      const { lakefs, visibility } = options;
      const given = { name, ...(lakefs === undefined ? {} : { lakefs }), ...(visibility === undefined ? {} : { visibility }) };
      const made = await control(folderSettings(options), "repo.create", given);
      print(options, made, made.lakefs === null ? `created ${made.name}` : `created ${made.name}, which is lakeFS repository ${made.lakefs}`);
    });
}

function listCommand(): Command {
  return subcommand("list", "List the repositories in the store, and which lakeFS repository a name stands for.").action(async (options: SubcommandOptions) => {
    const settings = folderSettings(options);
    const all = await allPages((after) => control(settings, "repo.list", { after }), ({ name }) => name);
    const lines = all.map(({ name, kind, lakefs }) => `${name}\t${kind}${lakefs === null ? "" : `\t${lakefs}`}`);
    print(options, all, lines.join("\n"));
  });
}

function resolveCommand(): Command {
  return subcommand("resolve", "Print both ids of a commit, given either.")
    .argument("<name>", ANY_NAME)
    .argument("<id>", "40 hex digits of Git, or 64 of lakeFS", readId)
    .action(async (name: string, id: string, options: SubcommandOptions) => {
      const found = await control(folderSettings(options), "repo.resolve", { name, id });
      const lakefs = found.lakefs_ids.length === 0 && found.lakefs !== null ? [found.lakefs] : found.lakefs_ids;
      const tagged = found.type === "tag" ? [`commit ${found.commit}`] : [];
      print(options, found, [`git ${found.git}`, ...tagged, `tree ${found.tree}`, ...lakefs.map((each) => `lakefs ${each}`)].join("\n"));
    });
}

function readId(text: string): string {
  if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(text)) throw new InvalidArgumentError("40 hex digits of Git, or 64 of lakeFS.");
  return text;
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
      printAccess(options, await control(folderSettings(options), "repo.visibility", { name, visibility }));
    });
}

function grantCommand(): Command {
  return subcommand("grant", "Let a user use a repository. A second grant replaces the first.")
    .argument("<name>", ANY_NAME)
    .argument("<user>", "who may")
    .addArgument(new Argument("<role>", "what").choices([...ROLES]))
    .action(async (name: string, user: string, role: Role, options: SubcommandOptions) => {
      printAccess(options, await control(folderSettings(options), "repo.grant", { name, user, role }));
    });
}

function revokeCommand(): Command {
  return subcommand("revoke", "Take away what was granted to a user.")
    .argument("<name>", ANY_NAME)
    .argument("<user>", "who may no longer")
    .action(async (name: string, user: string, options: SubcommandOptions) => {
      printAccess(options, await control(folderSettings(options), "repo.grant", { name, user, role: null }));
    });
}

function printAccess(options: SubcommandOptions, access: AccessFacts): void {
  const { name, visibility, grants } = access;
  print(options, access, [`${name}\t${visibility}`, ...grants.map(({ user, role }) => `${user}\t${role}`)].join("\n"));
}
