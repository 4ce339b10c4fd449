/**
 * The name of a generated pack: a digest of everything that decides its content, and of nothing
 * else. The caller is no part of it; whether he may have it is decided before.
 */
import { createHash } from "node:crypto";
import { Turns } from "../../base/flow.js";
import { byCodeUnits, distinct, sorted } from "../../base/long-lists.js";
import type { Oid } from "../../git/oid.js";
import { type Filter, formatFilter } from "../../wire/filter.js";

/** Changes whenever the same request would be answered with other objects or in another form. */
const FORMAT_VERSION = 1;

/** A fetch, all of it checked and resolved. Lists in any order. */
export interface PackRequest {
  /** Want-refs resolved. */
  readonly wants: readonly Oid[];
  /** Objects that the client has and we know. */
  readonly common: readonly Oid[];
  /** The client's boundary as it told it. */
  readonly clientShallow: readonly Oid[];
  /**
   * The outcome of deepening: new boundary commits, old ones that are none any more, and the
   * parents of those.
   */
  readonly shallow: readonly Oid[];
  readonly unshallow: readonly Oid[];
  readonly unshallowParents: readonly Oid[];
  /** Its `sparse:oid` resolved to ids. */
  readonly filter: Filter | undefined;
  readonly thin: boolean;
  readonly ofsDelta: boolean;
  /**
   * include-tag: annotated tags that may come along (those wanted anyhow left out); empty where it
   * was not asked for.
   */
  readonly tags: readonly { readonly oid: Oid; readonly peeled: Oid }[];
}

/** Ids that are hashed at once. */
const BATCH = 4_096;

/** Answers 64 hex digits. Throws "base/aborted". */
export async function responseKey(
  repositoryId: string,
  request: PackRequest,
  signal?: AbortSignal,
): Promise<string> {
  const turns = new Turns(signal);
  const hash = createHash("sha256");
  hash.update(`lakepack pack ${FORMAT_VERSION}\nrepository ${JSON.stringify(repositoryId)}\n`);
  const list = async (name: string, oids: readonly Oid[]): Promise<void> => {
    hash.update(`${name} `);
    const ids = await sorted([...(await distinct(oids, turns))], byCodeUnits, turns);
    for (let at = 0; at < ids.length; at += BATCH) {
      if (turns.isDue) await turns.next();
      hash.update(`${at === 0 ? "" : " "}${ids.slice(at, at + BATCH).join(" ")}`);
    }
    hash.update("\n");
  };
  await list("wants", request.wants);
  await list("common", request.common);
  await list("client-shallow", request.clientShallow);
  await list("shallow", request.shallow);
  await list("unshallow", request.unshallow);
  hash.update(`filter ${request.filter === undefined ? "" : formatFilter(request.filter)}\n`);
  hash.update(`thin ${request.thin}\nofs-delta ${request.ofsDelta}\n`);
  await list(
    "tags",
    request.tags.map(({ oid }) => oid),
  );
  return hash.digest("hex");
}
