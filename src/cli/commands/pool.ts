/**
 * `lakepack pool`: worker threads and queue of the server that runs on the data folder, shown and
 * changed while it works.
 */
import { Command, InvalidArgumentError } from "commander";
import type { PoolView } from "../../api/pool.js";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { control } from "../terminal/control.js";
import {
  type FolderOptions,
  folderSettings,
  withFolderOptions,
} from "../terminal/folder-options.js";
import { say, sayJson } from "../terminal/say.js";

interface Options extends FolderOptions {
  readonly json?: boolean;
}

export function poolCommand(): Command {
  return new Command("pool")
    .description("Show or change the worker threads of a running server.")
    .addCommand(showCommand())
    .addCommand(setCommand())
    .exitOverride();
}

function subcommand(name: string, about: string): Command {
  return withFolderOptions(new Command(name).description(about))
    .option("--json", "print the result as JSON")
    .exitOverride();
}

function showCommand(): Command {
  return subcommand("show", "Print threads, limits and what they do now.").action(
    async (options: Options) => {
      print(options, await control(folderSettings(options), "pool.show", {}));
    },
  );
}

function setCommand(): Command {
  return subcommand(
    "set",
    "Change threads or queue at once, until the server restarts; nothing under way is dropped.",
  )
    .option(
      "--threads <n>",
      `worker threads, 1 to ${LIMITS.poolThreadsMax}`,
      readCount(LIMITS.poolThreadsMax),
    )
    .option(
      "--queue <n>",
      `tasks that may wait for one, 1 to ${LIMITS.poolQueueSettingMax}`,
      readCount(LIMITS.poolQueueSettingMax),
    )
    .action(async (options: Options & { readonly threads?: number; readonly queue?: number }) => {
      const { threads, queue } = options;
      if (threads === undefined && queue === undefined)
        throw new Fault("control/bad-request", {
          command: "pool set",
          reason: "--threads or --queue is needed",
        });
      print(options, await control(folderSettings(options), "pool.set", { threads, queue }));
    });
}

function readCount(max: number): (text: string) => number {
  return (text) => {
    const count = Number(text);
    if (!/^\d+$/.test(text) || count < 1 || count > max)
      throw new InvalidArgumentError(`1 to ${max}.`);
    return count;
  };
}

function print({ json }: Options, view: PoolView): void {
  const { threads, queue, running, waiting, completed, replaced } = view;
  const text = `threads ${threads}, ${running} busy\nqueue ${queue}, ${waiting} waiting\ntasks done ${completed}\nthreads replaced ${replaced}`;
  void (json === true ? sayJson(view) : say(`${text}\n`));
}
