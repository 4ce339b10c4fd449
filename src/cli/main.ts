#!/usr/bin/env node
/** `lakepack`: exit code 0 is success, 1 a failure it names, 2 a wrong command line or setting. */
import { Command, CommanderError } from "commander";
import { asFault, Fault } from "../base/fault.js";
import { indexPackCommand } from "./index-pack.js";
import { serveCommand } from "./serve.js";
import { VERSION } from "./version.js";

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;

function program(): Command {
  return new Command("lakepack")
    .description("A Git server for model and dataset hubs.")
    .version(VERSION)
    .addCommand(serveCommand())
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
    process.stderr.write(`lakepack: ${fault.message}\n`);
    if (fault.code === "base/internal") process.stderr.write(`${String((fault.cause as Error | undefined)?.stack ?? fault.stack)}\n`);
    return error instanceof Fault && error.code === "settings/bad-value" ? EXIT_USAGE : EXIT_FAILURE;
  }
}

process.exitCode = await main();
