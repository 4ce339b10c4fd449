#!/usr/bin/env node
/** `lakepack`: exit code 0 is success, 1 a failure it names, 2 a wrong command line or setting. */
import { Command, CommanderError } from "commander";
import { asFault, Fault, type FaultCode } from "../base/fault.js";
import { backupCommand } from "./commands/backup.js";
import { doctorCommand } from "./commands/doctor.js";
import { gcCommand } from "./commands/gc.js";
import { indexPackCommand } from "./commands/index-pack.js";
import { poolCommand } from "./commands/pool.js";
import { repoCommand } from "./commands/repo.js";
import { restoreCommand } from "./commands/restore.js";
import { serveCommand } from "./commands/serve.js";
import { tokenCommand } from "./commands/token.js";
import { userCommand } from "./commands/user.js";
import { verifyCommand } from "./commands/verify.js";
import { VERSION } from "./server/version.js";
import { letReadersGo, sayAside } from "./terminal/say.js";

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;
/** Faults of the command line or of a setting. */
const USAGE_FAULTS: ReadonlySet<FaultCode> = new Set<FaultCode>([
  "settings/bad-value",
  "control/bad-request",
  "user/bad-name",
]);

function program(): Command {
  return new Command("lakepack")
    .description("A Git server for model and dataset hubs.")
    .version(VERSION)
    .addCommand(serveCommand())
    .addCommand(userCommand())
    .addCommand(tokenCommand())
    .addCommand(repoCommand())
    .addCommand(poolCommand())
    .addCommand(doctorCommand())
    .addCommand(verifyCommand())
    .addCommand(gcCommand())
    .addCommand(backupCommand())
    .addCommand(restoreCommand())
    .addCommand(indexPackCommand())
    .exitOverride()
    .configureHelp({ sortSubcommands: true });
}

async function main(): Promise<number> {
  try {
    await program().parseAsync(process.argv);
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
    const fault = asFault(error);
    sayAside(`lakepack: ${fault.message}\n`);
    if (fault.code === "base/internal")
      sayAside(`${String((fault.cause as Error | undefined)?.stack ?? fault.stack)}\n`);
    return error instanceof Fault && USAGE_FAULTS.has(error.code) ? EXIT_USAGE : EXIT_FAILURE;
  }
}

letReadersGo();
process.exitCode = await main();
