/** `lakepack repo`: repositories by name. Goes to the server that runs on the data folder; where none does, works on the folder itself. */
import { Command, InvalidArgumentError } from "commander";
import type { ControlResult } from "../api/control.js";
import { LIMITS } from "../base/limits.js";
import { control } from "./control.js";
import { type FolderOptions, folderSettings, withFolderOptions } from "./folder-options.js";

interface Options extends FolderOptions {
  readonly json?: boolean;
}

export function repoCommand(): Command {
  return new Command("repo")
    .description("Make, list and look up repositories.")
    .addCommand(createCommand())
    .addCommand(listCommand())
    .addCommand(resolveCommand())
    .exitOverride();
}

function subcommand(name: string, about: string): Command {
  return withFolderOptions(new Command(name).description(about)).option("--json", "print the result as JSON").exitOverride();
}

const NAME = "ns/name, or datasets/ns/name, spaces/ns/name";

function createCommand(): Command {
  return subcommand("create", "Make an empty repository, or another name of a lakeFS repository.")
    .argument("<name>", NAME)
    .option("--lakefs <repository>", "the lakeFS repository that shall have this name")
    .action(async (name: string, options: Options & { readonly lakefs?: string }) => {
      const given = options.lakefs === undefined ? { name } : { name, lakefs: options.lakefs };
      const made = await control(folderSettings(options), "repo.create", given);
      print(options, made, made.lakefs === null ? `created ${made.name}` : `created ${made.name}, which is lakeFS repository ${made.lakefs}`);
    });
}

function listCommand(): Command {
  return subcommand("list", "List the repositories in the store, and which lakeFS repository a name stands for.").action(async (options: Options) => {
    const settings = folderSettings(options);
    const all: ControlResult<"repo.list">[number][] = [];
    for (let page: typeof all | undefined; page === undefined || page.length === LIMITS.listedPageMax; all.push(...page)) {
      page = await control(settings, "repo.list", { after: all.at(-1)?.name ?? "" });
    }
    const lines = all.map(({ name, kind, lakefs }) => `${name}\t${kind}${lakefs === null ? "" : `\t${lakefs}`}`);
    print(options, all, lines.join("\n"));
  });
}

function resolveCommand(): Command {
  return subcommand("resolve", "Print both ids of a commit, given either.")
    .argument("<name>", `${NAME}, lakefs/repository`)
    .argument("<id>", "40 hex digits of Git, or 64 of lakeFS", readId)
    .action(async (name: string, id: string, options: Options) => {
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

function print({ json }: Options, value: unknown, text: string): void {
  const said = json === true ? JSON.stringify(value) : text;
  if (said !== "") process.stdout.write(`${said}\n`);
}
