/** Uploads to lakeFS whose bodies stream: the client's own call holds them whole, so that it can repeat them. */
import { asFault, Fault } from "../base/fault.js";
import { sleep } from "../base/flow.js";
import { LIMITS } from "../base/limits.js";
import { METADATA_HEADER } from "./client.js";
import { type LakefsAccess, pathOf } from "./http.js";
import type { LakefsObject } from "./types.js";

export interface UploadTarget {
  readonly repository: string;
  readonly branch: string;
  readonly path: string;
  /** Bytes that `body` gives, exactly. */
  readonly size: number;
  readonly metadata: Readonly<Record<string, string>>;
}

/** One upload to a branch's staging, never repeated: its bytes are gone. lakeFS stages nothing of a body that ends early. */
export async function uploadStream(access: LakefsAccess, target: UploadTarget, body: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<LakefsObject> {
  const response = await fetch(urlOf(access, target), requestOf(access, target, body, signal)).catch((error: unknown) => {
    if (signal.aborted) throw new Fault("base/aborted", {}, error);
    throw new Fault("lakefs/unreachable", { call: "uploadStream", reason: (error as Error).message }, error);
  });
  const text = (await response.text()).slice(0, LIMITS.lakefsReplyBytesMax);
  if (response.status !== 201) throw new Fault("lakefs/failed", { call: "uploadStream", status: response.status, reason: text.slice(0, 500) });
  return JSON.parse(text) as LakefsObject;
}

/** Of what can be read again, so that an upload that was cut can be made again. */
export async function uploadAgain<T>(upload: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await upload();
    } catch (error) {
      const { code } = asFault(error);
      if (attempt === LIMITS.lakefsTriesMax || (code !== "lakefs/unreachable" && code !== "lakefs/failed")) throw error;
      await sleep(LIMITS.lakefsRetryMs * 2 ** (attempt - 1), signal);
    }
  }
}

function urlOf({ endpoint }: LakefsAccess, { repository, branch, path }: UploadTarget): string {
  const base = `${endpoint.replace(/\/+$/, "").replace(/\/api\/v1$/, "")}/api/v1`;
  return `${base}/repositories${pathOf(repository)}/branches${pathOf(branch)}/objects?path=${encodeURIComponent(path)}`;
}

function requestOf({ accessKeyId, secretAccessKey }: LakefsAccess, { size, metadata }: UploadTarget, body: AsyncIterable<Uint8Array>, signal: AbortSignal): RequestInit {
  const headers: Record<string, string> = {
    Authorization: `Basic ${Buffer.from(`${accessKeyId}:${secretAccessKey}`).toString("base64")}`,
    "Content-Type": "application/octet-stream",
    "Content-Length": String(size),
  };
  for (const [key, value] of Object.entries(metadata)) headers[METADATA_HEADER + key] = value;
  return { method: "POST", headers, body, duplex: "half", signal, redirect: "error" } as unknown as RequestInit;
}
