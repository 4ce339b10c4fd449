/**
 * The settings of a server that a command needs: where its data folder is. The rest is read as
 * `serve` reads it.
 */
import type { Command } from "commander";
import { readSettings, SETTINGS, type Settings } from "../server/settings.js";

export interface FolderOptions {
  readonly config?: string;
  readonly data?: string;
}

export function withFolderOptions(command: Command): Command {
  return command
    .option("--config <file>", "settings file")
    .option("--data <folder>", `the server's data folder [default ${SETTINGS.data.fallback}]`)
    .addHelpText(
      "after",
      "\nAll settings are read as `lakepack serve` reads them: lakepack.yaml, or LAKEPACK_<NAME> in the environment.\n",
    );
}

/** Throws "settings/bad-value". */
export function folderSettings({ config, data }: FolderOptions): Settings {
  return readSettings(data === undefined ? {} : { data }, process.env, config);
}
