/**
 * Git LFS over HTTP, below `<repository>.git/info/lfs`:
 *
 *   POST objects/batch                   where objects go to and come from
 *   PUT, GET objects/<oid>/<size>        content, with the proof a batch gave out
 *   POST objects/verify                  the same, after an upload
 *
 * Locks are not offered: 501 is what git-lfs takes as that, and it shows the words. Source: git-lfs
 * docs/api.
 */
import { utf8 } from "../../base/bytes.js";
import { asFault, clientText, Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import type { LinkHolder } from "../../lfs/proof.js";
import type { LfsObject } from "../../lfs/store.js";
import type { Repository } from "../../serve/conversation/conversation.js";
import type { Wants } from "../../serve/repositories/door.js";
import type { LfsService } from "../../serve/lfs/lfs.js";
import type { RepositoryName } from "../../serve/conversation/repository-name.js";
import type { HttpReply, HttpRequest } from "./contract.js";
import { CHALLENGE, faultReply, NO_CACHE } from "./fault.js";
import { readJsonBody } from "./json.js";
import { contentReply } from "./content.js";
import type { ByteRange } from "./range.js";

export const LFS_PREFIX = "info/lfs/";
const MEDIA_TYPE = "application/vnd.git-lfs+json";
const TRANSFER = /^objects\/([0-9a-f]{64})\/(0|[1-9][0-9]{0,15})$/;

export interface LfsRoute {
  readonly request: HttpRequest;
  /** "http://host", as the client spells us. */
  readonly base: string;
  /** The repository's name in the address. */
  readonly name: RepositoryName;
  /** The path behind `info/lfs/`. */
  readonly file: string;
  readonly lfs: LfsService;
  /** The repository for the caller of a batch, whose credentials count. */
  readonly resolve: (wants: Wants) => Promise<Repository>;
  /** Returns the holder that the links of that batch are given to. */
  readonly holder: () => Promise<LinkHolder>;
  /** The repository for a link, which carries its own proof, and whom it was given to. */
  readonly resolveLinked: (holder: LinkHolder, wants: Wants) => Promise<Linked>;
}

/** The target of a link. */
export interface Linked {
  readonly repository: Repository;
  /** The part of the pool that hashes an upload. */
  readonly share: string;
  /** The account that the link was given to; undefined: nobody was asked. */
  readonly account: string | undefined;
  /** Throws where the link's holder may not do it any more. */
  readonly stillMay: () => Promise<void>;
}

export function isLfsPath(path: string): boolean {
  return path.includes(`/${LFS_PREFIX}`);
}

export async function lfsReply(route: LfsRoute): Promise<HttpReply> {
  const { request, file } = route;
  if (file === "objects/batch") return batch(route);
  if (file === "objects/verify") return verify(route);
  if (file === "locks" || file.startsWith("locks/")) throw new Fault("lfs/no-locks");
  const [, oid, size] = TRANSFER.exec(file) ?? [];
  if (oid === undefined) throw new Fault("http/not-found");
  const object = { oid, size: Number(size) };
  if (request.method === "PUT") return upload(route, object);
  if (request.method === "GET") return download(route, object);
  throw new Fault("http/method", { allow: "GET, PUT" });
}

/** A failure in the form git-lfs shows to people. */
export function lfsFaultReply(error: unknown, requestId: string): HttpReply {
  const plain = faultReply(error, requestId);
  const message = clientText(asFault(error));
  const headers = plain.headers.map(
    ([name, value]) => [name, name === "Content-Type" ? MEDIA_TYPE : value] as const,
  );
  if (plain.status === 401) headers.push(["LFS-Authenticate", CHALLENGE]);
  return { ...plain, headers, body: utf8(JSON.stringify({ message, request_id: requestId })) };
}

async function batch({ request, base, name, lfs, resolve, holder }: LfsRoute): Promise<HttpReply> {
  const body = await readJson(request, LIMITS.lfsBatchBytesMax);
  const repository = await resolve(lfs.operation(body) === "upload" ? "write" : "read");
  const address = `${base}${request.path.slice(0, -"/objects/batch".length)}`;
  return json(
    await lfs.batch({
      holder: await holder(),
      asked: name,
      repository,
      base: address,
      body,
      signal: request.signal,
    }),
  );
}

async function verify({ request, name, lfs, resolveLinked }: LfsRoute): Promise<HttpReply> {
  const { oid, size } = ((await readJson(request, LIMITS.lfsVerifyBytesMax)) ?? {}) as {
    oid?: unknown;
    size?: unknown;
  };
  if (typeof oid !== "string" || typeof size !== "number")
    throw new Fault("http/bad-request", { reason: "verify names an oid and a size" });
  const link = { asked: name, object: { oid, size }, proof: proofOf(request) };
  const linked = await resolveLinked(lfs.admit(link, "verify"), "write");
  await lfs.verify({ ...link, ...linked, signal: request.signal });
  return json({});
}

async function upload(
  { request, name, lfs, resolveLinked }: LfsRoute,
  object: LfsObject,
): Promise<HttpReply> {
  const announced = request.header("content-length");
  if (announced !== undefined && Number(announced) !== object.size)
    throw new Fault("lfs/mismatch", { size: object.size, announced });
  const link = { asked: name, object, proof: proofOf(request) };
  const { share, account, ...linked } = await resolveLinked(lfs.admit(link, "upload"), "write");
  await lfs.upload({ ...link, ...linked, signal: request.signal }, request.body, {
    share,
    account,
  });
  return { status: 200, headers: [...NO_CACHE], body: new Uint8Array(0) };
}

async function download(
  { request, name, lfs, resolveLinked }: LfsRoute,
  object: LfsObject,
): Promise<HttpReply> {
  const { signal } = request;
  const link = { asked: name, object, proof: proofOf(request) };
  const linked = await resolveLinked(lfs.admit(link, "download"), "read");
  const store = await lfs.download({ ...link, ...linked, signal });
  const { oid, size } = object;
  const read = ({ start, end }: ByteRange) => store.read(object, start, end, signal);
  return contentReply(request, { tag: oid, size, read });
}

function proofOf(request: HttpRequest): string | null {
  return new URLSearchParams(request.query).get("proof");
}

async function readJson(request: HttpRequest, bytesMax: number): Promise<unknown> {
  if (request.method !== "POST") throw new Fault("http/method", { allow: "POST" });
  const type = (request.header("content-type") ?? "").split(";")[0]?.trim().toLowerCase();
  if (type !== MEDIA_TYPE && type !== "application/json")
    throw new Fault("http/content-type", { expected: MEDIA_TYPE, received: type?.slice(0, 100) });
  return readJsonBody(request.body, bytesMax);
}

function json(value: unknown): HttpReply {
  return {
    status: 200,
    headers: [["Content-Type", MEDIA_TYPE], ...NO_CACHE],
    body: utf8(JSON.stringify(value)),
  };
}
