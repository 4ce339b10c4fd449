/** What LFS asks of a lakeFS repository (lfs/lakefs-store), over the lakeFS API. */
import { Fault } from "../base/fault.js";
import { SingleFlight } from "../base/flow.js";
import type { LakefsClient } from "../lakefs/client.js";
import type { LakefsObject } from "../lakefs/types.js";
import type { LakefsFile, LakefsFiles } from "../lfs/lakefs-store.js";

/** User metadata of what was staged by its address. */
const ORIGIN_KEY = "lakepack-address";

export interface LakefsFilesOptions {
  readonly client: LakefsClient;
  readonly repository: string;
}

export function lakefsFiles({ client, repository }: LakefsFilesOptions): LakefsFiles {
  const asking = new SingleFlight<"config", boolean>();
  let presigns: boolean | undefined;
  const ask = async (signal: AbortSignal) => (await client.config(signal)).storage_config?.pre_sign_support === true;
  const canPresign = async (signal: AbortSignal) => {
    presigns ??= await asking.run("config", ask, signal);
    return presigns;
  };
  return {
    stat: (ref, path, signal) => client.statObject(repository, ref, path, signal).then(toFile, missingIsUndefined),
    presigned: async (ref, path, signal) => ((await canPresign(signal)) ? client.presignObject(repository, ref, path, signal) : undefined),
    async *read(ref, path, start, end, signal) {
      yield* (await client.streamObject(repository, ref, path, `bytes=${start}-${end - 1}`, signal)).body;
    },
    async upload(branch, path, size, body, signal) {
      await ensureBranch(client, repository, branch, signal);
      return toFile(await client.uploadStream(repository, branch, path, { bytes: size, content: body }, signal));
    },
    async stage(branch, path, { address, checksum, size }, signal) {
      await client.stageObject(repository, branch, path, { physical_address: address, checksum, size_bytes: size, metadata: { [ORIGIN_KEY]: address } }, signal);
    },
    older: (branch, folder, beforeMs, signal) => olderFiles(client, { repository, branch, folder, beforeMs }, signal),
    remove: (branch, path, signal) => client.deleteObjects(repository, branch, [path], signal),
  };
}

async function ensureBranch(client: LakefsClient, repository: string, branch: string, signal: AbortSignal): Promise<void> {
  const there = await client.getBranch(repository, branch, signal).catch(missingIsUndefined);
  if (there !== undefined) return;
  const { default_branch: source } = await client.getRepository(repository, signal);
  await client.createBranch(repository, { name: branch, source, hidden: true }, signal).catch((error: unknown) => {
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
async function* olderFiles(client: LakefsClient, { repository, branch, folder, beforeMs }: OlderFiles, signal: AbortSignal): AsyncGenerator<string, void, undefined> {
  for (let after = folder; ; ) {
    const page = await client.listObjects(repository, branch, after, signal).catch(missingIsUndefined);
    for (const { path, mtime } of page?.results ?? []) {
      if (!path.startsWith(folder)) return;
      if (mtime * 1_000 < beforeMs) yield path;
    }
    if (page?.pagination.has_more !== true) return;
    after = page.pagination.next_offset;
  }
}

function toFile({ physical_address: address, checksum, size_bytes: size = 0, metadata }: LakefsObject): LakefsFile {
  return { address, checksum, size, origin: metadata?.[ORIGIN_KEY] };
}

function missingIsUndefined(error: unknown): undefined {
  if (error instanceof Fault && error.code === "lakefs/missing") return undefined;
  throw error;
}
