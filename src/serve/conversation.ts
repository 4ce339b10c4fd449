/** What every conversation (fetch, push, advertisement) is given, whatever carries it. */
import type { ByteSink, ByteSource } from "../base/flow.js";
import type { LfsStore } from "../lfs/store.js";
import type { ObjectDatabase } from "../odb/object-database.js";
import type { RefStore } from "../odb/ref-store.js";

export interface Repository {
  /** Store prefix and cache identity, e.g. "repos/ns/name". */
  readonly id: string;
  /** For people: "ns/name". */
  readonly title: string;
  readonly refs: RefStore;
  readonly objects: ObjectDatabase;
  /** Whether its refs can move together, all or none. lakeFS has no such call. */
  readonly atomic: boolean;
  /** True for the request that made it: the pusher is told. */
  readonly created: boolean;
  /** Where its LFS objects are, if not in our own store. */
  readonly lfs?: LfsStore | undefined;
  /** To be called after refs or packs have changed: plans the upkeep that follows. */
  readonly changed: () => void;
}

/** Protocol version the client asked for (Git-Protocol header, GIT_PROTOCOL variable). */
export type ProtocolVersion = 0 | 1 | 2;

export interface Exchange {
  readonly repository: Repository;
  readonly version: ProtocolVersion;
  /** Over HTTP every request stands alone: no state is kept between them. False on SSH. */
  readonly stateless: boolean;
  readonly input: ByteSource;
  readonly output: ByteSink;
  readonly signal: AbortSignal;
}
