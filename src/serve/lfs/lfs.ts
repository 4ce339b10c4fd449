/** Git LFS as the transports see it: batch, transfers and verify of any repository. */
import { Fault } from "../../base/fault.js";
import type { ByteSource } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import {
  answerBatch,
  type BatchReply,
  complaint,
  type LfsOperation,
  readBatchRequest,
} from "../../lfs/batch.js";
import type { LinkHolder, LinkProofs, LinkPurpose } from "../../lfs/proof.js";
import type { LfsObject, LfsStore } from "../../lfs/store.js";
import type { Pool } from "../../pool/task.js";
import type { Repository } from "../conversation/conversation.js";
import { type RepositoryName, titleOf } from "../conversation/repository-name.js";

export interface LfsOptions {
  readonly proofs: LinkProofs;
  /** Returns the store of a repository's objects. */
  readonly storeOf: (repository: Repository) => LfsStore;
  /** Hashes uploads. */
  readonly pool: Pool;
}

/** A link as it was called, before its repository is looked up. */
export interface LinkAsked {
  /** The name in its address. */
  readonly asked: RepositoryName;
  readonly object: LfsObject;
  readonly proof: string | null;
}

/** The same with its repository: the proof is checked before anything else. */
export interface LinkCall extends LinkAsked {
  readonly repository: Repository;
  /** Asked before an upload is kept: throws where its holder may not do it any more. */
  readonly stillMay: () => Promise<void>;
  readonly signal: AbortSignal;
}

export interface BatchCall {
  /** The holder that the links are given to. */
  readonly holder: LinkHolder;
  /** The name in its address. */
  readonly asked: RepositoryName;
  readonly repository: Repository;
  /**
   * The LFS address of the repository as the client spells it: "http://host/ns/name.git/info/lfs".
   */
  readonly base: string;
  readonly body: unknown;
  readonly signal: AbortSignal;
}

export class LfsService {
  readonly #options: LfsOptions;

  constructor(options: LfsOptions) {
    this.#options = options;
  }

  /** Returns the store of a repository's objects: the same answer for batch, verify and push. */
  storeOf(repository: Repository): LfsStore {
    return this.#options.storeOf(repository);
  }

  /**
   * Returns the operation of a batch, so that the caller knows which right it needs. Throws
   * "lfs/bad-batch".
   */
  operation(body: unknown): LfsOperation {
    return readBatchRequest(body).operation;
  }

  batch({ holder, asked, repository, base, body, signal }: BatchCall): Promise<BatchReply> {
    const { proofs } = this.#options;
    const proof = (purpose: LinkPurpose, object: LfsObject) =>
      proofs.make(
        { purpose, asked: titleOf(asked), repository: repository.id, ...object },
        holder,
        LIMITS.lfsLinkSeconds,
      );
    const address = ({ oid, size }: LfsObject) => `${base}/objects/${oid}/${size}`;
    const links = {
      transfer: (operation: LfsOperation, object: LfsObject) =>
        `${address(object)}?proof=${proof(operation, object)}`,
      verify: (object: LfsObject) => `${base}/objects/verify?proof=${proof("verify", object)}`,
    };
    return answerBatch(readBatchRequest(body), this.#options.storeOf(repository), links, signal);
  }

  /**
   * Checks by its address alone that a link was made here; returns whom it was given to. Throws
   * "lfs/proof", "http/bad-request".
   */
  admit({ asked, object, proof }: LinkAsked, purpose: LinkPurpose): LinkHolder {
    const wrong = complaint(object);
    if (wrong !== undefined) throw new Fault("http/bad-request", { reason: wrong });
    return this.#options.proofs.checkAddress(proof, {
      purpose,
      asked: titleOf(asked),
      oid: object.oid,
      size: object.size,
    });
  }

  /**
   * Takes an object's content. `share`: whose part of the pool hashes it. Throws "lfs/proof",
   * "lfs/mismatch", "lfs/denied", "lakefs/no-credentials".
   */
  async upload(
    call: LinkCall,
    content: ByteSource,
    { share, account }: { readonly share: string; readonly account: string | undefined },
  ): Promise<void> {
    const store = this.#checked(call, "upload");
    const { object, repository, signal } = call;
    if ((await store.size(object, signal)) === object.size) return this.#passOver(object, content); // a second client was faster
    const upload = await store.beginUpload(object, signal, {
      account,
      pool: this.#options.pool.sharedBy({ repository: repository.id, caller: share }),
    });
    try {
      const release = content.release?.bind(content);
      for (let bytes = await content.read(); bytes !== undefined; bytes = await content.read())
        await upload.write(bytes, release);
      await call.stillMay();
      await upload.finish();
    } finally {
      await upload.discard();
    }
  }

  /** Throws "lfs/missing" where the object is not here with this size. */
  async verify(call: LinkCall): Promise<void> {
    const { object, signal } = call;
    checkPresent(object, await this.#checked(call, "verify").size(object, signal));
  }

  /** The store to read the object from, which has it. Throws "lfs/proof", "lfs/missing". */
  async download(call: LinkCall): Promise<LfsStore> {
    const store = this.#checked(call, "download");
    const { object, signal } = call;
    checkPresent(
      object,
      await (store.readable === undefined
        ? store.size(object, signal)
        : store.readable(object, signal)),
    );
    return store;
  }

  #checked({ asked, repository, object, proof }: LinkCall, purpose: LinkPurpose): LfsStore {
    this.#options.proofs.check(proof, {
      purpose,
      asked: titleOf(asked),
      repository: repository.id,
      oid: object.oid,
      size: object.size,
    });
    return this.#options.storeOf(repository);
  }

  /** Reads what is here already, and keeps nothing of it. */
  async #passOver({ size }: LfsObject, content: ByteSource): Promise<void> {
    let bytes = 0;
    for (let chunk = await content.read(); chunk !== undefined; chunk = await content.read()) {
      bytes += chunk.length;
      if (bytes > size)
        throw new Fault("lfs/mismatch", { size, reason: "more bytes than announced" });
    }
  }
}

function checkPresent({ oid, size }: LfsObject, present: number | undefined): void {
  if (present !== size) throw new Fault("lfs/missing", { oid, size, present });
}
