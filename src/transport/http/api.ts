/**
 * The JSON API over HTTP:
 *
 *   GET /api/repos/<name>                  what a repository is, and how far lakeFS has been read
 *                                          for it
 *   GET /api/repos/<name>/commits/<id>     both ids of a commit, by either
 *   GET /api/repos/<name>/settings         what decides about pushes to it, each value with where
 *                                          it comes from ("server", "repository"); for its
 *                                          administrators: role admin, scope admin
 *   PATCH /api/repos/<name>/settings       changes what it has in place of the server's settings,
 *                                          all or nothing, and answers as GET does: a JSON object
 *                                          of
 *                                            fsck_levels           {"missingEmail":"warn"}, or "missingEmail=warn"
 *                                            fsck_skip_list        an array of object ids
 *                                            lfs_missing_objects   "refuse" or "warn"
 *                                          each null where it is to be taken away
 *
 * <name> is "ns/name", "datasets/ns/name", "lakefs/repository"… as in a Git URL. A failure is
 * {code, message, request_id}.
 */
import type { Asking, RepositoryApi } from "../../api/repositories.js";
import type { SettingsFacts } from "../../api/repository-settings.js";
import { utf8 } from "../../base/bytes.js";
import { asFault, clientText, Fault } from "../../base/fault.js";
import type { ByteSource } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import type { RepositoryName } from "../../serve/conversation/repository-name.js";
import type { HttpReply } from "./contract.js";
import { faultReply, NO_CACHE } from "./fault.js";
import { readJsonBody } from "./json.js";

const MEDIA_TYPE = "application/json; charset=utf-8";
const COMMIT = /^commits\/([0-9a-f]{40}|[0-9a-f]{64})$/;

export interface ApiRoute {
  readonly api: RepositoryApi;
  readonly name: RepositoryName;
  readonly asking: Asking;
  /** The path behind the name, "" if there is none. */
  readonly file: string;
  /** "GET", "HEAD"; of SETTINGS_FILE also "PATCH", whose body it is. */
  readonly method: string;
  readonly body: ByteSource;
  readonly signal: AbortSignal;
}

/** The one file that can be changed here. */
export const SETTINGS_FILE = "settings";

export function isApiPath(path: string): boolean {
  return path.startsWith("/api/");
}

export async function apiReply(route: ApiRoute): Promise<HttpReply> {
  const { api, name, asking, file, signal } = route;
  if (file === SETTINGS_FILE) return json(await settings(route));
  if (file === "") return json(await api.show(name, signal, asking));
  if (!file.startsWith("commits/")) throw new Fault("http/not-found");
  const id = COMMIT.exec(file)?.[1];
  if (id === undefined)
    throw new Fault("commit/missing", { reason: "an id is 40 hex digits (Git) or 64 (lakeFS)" });
  return json(await api.commit(name, id, signal, asking));
}

/** Answers settings; callers who may not change them are refused before the body is read. */
async function settings({
  api,
  name,
  asking,
  method,
  body,
  signal,
}: ApiRoute): Promise<SettingsFacts> {
  const now = await api.settings(name, signal, asking);
  if (method !== "PATCH") return now;
  const change = await readJsonBody(body, LIMITS.apiRequestBytesMax);
  if (typeof change !== "object" || change === null || Array.isArray(change)) {
    throw new Fault("http/bad-request", { reason: "the body is not a JSON object" });
  }
  return api.changeSettings(name, change as Readonly<Record<string, unknown>>, signal, asking);
}

export function apiFaultReply(error: unknown, requestId: string): HttpReply {
  const plain = faultReply(error, requestId);
  const fault = asFault(error);
  const headers = plain.headers.map(
    ([name, value]) => [name, name === "Content-Type" ? MEDIA_TYPE : value] as const,
  );
  return {
    ...plain,
    headers,
    body: utf8(
      `${JSON.stringify({ code: fault.code, message: clientText(fault), request_id: requestId })}\n`,
    ),
  };
}

function json(value: unknown): HttpReply {
  const headers = [
    ["Content-Type", MEDIA_TYPE],
    ["X-Content-Type-Options", "nosniff"],
    ...NO_CACHE,
  ] as const;
  return { status: 200, headers, body: utf8(`${JSON.stringify(value)}\n`) };
}
