/**
 * Files that a push does not touch, and of which its .gitattributes say something else than those
 * before: their form would follow, while the pushed trees keep what they had. So what they are is
 * put into their metadata, as it is of all that a push brings; their bytes stay where they are.
 */
import { createHash } from "node:crypto";
import { fromLatin1, lossyText } from "../../base/bytes.js";
import { Fault } from "../../base/fault.js";
import { Semaphore } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { parseCanonicalPointer, parsePointer, POINTER_BYTES_MAX } from "../../git/lfs-pointer.js";
import type { Oid } from "../../git/oid.js";
import { isTreeMode } from "../../git/tree.js";
import { parseTree, type TreeEntry } from "../../git/tree-entries.js";
import type { ObjectReader } from "../../odb/packs/reader.js";
import { NONE } from "../../odb/packs/numbering.js";
import { stageableAddress } from "../api/address.js";
import { readClaim } from "../rules/claim.js";
import type { LakefsClient } from "../api/client.js";
import {
  attributeBudget,
  type AttributesFile,
  type SaidOf,
  saidByTree,
} from "../rules/commit-attributes.js";
import { withoutBlock } from "../rules/managed-block.js";
import { contentKey } from "../trees/hash-memory.js";
import { locateObjects } from "../trees/locate.js";
import { BLOB_KEY, bind, POINTER_KEY, SEAL_KEY, SHA256_KEY } from "../rules/metadata-keys.js";
import { ATTRIBUTES_NAME, baseName, isFileMode } from "../rules/path-rules.js";
import { treeDifference } from "./tree-difference.js";
import type { LakefsObject } from "../api/types.js";

export interface RestatePlace {
  readonly client: LakefsClient;
  readonly namespace: string;
  /** The branch where it is staged, and the commit there whose tree is the one before. */
  readonly branch: string;
  readonly commit: string;
  readonly signal: AbortSignal;
}

interface Kept {
  readonly path: string;
  readonly oid: Oid;
}

/**
 * The .gitattributes that Git reads of a tree. Pointers of that name hold no lines that say
 * anything.
 */
export function attributesOfTree(
  reader: ObjectReader,
  root: Oid,
): (folder: string) => AttributesFile {
  return (folder) => {
    let tree: Oid | undefined = root;
    for (const name of folder === "" ? [] : folder.split("/")) {
      const entry: TreeEntry | undefined = treeOf(reader, tree).get(name);
      if (entry === undefined || !isTreeMode(entry.mode)) return undefined;
      tree = entry.oid;
    }
    const entry = treeOf(reader, tree).get(ATTRIBUTES_NAME);
    if (entry === undefined || !isFileMode(entry.mode)) return undefined;
    const number = reader.space.need(entry.oid);
    // Git passes over what is larger.
    return reader.size(number) > LIMITS.specialFileBytesMax
      ? undefined
      : { oid: entry.oid, text: reader.readAs("blob", number) };
  };
}

function treeOf(reader: ObjectReader, tree: Oid): ReadonlyMap<string, TreeEntry> {
  return parseTree(reader.readAs("tree", reader.space.need(tree)));
}

/**
 * Files that are the same in both trees, and of whose filter the trees' attributes say different
 * things.
 */
export function* saidOtherwise(
  reader: ObjectReader,
  before: Oid,
  tree: Oid,
): Generator<Kept, void, undefined> {
  const folders = changedFolders(reader, before, tree);
  if (folders.length === 0) return;
  const budget = attributeBudget();
  const [was, is] = [before, tree].map((root) =>
    saidByTree(attributesOfTree(reader, root), budget),
  ) as [SaidOf, SaidOf];
  for (const folder of folders) {
    for (const kept of sameFiles(
      reader,
      folderIn(reader, before, folder),
      folderIn(reader, tree, folder),
      folder,
    )) {
      if (baseName(kept.path) !== ATTRIBUTES_NAME && was(kept.path) !== is(kept.path)) yield kept;
    }
  }
}

/**
 * The highest folders whose .gitattributes differ, the managed block aside. With their slash; "" is
 * the root.
 */
function changedFolders(reader: ObjectReader, before: Oid, tree: Oid): string[] {
  const [was, is] = [attributesOfTree(reader, before), attributesOfTree(reader, tree)];
  const changed: string[] = [];
  for (const { path } of treeDifference(reader, before, tree)) {
    if (baseName(path) !== ATTRIBUTES_NAME) continue;
    const isRootAlike = path === ATTRIBUTES_NAME && isSameText(was(""), is(""));
    if (!isRootAlike) changed.push(path.slice(0, -ATTRIBUTES_NAME.length));
  }
  const highest: string[] = [];
  // Sorted, what lies below a folder follows it at once.
  for (const folder of changed.sort()) {
    const above = highest.at(-1);
    if (above === undefined || !folder.startsWith(above)) highest.push(folder);
  }
  return highest;
}

function isSameText(left: AttributesFile, right: AttributesFile): boolean {
  const [was, is] = [left, right].map((file) =>
    Buffer.from(file === undefined ? new Uint8Array(0) : withoutBlock(file.text)),
  );
  return (was as Buffer).equals(is as Buffer);
}

function folderIn(reader: ObjectReader, root: Oid, folder: string): Oid | undefined {
  let tree: Oid | undefined = root;
  for (const name of folder.split("/").slice(0, -1)) {
    const entry: TreeEntry | undefined =
      tree === undefined ? undefined : treeOf(reader, tree).get(name);
    tree = entry !== undefined && isTreeMode(entry.mode) ? entry.oid : undefined;
  }
  return tree;
}

function* sameFiles(
  reader: ObjectReader,
  left: Oid | undefined,
  right: Oid | undefined,
  from: string,
): Generator<Kept, void, undefined> {
  const pending = [{ left, right, folder: from }];
  for (let pair = pending.pop(); pair !== undefined; pair = pending.pop()) {
    if (pair.left === undefined || pair.right === undefined) continue;
    const now = treeOf(reader, pair.right);
    const old = pair.left === pair.right ? now : treeOf(reader, pair.left);
    for (const [name, { mode, oid }] of now) {
      const was = old.get(name);
      const path = pair.folder + name;
      if (was === undefined) continue;
      if (isTreeMode(mode) && isTreeMode(was.mode))
        pending.push({ left: was.oid, right: oid, folder: `${path}/` });
      else if (isFileMode(mode) && was.oid === oid && was.mode === mode) yield { path, oid };
    }
  }
}

/**
 * Stages those of the files that do not say themselves what they are; by path, the keys of their
 * contents.
 */
export async function restate(
  reader: ObjectReader,
  place: RestatePlace,
  files: Iterable<Kept>,
): Promise<ReadonlyMap<string, string>> {
  const staged = new Map<string, string>();
  let batch: Kept[] = [];
  for (const file of files) {
    batch.push(file);
    if (batch.length < LIMITS.lakefsPageMax) continue;
    await restateSome(reader, place, batch, staged);
    batch = [];
  }
  if (batch.length > 0) await restateSome(reader, place, batch, staged);
  return staged;
}

async function restateSome(
  reader: ObjectReader,
  place: RestatePlace,
  files: readonly Kept[],
  staged: Map<string, string>,
): Promise<void> {
  const { client, commit, signal } = place;
  const paths = files.map(({ path }) => path);
  const objects = await locateObjects({ client, signal, pagesOnly: true }, commit, paths);
  const turns = new Semaphore(LIMITS.landingUploadsMax);
  await Promise.all(
    files.map((file) =>
      turns.run(
        () => restateOne(reader, place, file, objects.get(file.path) as LakefsObject, staged),
        signal,
      ),
    ),
  );
}

async function restateOne(
  reader: ObjectReader,
  { client, namespace, branch, signal }: RestatePlace,
  { path, oid }: Kept,
  {
    physical_address: address,
    checksum,
    size_bytes: size,
    metadata = {},
    content_type,
  }: LakefsObject,
  staged: Map<string, string>,
): Promise<void> {
  const name = lossyText(fromLatin1(path));
  if (size === undefined)
    throw new Fault("lakefs/bad-reply", { call: "statObject", path: name, reason: "no size" });
  if (readClaim({ size, checksum, metadata }, parsePointer)?.blob === oid) return;
  const { [SHA256_KEY]: _, [POINTER_KEY]: __, [SEAL_KEY]: ___, ...others } = metadata;
  const sha256 = sha256Of(reader, oid, size);
  const bound = {
    [BLOB_KEY]: bind(oid, size, checksum),
    ...(sha256 === undefined ? {} : { [SHA256_KEY]: bind(sha256, size, checksum) }),
  };
  const json = {
    physical_address: stageableAddress(address, namespace),
    checksum,
    size_bytes: size,
    metadata: { ...others, ...bound },
    ...(content_type === undefined ? {} : { content_type }),
  };
  await client.stageObject(branch, name, json, signal);
  staged.set(path, contentKey({ address, checksum, size }, namespace) as string);
}

/**
 * Returns the SHA-256 of a file of `size` bytes that is this blob in Git, or its pointer;
 * undefined: the blob is still in lakeFS alone, or large.
 */
function sha256Of(reader: ObjectReader, oid: Oid, size: number): string | undefined {
  const number = reader.locate(oid);
  if (number === NONE || reader.size(number) > LIMITS.objectInMemoryBytesMax) return undefined;
  const data = reader.readAs("blob", number);
  const pointer =
    data.length === size || data.length > POINTER_BYTES_MAX
      ? undefined
      : parseCanonicalPointer(data);
  if (pointer !== undefined) return pointer.size === size ? pointer.sha256 : undefined;
  return data.length === size ? createHash("sha256").update(data).digest("hex") : undefined;
}
