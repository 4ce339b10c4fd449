/**
 * Seeded corpora, made with `git fast-import`: the same bytes and object ids on every machine.
 *
 *   code     a history of small edits to text files in nested folders: deep deltas
 *   model    a model repository: configuration, a tokenizer, a few large blobs of weights, some
 *            versions
 *   dataset  many small files in nested folders, one commit
 *   blobs    large blobs nothing compresses
 */
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { git, startGit } from "./git.js";
import { Random } from "./random.js";

export type CorpusName = "code" | "model" | "dataset" | "blobs";
export type Scale = "tiny" | "full";

interface Sizes {
  readonly commits: number;
  readonly codeFiles: number;
  readonly dataFiles: number;
  readonly blobBytes: number;
  readonly blobs: number;
}

const MIB = 1024 * 1024;
const SIZES: Readonly<Record<Scale, Sizes>> = {
  tiny: { commits: 60, codeFiles: 40, dataFiles: 300, blobBytes: MIB, blobs: 2 },
  full: { commits: 12_000, codeFiles: 1_500, dataFiles: 100_000, blobBytes: 64 * MIB, blobs: 16 },
};

/** Makes a bare, packed repository at `folder`/`name`.git; its path. */
export async function makeCorpus(name: CorpusName, scale: Scale, folder: string): Promise<string> {
  const path = join(folder, `${name}.git`);
  await mkdir(path, { recursive: true });
  git(["init", "--quiet", "--bare", "--initial-branch=main", "."], path);
  // Nothing compresses these: zlib would try for a minute and then store them as they are.
  if (name === "blobs") {
    git(["config", "core.compression", "0"], path);
    git(["config", "core.bigFileThreshold", "1m"], path); // nor does the client look for deltas between them
  }
  const importer = new Importer(path);
  await WRITERS[name](importer, SIZES[scale]);
  await importer.end();
  // As a client's push would bring it: deltas over the whole history.
  git(["-c", "pack.threads=2", "repack", "-adfq", "--depth=50", "--window=10"], path);
  return path;
}

const WRITERS: Readonly<Record<CorpusName, (to: Importer, sizes: Sizes) => Promise<void>>> = {
  code: writeCode,
  model: writeModel,
  dataset: writeDataset,
  blobs: writeBlobs,
};

/** Feeds `git fast-import`. git-fast-import(1) "Input Format". */
class Importer {
  readonly #child: ReturnType<typeof startGit>;
  #commits = 0;

  constructor(path: string) {
    this.#child = startGit(
      ["-c", "fastimport.unpackLimit=0", "fast-import", "--quiet", "--force"],
      path,
    );
  }

  async commit(
    message: string,
    files: readonly (readonly [path: string, content: Buffer])[],
  ): Promise<void> {
    const when = 1_500_000_000 + 600 * this.#commits++;
    await this.#write(
      `commit refs/heads/main\ncommitter A <a@example.com> ${when} +0000\ndata ${message.length}\n${message}\n`,
    );
    for (const [path, content] of files) {
      await this.#write(`M 100644 inline ${path}\ndata ${content.length}\n`);
      await this.#write(content);
      await this.#write("\n");
    }
    await this.#write("\n");
  }

  async end(): Promise<void> {
    this.#child.stdin?.end();
    const [code] = (await once(this.#child, "close")) as [number];
    if (code !== 0) throw new Error(`git fast-import ended with ${code}`);
  }

  async #write(bytes: string | Buffer): Promise<void> {
    const { stdin } = this.#child;
    if (stdin?.write(bytes) === false) await once(stdin, "drain");
  }
}

const WORDS =
  "return const function import value result index length buffer stream object commit tree parent error if else while for".split(
    " ",
  );

function line(random: Random): string {
  const words = Array.from(
    { length: 3 + random.below(8) },
    () => WORDS[random.below(WORDS.length)] as string,
  );
  return `${"  ".repeat(random.below(4))}${words.join(" ")} ${random.below(100_000)};`;
}

async function writeCode(to: Importer, sizes: Sizes): Promise<void> {
  const random = new Random(1);
  const files = Array.from({ length: sizes.codeFiles }, (_, n) => ({
    path: `src/part${n % 20}/room${Math.floor(n / 20) % 12}/file${n}.ts`,
    lines: Array.from({ length: 40 + random.below(400) }, () => line(random)),
  }));
  const content = (lines: readonly string[]) => Buffer.from(`${lines.join("\n")}\n`);
  await to.commit(
    "start",
    files.map((file) => [file.path, content(file.lines)] as const),
  );
  for (let n = 1; n < sizes.commits; n++) {
    const touched = Array.from(
      { length: 1 + random.below(4) },
      () => files[random.below(files.length)] as (typeof files)[number],
    );
    for (const { lines } of touched) {
      for (let edit = 1 + random.below(5); edit > 0; edit--)
        lines.splice(random.below(lines.length), random.below(2), line(random));
    }
    await to.commit(
      `change ${n}: ${line(random)}`,
      [...new Set(touched)].map((file) => [file.path, content(file.lines)] as const),
    );
  }
}

async function writeModel(to: Importer, sizes: Sizes): Promise<void> {
  const random = new Random(2);
  const tokenizer = Buffer.from(
    JSON.stringify(
      Object.fromEntries(Array.from({ length: 30_000 }, (_, n) => [`t${random.next()}`, n])),
    ),
  );
  const weights = () =>
    Array.from(
      { length: Math.max(1, sizes.blobs >> 2) },
      (_, n) => [`model-${n}.safetensors`, random.bytes(sizes.blobBytes)] as const,
    );
  await to.commit("first", [
    ["config.json", Buffer.from('{"layers":12}\n')],
    ["tokenizer.json", tokenizer],
    ...weights(),
  ]);
  for (let n = 1; n <= 5; n++)
    await to.commit(`card ${n}`, [
      ["README.md", Buffer.from(`# model\nversion ${n}\n${line(random)}\n`)],
    ]);
}

async function writeDataset(to: Importer, sizes: Sizes): Promise<void> {
  const random = new Random(3);
  const files = Array.from({ length: sizes.dataFiles }, (_, n) => {
    const path = `data/${String(n % 97).padStart(2, "0")}/${String(Math.floor(n / 97) % 31)}/item-${n}.json`;
    return [
      path,
      Buffer.from(`{"id":${n},"text":"${line(random)}","score":${random.next()}}\n`),
    ] as const;
  });
  await to.commit("all of it", files);
}

async function writeBlobs(to: Importer, sizes: Sizes): Promise<void> {
  const random = new Random(4);
  for (let n = 0; n < sizes.blobs; n++)
    await to.commit(`blob ${n}`, [[`blob-${n}.bin`, random.bytes(sizes.blobBytes)]]);
}
