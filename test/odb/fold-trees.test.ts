/**
 * Trees of a fold as deltas: whatever the packs held and in whichever order they are folded, stock
 * git finds the same objects, short chains and few whole trees.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { LIMITS } from "../../src/base/limits.js";
import { OBJECT_TYPE } from "../../src/git/oid.js";
import { formatTree, type TreeEntry } from "../../src/git/tree-entries.js";
import { plainKernels } from "../../src/kernels/plain.js";
import { foldPacks } from "../../src/odb/pack-objects/fold.js";
import { ObjectReader } from "../../src/odb/packs/reader.js";
import { CONTROL_BYTES, TaskWatch } from "../../src/pool/control.js";
import type { PackHandle } from "../../src/odb/packs/handle.js";
import { blob, buildPack, type HandEntry, oidOf, whole } from "../support/pack-builder.js";
import { type Random, seeded } from "../support/random.js";
import { createRepository, packHandle } from "../support/stock-git.js";

class Packs {
  readonly folder: string;
  #made = 0;

  constructor(t: Test) {
    this.folder = mkdtempSync(join(tmpdir(), "lakepack-fold-"));
    t.teardown(() => rmSync(this.folder, { recursive: true, force: true }));
    execFileSync("git", ["init", "-q", "--bare", this.folder]);
  }

  add(entries: readonly HandEntry[]): PackHandle {
    const path = this.#next();
    writeFileSync(path, buildPack(entries));
    return this.index(path);
  }

  /** `newestFirst`, as a manifest has them. */
  async fold(newestFirst: readonly PackHandle[]): Promise<PackHandle> {
    const path = this.#next();
    const watch = new TaskWatch(new SharedArrayBuffer(CONTROL_BYTES));
    const { checksum } = await foldPacks(
      new ObjectReader(newestFirst, plainKernels),
      newestFirst.map((pack) => pack.checksum),
      path,
      watch,
    );
    const pack = this.index(path);
    if (pack.checksum !== checksum) throw new Error(`${checksum} is ${pack.checksum}`);
    return pack;
  }

  /** Stock git takes it in, with all bases in it. */
  index(path: string): PackHandle {
    execFileSync("git", ["index-pack", path], {
      cwd: this.folder,
      stdio: ["ignore", "pipe", "pipe"],
    });
    return packHandle(path);
  }

  #next(): string {
    return join(this.folder, `p${this.#made++}.pack`);
  }
}

interface Verified {
  readonly ids: readonly string[];
  readonly wholeTrees: number;
  readonly deltaTrees: number;
  readonly longest: number;
  readonly refDeltas: number;
}

function verified({ path }: PackHandle): Verified {
  const rows = execFileSync("git", ["verify-pack", "-v", path], {
    encoding: "latin1",
    maxBuffer: 1 << 30,
  })
    .split("\n")
    .filter((line) => /^[0-9a-f]{40} /.test(line))
    .map((line) => line.split(/ +/));
  const trees = rows.filter(([, type]) => type === "tree");
  const bytes = readFileSync(path);
  return {
    ids: rows.map(([id]) => id as string).sort(),
    wholeTrees: trees.filter((row) => row.length < 7).length,
    deltaTrees: trees.filter((row) => row.length === 7).length,
    longest: Math.max(0, ...trees.map((row) => Number(row[5] ?? 0))),
    refDeltas: rows.filter(
      (row) => (((bytes[Number(row[4])] as number) >> 4) & 7) === OBJECT_TYPE.refDelta,
    ).length,
  };
}

/** A history of one-file commits; entries of one commit, with what is new in it whole. */
class History {
  readonly #random: Random;
  readonly #folders: Map<string, TreeEntry>[];
  readonly #known = new Set<string>();
  #parents: string[] = [];
  #at = 0;
  /** Versions of one file: some commits bring an older one back. */
  readonly #old: { readonly folder: number; readonly entry: TreeEntry }[] = [];

  constructor(
    seed: number,
    { folders, files }: { readonly folders: number; readonly files: number },
  ) {
    this.#random = seeded(seed);
    this.#folders = Array.from(
      { length: folders },
      () =>
        new Map(
          Array.from({ length: files }, (_, n) => [
            `file-${n}`,
            { name: `file-${n}`, mode: 0o100644, oid: this.#random.oid() },
          ]),
        ),
    );
  }

  next(): HandEntry[] {
    const random = this.#random;
    const entries: HandEntry[] = [];
    const back = random.below(8) === 0 ? this.#old.pop() : undefined;
    const folder = back?.folder ?? random.below(this.#folders.length);
    const files = this.#folders[folder] as Map<string, TreeEntry>;
    const name = back?.entry.name ?? random.pick([...files.keys()]);
    const before = files.get(name);
    if (before !== undefined) this.#old.push({ folder, entry: before });
    const content = blob(`content ${this.#at}`);
    if (back === undefined) entries.push(content);
    files.set(name, back?.entry ?? { name, mode: 0o100644, oid: oidOf("blob", content.data) });
    const trees = this.#folders.map((each) => Buffer.from(formatTree(each.values())));
    const root = Buffer.from(
      formatTree(
        trees.map((tree, at) => ({ name: `d${at}`, mode: 0o40000, oid: oidOf("tree", tree) })),
      ),
    );
    const text = `tree ${oidOf("tree", root)}\n${this.#parents.map((parent) => `parent ${parent}\n`).join("")}author A <a@b> ${this.#at} +0000\ncommitter A <a@b> ${this.#at++} +0000\n\nchange\n`;
    this.#parents = [oidOf("commit", text)];
    return [
      ...entries,
      ...[...trees, root].map((tree) => whole("tree", tree)),
      whole("commit", text),
    ].filter((entry) => this.#isNew(entry));
  }

  #isNew({ type, data }: HandEntry): boolean {
    const id = oidOf(
      type === OBJECT_TYPE.tree ? "tree" : type === OBJECT_TYPE.blob ? "blob" : "commit",
      data,
    );
    return !this.#known.has(id) && this.#known.add(id) !== undefined;
  }
}

t.test("packs of one commit each, folded as they come", async (t) => {
  const packs = new Packs(t);
  const history = new History(21, { folders: 12, files: 40 });
  const live: PackHandle[] = [];
  const ids: string[] = [];
  for (let commit = 0; commit < 300; commit++) {
    const pack = packs.add(history.next());
    ids.push(...verified(pack).ids);
    live.unshift(pack);
    if (live.length < 30) continue;
    // Now all that are small, now all there is.
    const folded =
      commit % 90 < 60 ? live.filter(({ objectCount }) => objectCount < 50) : [...live];
    const one = await packs.fold(folded);
    for (const pack of folded) live.splice(live.indexOf(pack), 1);
    live.unshift(one);
  }
  const pack = await packs.fold(live);
  const { wholeTrees, deltaTrees, longest, ids: found, refDeltas } = verified(pack);
  t.same(found, ids.sort(), "each object once");
  t.ok(longest <= LIMITS.treeDeltaDepthMax, `${longest} deltas in a row`);
  t.ok(wholeTrees <= 13 + live.length, `${wholeTrees} whole trees`);
  t.ok(deltaTrees > 400, `${deltaTrees} deltas`);
  t.ok(refDeltas * 10 < deltaTrees, `${refDeltas} name their base by its id`);
});

t.test("long packs of many commits, folded in one go, in any order", async (t) => {
  const packs = new Packs(t);
  const history = new History(22, { folders: 10, files: 30 });
  const batches = Array.from({ length: 40 }, () =>
    packs.add(Array.from({ length: 12 }, () => history.next()).flat()),
  );
  const inTens = await Promise.all(
    [0, 10, 20, 30].map((from) => packs.fold(batches.slice(from, from + 10).reverse())),
  );
  const one = verified(
    await packs.fold([inTens[2], inTens[0], inTens[3], inTens[1]] as PackHandle[]),
  );
  const other = verified(await packs.fold([...batches].reverse()));
  t.same(one.ids, other.ids);
  for (const { longest, wholeTrees, deltaTrees } of [one, other]) {
    t.ok(longest <= LIMITS.treeDeltaDepthMax, `${longest} deltas in a row`);
    // Of ten entries most have changed after eight commits: such a root is as short whole.
    t.ok(
      wholeTrees <= 60 && deltaTrees > 700,
      `${wholeTrees} whole trees, ${deltaTrees} deltas; whole in the packs: ${batches.length * 11}`,
    );
  }
});

t.test(
  "packs that stock git has written, where older trees are deltas on newer ones",
  async (t) => {
    const repository = createRepository();
    t.teardown(() => repository.remove());
    for (let file = 0; file < 120; file++)
      repository.write(`d${file % 3}/file${file}.txt`, `file ${file}\n`);
    let handles: PackHandle[] = [];
    for (let commit = 0; commit < 60; commit++) {
      repository.write(`d${commit % 3}/file${(commit * 7) % 120}.txt`, `version ${commit}\n`);
      repository.commit(`change ${commit}`);
      if (commit % 6 === 5) handles = repository.packs({ incremental: true });
    }
    const packs = new Packs(t);
    const { ids, longest, wholeTrees } = verified(await packs.fold(handles));
    t.same(ids, repository.objects(["HEAD"]));
    t.ok(longest <= LIMITS.treeDeltaDepthMax, `${longest}`);
    t.ok(
      wholeTrees < handles.reduce((sum, handle) => sum + verified(handle).wholeTrees, 0),
      `${wholeTrees} whole trees`,
    );
  },
);
