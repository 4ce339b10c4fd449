/**
 * A repository in our own store, in this thread: a real manifest, real packs and refs in a folder,
 * and nothing of a server around it.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Test } from "tap";
import { startIngest } from "../../src/odb/index-pack/spool.js";
import type { IngestedPack } from "../../src/odb/index-pack/contract.js";
import { ManifestObjects } from "../../src/odb/manifest/objects.js";
import { ManifestRefs } from "../../src/odb/manifest/refs.js";
import { ManifestStore } from "../../src/odb/manifest/store.js";
import { PackChecks } from "../../src/odb/packs/checks.js";
import { PackTables } from "../../src/odb/packs/tables.js";
import { type ObjectType, ZERO_OID } from "../../src/git/oid.js";
import type { Repository } from "../../src/serve/conversation/conversation.js";
import { DiskStore } from "../../src/store/disk.js";
import { type InlinePool, inlinePool } from "./inline-pool.js";
import { buildPack, type HandEntry, oidOf, whole } from "./pack-builder.js";
import { tempFolder } from "./temp-folder.js";

export interface OwnRepository {
  readonly repository: Repository;
  readonly pool: InlinePool;
  readonly tables: PackTables;
  /** Count of notices that refs or packs have changed. */
  readonly changes: { count: number };
  /** Takes a pack in, without making it live. */
  ingest(entries: readonly HandEntry[]): Promise<IngestedPack>;
  /** Takes a pack in and makes it live. */
  store(entries: readonly HandEntry[]): Promise<IngestedPack>;
  /** Points a ref at an object that is stored. */
  point(name: string, oid: string, peeled?: string): Promise<void>;
}

export const NEVER = new AbortController().signal;

export async function ownRepository(
  t: Test,
  parts: Partial<Repository> = {},
): Promise<OwnRepository> {
  const folder = await tempFolder(t);
  await mkdir(join(folder, "data"));
  const store = new DiskStore(join(folder, "data"));
  const pool = await inlinePool();
  const tables = new PackTables();
  const id = "repos/0123456789abcdef0123456789abcdef";
  const manifests = new ManifestStore(store, id, "refs/heads/main");
  const objects = new ManifestObjects(
    {
      store,
      pool,
      tables,
      checks: new PackChecks(),
      incoming: join(folder, "incoming"),
      ingest: { packBytesMax: 1e9, memoryBytes: 1e6 },
      startIngest,
    },
    manifests,
    id,
  );
  const refs = new ManifestRefs(manifests, store, id);
  const changes = { count: 0 };
  const repository: Repository = {
    id,
    type: "models",
    title: "ada/demo",
    refs,
    objects,
    atomic: true,
    notices: [],
    created: false,
    changed: () => void changes.count++,
    ...parts,
  };
  const ingest = async (entries: readonly HandEntry[]) => {
    const running = await objects.beginIngest({ fsck: true, signal: NEVER });
    await running.write(buildPack(entries));
    return running.finish();
  };
  return {
    repository,
    pool,
    tables,
    changes,
    ingest,
    async store(entries) {
      const pack = await ingest(entries);
      await objects.adopt(pack, { origin: "push" });
      return pack;
    },
    async point(name, oid, peeled) {
      const old = (await refs.read()).byName.get(name)?.oid ?? ZERO_OID;
      const change = { name, old, new: oid, ...(peeled === undefined ? {} : { peeled }) };
      await refs.update([change], { atomic: true, denyDeletes: false, denyDeleteCurrent: false });
    },
  };
}

// Objects by hand ---------------------------------------------------------------------------------
export interface HandObject {
  readonly oid: string;
  readonly entry: HandEntry;
}

function handObject(type: ObjectType, data: string | Uint8Array): HandObject {
  return { oid: oidOf(type, data), entry: whole(type, data) };
}

export function aBlob(text: string): HandObject {
  return handObject("blob", text);
}

/** A tree of files; names must be in Git's order. */
export function aTree(files: Readonly<Record<string, HandObject>>): HandObject {
  const entries = Object.entries(files).flatMap(([name, { oid }]) => [
    Buffer.from(`100644 ${name}\0`),
    Buffer.from(oid, "hex"),
  ]);
  return handObject("tree", Buffer.concat(entries));
}

const WHO = "A U Thor <author@example.com> 1700000000 +0000";

export function aCommit(
  message: string,
  tree: HandObject,
  ...parents: readonly HandObject[]
): HandObject {
  const lines = [
    `tree ${tree.oid}`,
    ...parents.map(({ oid }) => `parent ${oid}`),
    `author ${WHO}`,
    `committer ${WHO}`,
  ];
  return handObject("commit", `${lines.join("\n")}\n\n${message}\n`);
}

export function aTag(name: string, type: ObjectType, { oid }: HandObject): HandObject {
  const head = `object ${oid}\ntype ${type}\ntag ${name}\ntagger ${WHO}`;
  return handObject("tag", `${head}\n\n${name}\n`);
}

/** A commit with a tree and a file of its own: `objects` are all three. */
export function aHistory(
  message: string,
  ...parents: readonly HandObject[]
): { readonly commit: HandObject; readonly objects: readonly HandEntry[] } {
  const file = aBlob(`content of ${message}\n`);
  const tree = aTree({ file });
  const commit = aCommit(message, tree, ...parents);
  return { commit, objects: [commit.entry, tree.entry, file.entry] };
}
