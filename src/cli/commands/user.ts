/**
 * `lakepack user`: who may sign in. A user is disabled, never deleted: the next of that name would
 * own the namespace.
 */
import { Command } from "commander";
import type { UserFacts } from "../../auth/accounts.js";
import { control, controlling } from "../terminal/control.js";
import { folderSettings } from "../terminal/folder-options.js";
import { allPages, print, subcommand, type SubcommandOptions } from "../terminal/subcommand.js";

export function userCommand(): Command {
  return new Command("user")
    .description("Make, list and disable users. A user owns the repositories under their name.")
    .addCommand(createCommand())
    .addCommand(listCommand())
    .addCommand(changeCommand("disable", "Refuse all tokens of a user.", { disabled: true }))
    .addCommand(
      changeCommand("enable", "Take the tokens of a disabled user again.", { disabled: false }),
    )
    .addCommand(
      changeCommand("promote", "Make a user an administrator, who may all everywhere.", {
        admin: true,
      }),
    )
    .addCommand(changeCommand("demote", "Make an administrator a plain user.", { admin: false }))
    .exitOverride();
}

function createCommand(): Command {
  return subcommand("create", "Make a user.")
    .argument("<name>", "letters, digits, . _ -; also the namespace of the user's repositories")
    .option("--admin", "an administrator, who may all everywhere")
    .action(async (name: string, options: SubcommandOptions & { readonly admin?: boolean }) => {
      const user = await control(folderSettings(options), "user.create", {
        name,
        admin: options.admin === true,
      });
      print(options, user, `created ${line(user)}`);
    });
}

function listCommand(): Command {
  return subcommand("list", "List the users.").action(async (options: SubcommandOptions) => {
    const settings = folderSettings(options);
    const users = await controlling(settings, (send) =>
      allPages(
        (after) => send("user.list", { after }),
        ({ name }) => name,
      ),
    );
    print(options, users, users.map(line).join("\n"));
  });
}

function changeCommand(
  name: string,
  about: string,
  change: { readonly disabled?: boolean; readonly admin?: boolean },
): Command {
  return subcommand(name, about)
    .argument("<name>", "the user")
    .action(async (user: string, options: SubcommandOptions) => {
      const changed = await control(folderSettings(options), "user.change", {
        name: user,
        ...change,
      });
      print(options, changed, line(changed));
    });
}

function line({ name, admin, disabled }: UserFacts): string {
  return [
    name,
    ...(admin ? ["administrator"] : []),
    ...(disabled === null ? [] : [`disabled ${disabled}`]),
  ].join("\t");
}
