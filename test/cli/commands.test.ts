/**
 * Every command tells what it does, prints JSON where it prints a result, and calls a wrong line
 * wrong.
 */
import type { Command } from "commander";
import t from "tap";
import { doctorCommand } from "../../src/cli/commands/doctor.js";
import { poolCommand } from "../../src/cli/commands/pool.js";
import { repoCommand } from "../../src/cli/commands/repo.js";
import { tokenCommand } from "../../src/cli/commands/token.js";
import { userCommand } from "../../src/cli/commands/user.js";
import { verifyCommand } from "../../src/cli/commands/verify.js";

function leaves(command: Command): readonly Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);
}

const ALL = [
  userCommand,
  tokenCommand,
  repoCommand,
  poolCommand,
  doctorCommand,
  verifyCommand,
].flatMap((make) => leaves(make()));

t.test("all of them", async (t) => {
  const names = ALL.map((command) =>
    [command.parent?.name(), command.name()].filter(Boolean).join(" "),
  );
  for (const name of [
    "user create",
    "user list",
    "user disable",
    "user enable",
    "token create",
    "token list",
    "token revoke",
    "repo create",
    "repo grant",
    "repo revoke",
    "repo visibility",
    "repo access",
    "pool set",
    "doctor",
    "verify",
  ])
    t.ok(names.includes(name), name);
  for (const [at, command] of ALL.entries()) {
    const help = command.helpInformation();
    t.match(help, /^Usage: .*\n\n\S.*/, `${names[at]} --help says what it does`);
    t.match(help, /--json +\S/, `${names[at]} --json`);
    command.exitOverride().configureOutput({ writeErr: () => undefined });
    await t.rejects(
      command.parseAsync(["--nonsense"], { from: "user" }),
      { code: "commander.unknownOption" },
      `${names[at]} --nonsense`,
    );
  }
});
