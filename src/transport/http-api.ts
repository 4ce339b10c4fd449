/**
 * The JSON API over HTTP:
 *
 *   GET /api/repos/<name>                  what a repository is, and how far lakeFS has been read for it
 *   GET /api/repos/<name>/commits/<id>     both ids of a commit, by either
 *
 * <name> is "ns/name", "datasets/ns/name", "lakefs/repository"… as in a Git URL. A failure is {code, message, request_id}.
 */
import type { Asking, RepositoryApi } from "../api/repositories.js";
import { utf8 } from "../base/bytes.js";
import { asFault, clientText, Fault } from "../base/fault.js";
import type { RepositoryName } from "../serve/repository-name.js";
import type { HttpReply } from "./http.js";
import { faultReply, NO_CACHE } from "./http-fault.js";

const MEDIA_TYPE = "application/json; charset=utf-8";
const COMMIT = /^commits\/([0-9a-f]{40}|[0-9a-f]{64})$/;

export interface ApiRoute {
  readonly api: RepositoryApi;
  readonly name: RepositoryName;
  readonly asking: Asking;
  /** What follows the name, "" if nothing. */
  readonly file: string;
  readonly signal: AbortSignal;
}

export function isApiPath(path: string): boolean {
  return path.startsWith("/api/");
}

export async function apiReply({ api, name, asking, file, signal }: ApiRoute): Promise<HttpReply> {
  if (file === "") return json(await api.show(name, signal, asking));
  if (!file.startsWith("commits/")) throw new Fault("http/not-found");
  const id = COMMIT.exec(file)?.[1];
  if (id === undefined) throw new Fault("commit/missing", { reason: "an id is 40 hex digits (Git) or 64 (lakeFS)" });
  return json(await api.commit(name, id, signal, asking));
}

export function apiFaultReply(error: unknown, requestId: string): HttpReply {
  const plain = faultReply(error, requestId);
  const fault = asFault(error);
  const headers = plain.headers.map(([name, value]) => [name, name === "Content-Type" ? MEDIA_TYPE : value] as const);
  return { ...plain, headers, body: utf8(`${JSON.stringify({ code: fault.code, message: clientText(fault), request_id: requestId })}\n`) };
}

function json(value: unknown): HttpReply {
  const headers = [["Content-Type", MEDIA_TYPE], ["X-Content-Type-Options", "nosniff"], ...NO_CACHE] as const;
  return { status: 200, headers, body: utf8(`${JSON.stringify(value)}\n`) };
}
