/** `lakepack token`: what users sign in with. */
import { Command, InvalidArgumentError, Option } from "commander";
import type { TokenFacts } from "../../auth/accounts.js";
import { type Role, ROLES } from "../../auth/caller.js";
import { control, controlling } from "../terminal/control.js";
import { folderSettings } from "../terminal/folder-options.js";
import { allPages, print, subcommand, type SubcommandOptions } from "../terminal/subcommand.js";

const UNITS_MS: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

export function tokenCommand(): Command {
  return new Command("token")
    .description("Make, list and revoke tokens.")
    .addCommand(createCommand())
    .addCommand(listCommand())
    .addCommand(revokeCommand())
    .exitOverride();
}

interface CreateOptions extends SubcommandOptions {
  readonly scope: Role;
  readonly label: string;
  readonly expires?: string;
}

/** Only the token on standard output, so that a script can take it from there. */
function createCommand(): Command {
  return subcommand("create", "Make a token and print it, this once.")
    .argument("<user>", "whose token it is")
    .addOption(
      new Option("--scope <scope>", "what it may at most").choices([...ROLES]).default("write"),
    )
    .option(
      "--expires <when>",
      "after a time (90d, 12h, 30m, 45s) or at a date (2027-01-31, with or without a time); default: never",
      readExpiry,
    )
    .option("--label <text>", "what it is for", "")
    .action(async (user: string, options: CreateOptions) => {
      const { scope, label, expires = null } = options;
      const made = await control(folderSettings(options), "token.create", {
        user,
        scope,
        label,
        expires,
      });
      print(options, made, made.token);
    });
}

function listCommand(): Command {
  return subcommand(
    "list",
    "List tokens: id, user, scope, label, and when used, expired or revoked. The tokens themselves are kept nowhere.",
  )
    .argument("[user]", "of this user only")
    .action(async (user: string | undefined, options: SubcommandOptions) => {
      const settings = folderSettings(options);
      const tokens = await controlling(settings, (send) =>
        allPages(
          (after) => send("token.list", { ...(user === undefined ? {} : { user }), after }),
          ({ id }) => id,
        ),
      );
      print(options, tokens, tokens.map(line).join("\n"));
    });
}

function revokeCommand(): Command {
  return subcommand("revoke", "Take a token back, at once and for ever.")
    .argument("<id>", "as `lakepack token list` shows it; not the token")
    .action(async (id: string, options: SubcommandOptions) => {
      print(
        options,
        await control(folderSettings(options), "token.revoke", { id }),
        `revoked ${id}`,
      );
    });
}

function line({ id, user, scope, label, expires, last_used: used, revoked }: TokenFacts): string {
  const times = [
    `used ${used ?? "never"}`,
    ...(expires === null ? [] : [`expires ${expires}`]),
    ...(revoked === null ? [] : [`revoked ${revoked}`]),
  ];
  return [id, user, scope, label, ...times].join("\t");
}

/** ISO 8601 in UTC. */
function readExpiry(text: string): string {
  const [, digits, unit] = /^([1-9][0-9]{0,5})([smhd])$/.exec(text) ?? [];
  const at =
    digits === undefined || unit === undefined
      ? new Date(/^\d{4}-\d{2}-\d{2}/.test(text) ? text : Number.NaN)
      : new Date(Date.now() + Number(digits) * (UNITS_MS[unit] as number));
  if (Number.isNaN(at.getTime()))
    throw new InvalidArgumentError("A time (90d, 12h, 30m, 45s) or a date (2027-01-31).");
  if (at.getTime() <= Date.now()) throw new InvalidArgumentError("It is over already.");
  return at.toISOString();
}
