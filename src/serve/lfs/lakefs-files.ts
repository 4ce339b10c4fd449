/**
 * Implements the contract of LFS with a lakeFS repository (lfs/lakefs-store), over the lakeFS API.
 */
import { unlessMissing } from "../../lakefs/api/missing.js";
import { LRUCache } from "lru-cache";
import { Fault } from "../../base/fault.js";
import { SingleFlight } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { formatPointer, parsePointer } from "../../git/lfs-pointer.js";
import { objectId } from "../../git/object-id.js";
import { fullAddress, stageableAddress } from "../../lakefs/api/address.js";
import { readClaim } from "../../lakefs/rules/claim.js";
import { SealKeys } from "../../lakefs/rules/claim-seal.js";
import type { LakefsClient } from "../../lakefs/api/client.js";
import type { LakefsCredentials } from "../../lakefs/api/credentials.js";
import type { LakefsCommitMap } from "../../lakefs/read/commit-map.js";
import { contentKey } from "../../lakefs/trees/hash-memory.js";
import { fileMetadata } from "../../lakefs/rules/object-metadata.js";
import { FILE_MODE } from "../../lakefs/rules/path-rules.js";
import type { RootCommit } from "../../lakefs/agreed/root-commit.js";
import type { LakefsObject } from "../../lakefs/api/types.js";
import type { LakefsFile, LakefsFiles } from "../../lfs/lakefs-files.js";

export interface LakefsFilesOptions {
  readonly client: LakefsClient;
  /** lakeFS's storage namespace. */
  readonly namespace: string;
  readonly sealKeys: readonly Uint8Array[];
  /** Memory of contents. */
  readonly commits: Pick<LakefsCommitMap, "hashed" | "rememberHashed">;
  /** Its first commit. */
  readonly root: Pick<RootCommit, "get">;
  /** Commits that branches are at. */
  readonly heads: { readonly latest: readonly { readonly lakeId: string }[] };
}

export function lakefsFiles({
  client,
  namespace,
  sealKeys,
  commits,
  root,
  heads,
}: LakefsFilesOptions): LakefsFiles {
  const asking = new SingleFlight<"config", boolean>();
  const seals = new SealKeys(sealKeys);
  let presigns: boolean | undefined;
  const ask = async (signal: AbortSignal) =>
    (await client.server.config(signal)).storage_config?.pre_sign_support === true;
  const canPresign = async (signal: AbortSignal) => {
    presigns ??= await asking.run("config", ask, signal);
    return presigns;
  };
  const statObject = (ref: string, path: string, signal: AbortSignal) =>
    client.findObject(ref, path, signal);
  const toFile = ({
    physical_address,
    checksum,
    size_bytes: size = 0,
  }: LakefsObject): LakefsFile => ({
    address: stageableAddress(physical_address, namespace),
    checksum,
    size,
  });
  const provenHash = async (object: LakefsObject, signal: AbortSignal) => {
    const { physical_address: address, checksum, size_bytes: size = 0, metadata = {} } = object;
    const claim = readClaim({ size, checksum, metadata }, parsePointer);
    if (claim?.sha256 !== undefined) {
      const { blob, sha256, seal } = claim;
      const statement = {
        kind: claim.pointer === undefined ? "plain" : "pointer",
        blob,
        sha256,
        size,
        checksum,
        address: fullAddress(address, namespace),
      } as const;
      if (seals.isContentSealed(seal, statement)) return sha256;
    }
    return (
      await commits.hashed(contentKey({ address, checksum, size }, namespace) as string, signal)
    )?.sha256;
  };
  return {
    async stat(ref, path, signal) {
      const object = await statObject(ref, path, signal);
      return object && { ...toFile(object), proven: await provenHash(object, signal) };
    },
    presigned: async (ref, path, signal) =>
      (await canPresign(signal)) ? client.presignObject(ref, path, signal) : undefined,
    async *read(ref, path, start, end, signal) {
      const { body } = await client
        .streamObject(ref, path, `bytes=${start}-${end - 1}`, signal)
        .catch(goneForLfs);
      yield* body;
    },
    async upload(branch, path, size, body, signal) {
      await ensureBranch(client, branch, root, signal);
      return toFile(
        await client.uploadStream(branch, path, { bytes: size, content: body }, signal),
      );
    },
    async stage(branch, path, { address, size, sha256 }, signal) {
      const content = { size, checksum: `sha256:${sha256}`, sha256 };
      const blob = objectId("blob", formatPointer({ sha256, size }));
      const seal = seals.sealContent({
        kind: "pointer",
        blob,
        ...content,
        address: fullAddress(address, namespace),
      });
      const metadata = fileMetadata(FILE_MODE.plain, blob, content, { seal });
      // Remembered first: what has its name may be pushed at once, and by a server without this key
      // too.
      await commits.rememberHashed(
        contentKey({ address, ...content }, namespace) as string,
        { sha256, blob: undefined },
        signal,
      );
      await client.stageObject(
        branch,
        path,
        { physical_address: address, checksum: content.checksum, size_bytes: size, metadata },
        signal,
      );
    },
    async atHead(commit, path, signal) {
      const object = await statObject(commit, path, signal);
      if (object === undefined) return undefined;
      const others = heads.latest.slice(0, LIMITS.lfsHeadLooksMax);
      if (others.some(({ lakeId }) => lakeId === commit)) return toFile(object).address;
      for (const { lakeId } of others) {
        if ((await statObject(lakeId, path, signal))?.physical_address === object.physical_address)
          return toFile(object).address;
      }
      return undefined;
    },
    async copy({ commit, path: from }, branch, path, signal) {
      await ensureBranch(client, branch, root, signal);
      const object = await client
        .copyObject(branch, path, { src_ref: commit, src_path: from }, signal)
        .catch(goneIsUndefined);
      return object && toFile(object);
    },
    older: (branch, folder, beforeMs, signal) =>
      olderFiles(client, { repository: client.repository, branch, folder, beforeMs }, signal),
    remove: (branch, path, signal) => client.deleteObjects(branch, [path], signal),
  };
}

/** As `lakefsFiles`, with the key of whoever uploads; `server`: where no entry is for him. */
export function personalFiles(
  options: LakefsFilesOptions,
  server: LakefsFiles,
  credentials: LakefsCredentials | undefined,
): (account: string | undefined) => LakefsFiles {
  const known = new LRUCache<string, LakefsFiles>({ max: LIMITS.lakefsKeysHeldMax });
  return (account) => {
    const access = credentials?.accessFor(account, options.client.repository);
    if (access === undefined) return server;
    const key = `${access.endpoint} ${access.accessKeyId}`;
    const files =
      known.get(key) ??
      deniedForLfs(lakefsFiles({ ...options, client: options.client.withAccess(access) }));
    known.set(key, files);
    return files;
  };
}

/**
 * Turns lakeFS's refusals of a person into the person's matter: they are no failure of this server.
 */
function deniedForLfs(files: LakefsFiles): LakefsFiles {
  const told = (error: unknown): never => {
    if (!(error instanceof Fault && error.code === "lakefs/denied")) throw error;
    throw new Fault("lfs/denied", { reason: error.facts["reason"] }, error);
  };
  return {
    ...files,
    upload: (branch, path, size, body, signal) =>
      files.upload(branch, path, size, body, signal).catch(told),
    stage: (branch, path, file, signal) => files.stage(branch, path, file, signal).catch(told),
  };
}

/**
 * It begins at the repository's first commit, whose tree is empty: no hook of lakeFS is told of it.
 */
async function ensureBranch(
  client: LakefsClient,
  branch: string,
  root: LakefsFilesOptions["root"],
  signal: AbortSignal,
): Promise<void> {
  const there = await client.findBranch(branch, signal);
  if (there !== undefined) return;
  const source = (await root.get(signal)).id;
  await client
    .createBranch({ name: branch, source, hidden: true }, signal)
    .catch((error: unknown) => {
      if (!(error instanceof Fault && error.code === "lakefs/conflict")) throw error; // another was first
    });
}

interface OlderFiles {
  readonly repository: string;
  readonly branch: string;
  readonly folder: string;
  readonly beforeMs: number;
}

/** By the branch's name: what is only staged counts as well. */
async function* olderFiles(
  client: LakefsClient,
  { branch, folder, beforeMs }: OlderFiles,
  signal: AbortSignal,
): AsyncGenerator<string, void, undefined> {
  for (let after = folder; ; ) {
    const page = await unlessMissing(client.listObjects(branch, after, signal));
    for (const { path, mtime } of page?.results ?? []) {
      if (!path.startsWith(folder)) return;
      if (mtime * 1_000 < beforeMs) yield path;
    }
    if (page?.pagination.has_more !== true) return;
    after = page.pagination.next_offset;
  }
}

function goneForLfs(error: unknown): never {
  throw error instanceof Fault && error.code === "lakefs/gone"
    ? new Fault("lfs/gone", {}, error)
    : error;
}

/** Its commit is there, its data is not. */
function goneIsUndefined(error: unknown): undefined {
  if (error instanceof Fault && (error.code === "lakefs/gone" || error.code === "lakefs/missing"))
    return undefined;
  throw error;
}
