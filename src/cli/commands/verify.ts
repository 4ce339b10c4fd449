/** `lakepack verify`. */
import { Command } from "commander";
import { Fault } from "../../base/fault.js";
import {
  type FolderOptions,
  folderSettings,
  withFolderOptions,
} from "../terminal/folder-options.js";

interface Options extends FolderOptions {
  readonly all?: boolean;
  readonly json?: boolean;
}

export function verifyCommand(): Command {
  return withFolderOptions(
    new Command("verify").description(
      "Check what is stored: manifests, packs and their indexes, that all is there which refs lead to, LFS objects.",
    ),
  )
    .argument("[names...]", "ns/name, datasets/ns/name, spaces/ns/name, lakefs/repository")
    .option("--all", "every repository in the store")
    .option("--json", "print the findings as JSON, one line a repository")
    .addHelpText(
      "after",
      "\nReads only, and may run beside the server. Exit code 0: all is well; 1: something is damaged, and what to do is said; 2: wrong usage.\n",
    )
    .exitOverride()
    .action(verify);
}

async function verify(names: readonly string[], options: Options): Promise<void> {
  const settings = folderSettings(options);
  if ((names.length === 0) !== (options.all === true)) {
    throw new Fault("settings/bad-value", {
      name: "names",
      value: names.join(" "),
      allowed: "names of repositories, or --all",
    });
  }
  const { verifyStored } = await import("./verify-stored.js");
  await verifyStored(settings, names, options.json === true);
}
