/**
 * A repository of lakeFS, a node that lands in it, a working copy of stock git: what tests of
 * mappings push and read back.
 */
import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Test } from "tap";
import type { FsckRules } from "../../src/git/fsck/levels.js";
import { formatPointer } from "../../src/git/lfs-pointer.js";
import type { Mapping } from "../../src/lakefs/rules/contract.js";
import { DEFAULT_MAPPING } from "../../src/lakefs/agreed/mapping.js";
import type { ThreadPool } from "../../src/pool/pool.js";
import { newRepository, newWork, type RigNode, rigNode, type Work } from "./landing-rig.js";
import { signal, Source } from "./lakefs-reading.js";
import type { RunningLakefs } from "./lakefs-servers.js";

export const MAIN = "refs/heads/main";

export async function write(
  folder: string,
  files: Readonly<Record<string, string>>,
): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
}

/** A pointer in each form that git-lfs reads, by a path that says which. */
export function pointerForms(sha256: string, size: number) {
  const text = Buffer.from(formatPointer({ sha256, size })).toString();
  const extension = `ext-0-foo sha256:${"cd".repeat(32)}\n`;
  return {
    "canonical.bin": text,
    "crlf.bin": text.replaceAll("\n", "\r\n"),
    "cut.bin": text.slice(0, -1),
    "blank.bin": `${text}\n`,
    "old.bin": text.replace("https://git-lfs.github.com/spec/v1", "http://git-media.io/v/2"),
    "older.bin": text.replace("git-lfs", "hawser"),
    "extension.bin": text.replace("oid", `${extension}oid`),
    "signed.bin": text.replace(`size ${size}`, `size +0${size}`),
  };
}

export class PushedScene {
  readonly source: Source;
  readonly node: RigNode;
  readonly work: Work;
  readonly #open: (options: Parameters<typeof rigNode>[4]) => Promise<RigNode>;
  /** Addresses of LFS objects' bytes, by their SHA-256. */
  readonly #known: Map<string, string>;

  private constructor(
    source: Source,
    node: RigNode,
    work: Work,
    open: (options: Parameters<typeof rigNode>[4]) => Promise<RigNode>,
    known: Map<string, string>,
  ) {
    this.source = source;
    this.node = node;
    this.work = work;
    this.#open = open;
    this.#known = known;
  }

  static async start(
    t: Test,
    server: RunningLakefs,
    pool: ThreadPool,
    mappingSeed: Mapping = DEFAULT_MAPPING,
  ): Promise<PushedScene> {
    const repository = await newRepository(server);
    const known = new Map<string, string>();
    const lfs = { address: async (oid: string) => known.get(oid) };
    const open = (options: Parameters<typeof rigNode>[4]) =>
      rigNode(t, server, pool, repository, options);
    const node = await open({ lfs, mappingSeed });
    return new PushedScene(
      new Source(server.client, repository),
      node,
      await newWork(t),
      open,
      known,
    );
  }

  push(rules?: FsckRules): ReturnType<RigNode["push"]> {
    return this.node.push(
      this.work,
      [[MAIN, this.work.tip()]],
      rules === undefined ? {} : { rules },
    );
  }

  /**
   * Pushes HEAD; servers with an empty store, with the seal key and without, must read it back. The
   * one without.
   */
  async lands(t: Test, says: string, rules?: FsckRules): Promise<RigNode> {
    t.same(await this.push(rules), [{ name: MAIN, ok: true }], says);
    const [signer, other] = [await this.#open({}), await this.#open({ sealKeys: [] })];
    for (const [node, how] of [
      [signer, "with the key"],
      [other, "without it"],
    ] as const) {
      t.equal(
        (await node.refs.read()).byName.get(MAIN)?.oid,
        this.work.tip(),
        `${says}: reads back ${how}`,
      );
    }
    return other;
  }

  /** Bytes of an LFS object, put into lakeFS; their SHA-256. */
  async upload(bytes: Buffer): Promise<string> {
    const { client, name } = this.source;
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const branch = `bytes-${sha256.slice(0, 8)}`;
    await client
      .in(name)
      .createBranch({ name: branch, source: await this.source.head(), hidden: true }, signal);
    this.#known.set(
      sha256,
      (await client.in(name).uploadObject(branch, "x", bytes, {}, signal)).physical_address,
    );
    return sha256;
  }

  async lakeText(path: string): Promise<string> {
    const { client, name } = this.source;
    return Buffer.from(
      await client.in(name).readObject(await this.source.head(), path, 10_000, signal),
    ).toString();
  }

  /** The working copy becomes what the node shows of main. */
  async pull(): Promise<void> {
    this.work.git("fetch", "-q", await this.node.git("rev-parse", "--absolute-git-dir"), "main");
    this.work.git("reset", "-q", "--hard", "FETCH_HEAD");
  }
}
