/** What LFS asks of a lakeFS repository (lfs/lakefs-store), over the lakeFS API. */
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import type { LakefsClient } from "../lakefs/client.js";
import { type LakefsAccess, pathOf } from "../lakefs/http.js";
import type { LakefsObject } from "../lakefs/types.js";
import type { LakefsFile, LakefsFiles } from "../lfs/lakefs-store.js";

/** User metadata of what was staged by its address. */
const ORIGIN_KEY = "lakepack-address";

export interface LakefsFilesOptions {
  readonly client: LakefsClient;
  /** For uploads, whose bodies stream: the client's calls hold them whole, so that they can be repeated. */
  readonly access: LakefsAccess;
  readonly repository: string;
}

export function lakefsFiles({ client, access, repository }: LakefsFilesOptions): LakefsFiles {
  let presigns: Promise<boolean> | undefined;
  const canPresign = (signal: AbortSignal) => {
    presigns ??= client.config(signal).then(({ storage_config: storage }) => storage?.pre_sign_support === true);
    presigns.catch(() => {
      presigns = undefined;
    });
    return presigns;
  };
  return {
    stat: (ref, path, signal) => client.statObject(repository, ref, path, signal).then(toFile, missingIsUndefined),
    presigned: async (ref, path, signal) => ((await canPresign(signal)) ? presign(client, repository, ref, path, signal) : undefined),
    async *read(ref, path, start, end, signal) {
      yield* (await client.streamObject(repository, ref, path, `bytes=${start}-${end - 1}`, signal)).body;
    },
    async upload(branch, path, size, body, signal) {
      await ensureBranch(client, repository, branch, signal);
      return uploadStream(access, { repository, branch, path, size }, body, signal);
    },
    async stage(branch, path, { address, checksum, size }, signal) {
      await client.stageObject(repository, branch, path, { physical_address: address, checksum, size_bytes: size, metadata: { [ORIGIN_KEY]: address } }, signal);
    },
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

/** lakeFS answers with a redirect to the block store. */
async function presign(client: LakefsClient, repository: string, ref: string, path: string, signal: AbortSignal): Promise<string> {
  const call = {
    name: "presignObject",
    method: "GET" as const,
    path: `/repositories${pathOf(repository)}/refs${pathOf(ref)}/objects`,
    query: { path, presign: true },
    repeatable: true,
    signal,
  };
  const { status, headers } = await client.http.stream(call);
  const location = headers.get("location");
  if (status < 300 || location === null) throw new Fault("lakefs/bad-reply", { call: call.name, reason: "no redirect", status });
  return location;
}

interface UploadTarget {
  readonly repository: string;
  readonly branch: string;
  readonly path: string;
  readonly size: number;
}

/** One upload, never repeated: its bytes are gone. lakeFS stages nothing of a body that ends early. */
async function uploadStream(access: LakefsAccess, target: UploadTarget, body: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<LakefsFile> {
  const base = `${access.endpoint.replace(/\/+$/, "").replace(/\/api\/v1$/, "")}/api/v1`;
  const { repository, branch, path, size } = target;
  const url = `${base}/repositories${pathOf(repository)}/branches${pathOf(branch)}/objects?path=${encodeURIComponent(path)}`;
  const request = {
    method: "POST",
    headers: {
      Authorization: `Basic ${Buffer.from(`${access.accessKeyId}:${access.secretAccessKey}`).toString("base64")}`,
      "Content-Type": "application/octet-stream",
      "Content-Length": String(size),
    },
    body,
    duplex: "half",
    signal,
    redirect: "error",
  };
  const response = await fetch(url, request as unknown as RequestInit).catch((error: unknown) => {
    if (signal.aborted) throw new Fault("base/aborted", {}, error);
    throw new Fault("lakefs/unreachable", { call: "uploadStream", reason: (error as Error).message }, error);
  });
  const text = (await response.text()).slice(0, LIMITS.lakefsReplyBytesMax);
  if (response.status !== 201) throw new Fault("lakefs/failed", { call: "uploadStream", status: response.status, reason: text.slice(0, 500) });
  return toFile(JSON.parse(text) as LakefsObject);
}

function toFile({ physical_address: address, checksum, size_bytes: size = 0, metadata }: LakefsObject): LakefsFile {
  return { address, checksum, size, origin: metadata?.[ORIGIN_KEY] };
}

function missingIsUndefined(error: unknown): undefined {
  if (error instanceof Fault && error.code === "lakefs/missing") return undefined;
  throw error;
}
