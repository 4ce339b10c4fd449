/** `lakepack index-pack`: what `git index-pack` does, with the server's own engine. */
import { Command } from "commander";
import { createPool, defaultThreads } from "../../pool/pool.js";
import { loadKernels } from "../server/kernels.js";
import { say, sayAside, sayJson } from "../terminal/say.js";

interface Options {
  readonly threads: string;
  readonly strict: boolean;
  readonly output?: string;
  readonly verbose?: boolean;
  readonly json?: boolean;
}

export function indexPackCommand(): Command {
  return new Command("index-pack")
    .description("Write the index (.idx, .rev) of a pack file, as git index-pack does.")
    .argument("<pack>", "a complete pack (not a thin one)")
    .option("-o, --output <idx>", "where the index goes; default: beside the pack")
    .option("--threads <n>", "worker threads", String(defaultThreads()))
    .option("--no-strict", "do not check the objects (fsck)")
    .option("-v, --verbose", "print the counters")
    .option("--json", "print the result as JSON")
    .exitOverride()
    .action(indexPack);
}

async function indexPack(path: string, options: Options): Promise<void> {
  const { indexPackFile } = await import("../../odb/index-pack/file.js");
  const pool = createPool({
    kernelsModule: await loadKernels(),
    threads: Math.max(1, Number(options.threads) || 1),
  });
  try {
    const idxPath = options.output;
    const outputs =
      idxPath === undefined ? {} : { idxPath, revPath: idxPath.replace(/(\.idx)?$/, ".rev") };
    const pack = await indexPackFile(path, { pool, fsck: options.strict, ...outputs });
    const { checksum, objectCount, deltaCount, bytes, counters } = pack;
    if (options.json)
      void sayJson({ checksum, objects: objectCount, deltas: deltaCount, bytes, counters });
    else void say(`${checksum}\n`);
    if (options.verbose)
      for (const [name, value] of Object.entries(counters)) sayAside(`${name} ${value}\n`);
  } finally {
    await pool.close();
  }
}
