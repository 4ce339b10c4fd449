/**
 * One tree goes onto a work branch's staging: what differs from what is there is uploaded, staged
 * by address or deleted.
 */
import { createHash } from "node:crypto";
import { fromLatin1, lossyText } from "../../base/bytes.js";
import { asFault, Fault } from "../../base/fault.js";
import { checkAborted } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import {
  formatPointer,
  type LfsPointer,
  parseCanonicalPointer,
  parsePointer,
  POINTER_BYTES_MAX,
} from "../../git/lfs-pointer.js";
import type { Oid } from "../../git/oid.js";
import { isTreeMode, MODE_GITLINK, MODE_TYPE } from "../../git/tree.js";
import { parseTree, type TreeEntry } from "../../git/tree-entries.js";
import type { ObjectReader } from "../../odb/packs/reader.js";
import { readStream } from "../../odb/packs/stream.js";
import { fullAddress, stageableAddress } from "../api/address.js";
import type { ContentFacts } from "../rules/claim.js";
import type { SealKeys } from "../rules/claim-seal.js";
import { type LakefsClient, UPLOAD_TYPE } from "../api/client.js";
import { attributeBudget, type SaidOf, saidByTree } from "../rules/commit-attributes.js";
import type { PathMapping } from "../rules/contract.js";
import type { FilesElsewhere } from "./files-elsewhere.js";
import { AttributeRules, isLfsPath } from "../../git/gitattributes.js";
import { contentKey } from "../trees/hash-memory.js";
import { GUARD_PATH, HOOKS_FOLDER, SEAL_KEY } from "../rules/metadata-keys.js";
import { fileMetadata, gitlinkMetadata, type WrittenContent } from "../rules/object-metadata.js";
import { toEntry } from "../trees/listing.js";
import {
  ATTRIBUTES_NAME,
  crossing,
  FILE_MODE,
  isFileMode,
  pathRefusal,
} from "../rules/path-rules.js";
import { attributesOfTree } from "./restated.js";
import { type OtherPath, stagedChanges } from "./staged-changes.js";
import type { Twin, Twins } from "./twins.js";
import type { LakefsObject } from "../api/types.js";

export interface StagePlace {
  readonly client: LakefsClient;
  /** lakeFS's storage namespace. */
  readonly namespace: string;
  readonly mapping: PathMapping;
  readonly seals: SealKeys;
  readonly twins: Twins;
  readonly elsewhere: FilesElsewhere;
  readonly branch: string;
  /** Bytes of a file that is no LFS pointer. */
  readonly plainFileBytesMax: number;
  readonly signal: AbortSignal;
}

/** The server's knowledge of contents. */
export interface LandingMemory {
  /** Returns the address of an LFS object's bytes; undefined: not here. */
  addressOf(sha256: string, size: number): Promise<string | undefined>;
  /** Returns whether one of us has found the content with this key to have these bytes. */
  proves(key: string, sha256: string): Promise<boolean>;
  remember(key: string, size: number, facts: ContentFacts): void;
}

/** An entry as it is to stand in lakeFS. */
type StagedObject = Pick<
  LakefsObject,
  "physical_address" | "checksum" | "metadata" | "content_type"
> & { readonly size_bytes: number };

/** Missing LFS objects that are named; all are counted. */
const MISSING_NAMED = 5;
const SYMLINK = 0o120000;
const EXECUTABLE_BITS = 0o111;

export class Stage {
  readonly #reader: ObjectReader;
  readonly #place: StagePlace;
  readonly #tree: Oid;
  readonly #memory: LandingMemory;
  readonly #onFile: (files: number) => void;
  #running = 0;
  /** Wakes who waits for one of those running to end. */
  #wake: () => void = () => undefined;
  readonly #rules = new Map<string, AttributeRules | undefined>();
  readonly #budget = attributeBudget();
  /** Attributes without the managed block: by those the tree is read back. */
  readonly #said: SaidOf;
  readonly #missing: string[] = [];
  #missingCount = 0;
  #heldBytes = 0;
  #deletes: string[] = [];
  #failure: Fault | undefined;
  /** By path (latin1 text), the key of the content that was put there (hash-memory.ts). */
  readonly staged = new Map<string, string>();
  /** Paths staged so far. */
  files = 0;
  touchesHooks = false;

  /** `tree`: what is to be there. */
  constructor(
    reader: ObjectReader,
    place: StagePlace,
    tree: Oid,
    memory: LandingMemory,
    onFile: (files: number) => void,
  ) {
    this.#reader = reader;
    this.#place = place;
    this.#tree = tree;
    this.#memory = memory;
    this.#onFile = onFile;
    this.#said = saidByTree(attributesOfTree(reader, tree), this.#budget);
  }

  /** Stages the difference to `before`. */
  async put(before: Oid | undefined, other: OtherPath | undefined): Promise<void> {
    for (const { path, entry } of stagedChanges(this.#reader, before, this.#tree, other))
      await this.#change(path, entry);
    await this.#delete();
    while (this.#running > 0) await this.#ended();
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#missingCount > 0) throw this.#missingFault();
  }

  async #change(path: string, entry: TreeEntry | undefined): Promise<void> {
    checkAborted(this.#place.signal);
    if (this.#failure !== undefined) throw this.#failure;
    if (path === GUARD_PATH)
      throw unmappable(path, "this path is lakepack's own; leave it out of the commits");
    if (path.startsWith(HOOKS_FOLDER)) this.touchesHooks = true;
    if (entry === undefined) {
      this.#deletes.push(lakePath(path));
      if (this.#deletes.length === LIMITS.lakefsDeletePathsMax) await this.#delete();
      return;
    }
    const refusal = pathRefusal(path, this.#place.mapping);
    if (refusal !== undefined) throw unmappable(path, refusal);
    if ((entry.mode & MODE_TYPE) === MODE_GITLINK)
      return this.#run(
        0,
        async () => void (await this.#upload(path, new Uint8Array(0), gitlinkMetadata(entry.oid))),
      );
    await this.#file(path, entry);
  }

  async #file(path: string, { oid, mode }: TreeEntry): Promise<void> {
    const number = this.#reader.space.need(oid);
    const size = this.#reader.size(number);
    const { plainFileBytesMax, mapping } = this.#place;
    if (size > plainFileBytesMax) throw unmappable(path, tooLarge(size, plainFileBytesMax));
    const isLink = (mode & MODE_TYPE) === SYMLINK;
    const lakeMode = isLink ? FILE_MODE.symlink : keptMode(mode, mapping);
    if (!isLink && size <= POINTER_BYTES_MAX) {
      const text = this.#reader.readAs("blob", number);
      const pointer = (mapping.version < 3 ? parseCanonicalPointer : parsePointer)(text);
      if (pointer !== undefined && this.#isLfs(path))
        return this.#run(0, () => this.#stagePointer(path, lakeMode, oid, { ...pointer, text }));
    }
    if (size > LIMITS.objectInMemoryBytesMax)
      return this.#run(LIMITS.landingUploadBytesMax, () =>
        this.#streamFile(path, lakeMode, oid, number, size),
      );
    await this.#run(size, async () => {
      const data = this.#reader.readAs("blob", number);
      const content = { size, checksum: digest("md5", data), sha256: digest("sha256", data) };
      await this.#plainFile(path, lakeMode, oid, content, (metadata) =>
        this.#upload(path, data, metadata),
      );
    });
  }

  /**
   * Its hashes go ahead of its bytes, so it is read twice; it is never held whole unless it is
   * stored as a delta.
   */
  async #streamFile(
    path: string,
    mode: number,
    blob: Oid,
    number: number,
    size: number,
  ): Promise<void> {
    const { client, branch, signal } = this.#place;
    const [md5, sha256] = [createHash("md5"), createHash("sha256")];
    for await (const piece of readStream(this.#reader, number)) {
      checkAborted(signal);
      md5.update(piece);
      sha256.update(piece);
    }
    const content = {
      [Symbol.asyncIterator]: () => readStream(this.#reader, number)[Symbol.asyncIterator](),
    };
    const upload = (metadata: Readonly<Record<string, string>>) =>
      client.uploadStream(
        branch,
        lakePath(path),
        { bytes: size, content, metadata, repeatable: true },
        signal,
      );
    await this.#plainFile(
      path,
      mode,
      blob,
      { size, checksum: md5.digest("hex"), sha256: sha256.digest("hex") },
      upload,
    );
  }

  /**
   * Uploads a file, unless a branch has it at this path: then it becomes the same entry, or lakeFS
   * would take a merge of both for a conflict. Contents that the commit before has at another path
   * keep their bytes where they lie.
   */
  async #plainFile(
    path: string,
    mode: number,
    blob: Oid,
    content: WrittenContent,
    upload: (metadata: Readonly<Record<string, string>>) => Promise<LakefsObject>,
  ): Promise<void> {
    const twin = await this.#twin("plain", path, mode, blob);
    if (twin !== undefined && (await this.#isProven(twin, "plain", blob, content.sha256)))
      return this.#stageAs(path, twin);
    if (twin === undefined && (await this.#stageMoved(path, mode, blob, content))) return;
    const { size, checksum } = content;
    const own = fileMetadata(mode, blob, content);
    const { physical_address, checksum: made, size_bytes } = await upload(own);
    if (size_bytes !== size || made !== checksum)
      throw new Fault("lakefs/bad-reply", {
        path: lakePath(path),
        reason: "stored with another size or checksum than sent",
        size_bytes,
        checksum: made,
      });
    const isLikeTwin = twin !== undefined && twin.checksum === checksum;
    if (isLikeTwin && !isSameEntry(twin, own))
      return this.#stageAs(path, { ...twin, physical_address }, { sha256: content.sha256, blob });
    const seal =
      isLikeTwin || size < LIMITS.sealedFileBytesMin
        ? undefined
        : this.#seal("plain", blob, content, physical_address);
    if (seal === undefined)
      return this.#note(
        path,
        { physical_address, checksum, size },
        { sha256: content.sha256, blob },
      );
    const entry = {
      physical_address,
      checksum,
      size_bytes: size,
      metadata: fileMetadata(mode, blob, content, { seal }),
      content_type: UPLOAD_TYPE,
    };
    await this.#stageAs(path, entry, { sha256: content.sha256, blob });
  }

  /** False: it is at no other path, or nobody has seen that these are its bytes. */
  async #stageMoved(
    path: string,
    mode: number,
    blob: Oid,
    { size, sha256 }: WrittenContent,
  ): Promise<boolean> {
    const found = this.#place.elsewhere.get(blob);
    if (found?.address === undefined || found.size !== size) return false;
    const { address: physical_address, checksum, metadata } = found;
    if (
      !(await this.#isProven(
        { physical_address, checksum, size_bytes: size, metadata },
        "plain",
        blob,
        sha256,
      ))
    )
      return false;
    const content = { size, checksum, sha256 };
    const seal =
      size < LIMITS.sealedFileBytesMin
        ? undefined
        : this.#seal("plain", blob, content, physical_address);
    const entry = {
      physical_address,
      checksum,
      size_bytes: size,
      metadata: fileMetadata(mode, blob, content, { seal }),
      content_type: UPLOAD_TYPE,
    };
    await this.#stageAs(path, entry, { sha256, blob });
    return true;
  }

  #upload(
    path: string,
    data: Uint8Array,
    metadata: Readonly<Record<string, string>>,
  ): Promise<LakefsObject> {
    const { client, branch, signal } = this.#place;
    return client.uploadObject(branch, lakePath(path), data, metadata, signal);
  }

  /** lakeFS shows the real bytes; they are not copied. */
  async #stagePointer(
    path: string,
    mode: number,
    blob: Oid,
    { sha256, size, text }: LfsPointer & { readonly text: Uint8Array },
  ): Promise<void> {
    const twin = await this.#twin("pointer", path, mode, blob);
    if (twin !== undefined && (await this.#isProven(twin, "pointer", blob, sha256)))
      return this.#stageAs(path, twin);
    const address = await this.#memory.addressOf(sha256, size);
    if (address === undefined) {
      this.#missingCount++;
      if (this.#missing.length < MISSING_NAMED) this.#missing.push(lossyText(fromLatin1(path)));
      return;
    }
    const content = { size, checksum: `sha256:${sha256}`, sha256 };
    const isCanonical = Buffer.from(text).equals(formatPointer({ sha256, size }));
    const metadata = fileMetadata(mode, blob, content, {
      seal: this.#seal("pointer", blob, content, address),
      pointer: isCanonical ? undefined : text,
    });
    await this.#stageAs(
      path,
      { physical_address: address, checksum: content.checksum, size_bytes: size, metadata },
      { sha256, blob: undefined },
    );
  }

  #seal(
    kind: "plain" | "pointer",
    blob: Oid,
    { size, checksum, sha256 }: WrittenContent,
    address: string,
  ): string | undefined {
    const { seals, namespace } = this.#place;
    return seals.sealContent({
      kind,
      blob,
      sha256,
      size,
      checksum,
      address: fullAddress(address, namespace),
    });
  }

  /**
   * Returns a branch's entry at the path, if it reads as this kind under the pushed attributes,
   * too.
   */
  async #twin(
    kind: "plain" | "pointer",
    path: string,
    mode: number,
    blob: Oid,
  ): Promise<Twin | undefined> {
    const twin = await this.#place.twins.find(path, mode, blob);
    if (twin === undefined || this.#place.mapping.version < 3) return twin;
    const as = crossing(toEntry(twin), this.#place.mapping, this.#said(path));
    if (as.as !== "file") return undefined;
    const stands =
      as.claim === undefined ? as.pointer === (kind === "pointer") : as.claim.blob === blob;
    return stands ? twin : undefined;
  }

  /**
   * Returns whether one of us has hashed the bytes an entry names: its seal says so, or our memory.
   */
  async #isProven(
    entry: Omit<StagedObject, "content_type">,
    kind: "plain" | "pointer",
    blob: Oid,
    sha256: string,
  ): Promise<boolean> {
    const { seals, namespace } = this.#place;
    const { checksum, size_bytes: size, metadata = {}, physical_address } = entry;
    const statement = {
      kind,
      blob,
      sha256,
      size,
      checksum,
      address: fullAddress(physical_address, namespace),
    };
    if (seals.isContentSealed(metadata[SEAL_KEY], statement)) return true;
    return this.#memory.proves(
      contentKey({ address: physical_address, checksum, size }, namespace) as string,
      sha256,
    );
  }

  /** Stages the same entry; `facts`: of what was uploaded for it just now. */
  async #stageAs(path: string, entry: StagedObject, facts?: ContentFacts): Promise<void> {
    const { client, namespace, branch, signal } = this.#place;
    const { physical_address, checksum, size_bytes, metadata = {}, content_type } = entry;
    const json = {
      physical_address: stageableAddress(physical_address, namespace),
      checksum,
      size_bytes,
      metadata,
      ...(content_type === undefined ? {} : { content_type }),
    };
    await client.stageObject(branch, lakePath(path), json, signal);
    this.#note(path, { physical_address, checksum, size: size_bytes }, facts);
  }

  #note(
    path: string,
    {
      physical_address: address,
      checksum,
      size,
    }: { readonly physical_address: string; readonly checksum: string; readonly size: number },
    facts?: ContentFacts,
  ): void {
    const key = contentKey({ address, checksum, size }, this.#place.namespace) as string;
    this.staged.set(path, key);
    if (facts !== undefined) this.#memory.remember(key, size, facts);
  }

  /** Starts `work` when there is room for it and for its bytes. */
  async #run(bytes: number, work: () => Promise<void>): Promise<void> {
    const isFull = () =>
      this.#running >= LIMITS.landingUploadsMax ||
      this.#heldBytes + bytes > LIMITS.landingUploadBytesMax;
    while (this.#running > 0 && isFull()) await this.#ended();
    this.#heldBytes += bytes;
    this.#running++;
    void work()
      .then(
        () => this.#onFile(++this.files),
        (error: unknown) => {
          this.#failure ??= asFault(error);
        },
      )
      .finally(() => {
        this.#heldBytes -= bytes;
        this.#running--;
        this.#wake();
      });
  }

  /** One more has ended. There is one that waits, ever: who goes through the changes. */
  #ended(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  async #delete(): Promise<void> {
    if (this.#deletes.length === 0) return;
    const { client, branch, signal } = this.#place;
    await client.deleteObjects(branch, this.#deletes, signal);
    this.files += this.#deletes.length;
    this.#deletes = [];
    this.#onFile(this.files);
  }

  // Attributes of the pushed tree -----------------------------------------------------------------

  /** As Git sees it: the managed block counts as well. */
  #isLfs(path: string): boolean {
    this.#budget.allow(LIMITS.attributeStepsPerPath);
    return isLfsPath(path, (folder) => this.#rulesOf(folder), this.#budget);
  }

  #rulesOf(folder: string): AttributeRules | undefined {
    if (!this.#rules.has(folder)) this.#rules.set(folder, this.#readRules(folder));
    return this.#rules.get(folder);
  }

  #readRules(folder: string): AttributeRules | undefined {
    const entry = this.#entriesOf(folder)?.get(ATTRIBUTES_NAME);
    if (entry === undefined || !isFileMode(entry.mode)) return undefined;
    const text = this.#reader.readAs("blob", this.#reader.space.need(entry.oid));
    this.#budget.spend(text.length);
    return new AttributeRules(text);
  }

  #entriesOf(folder: string): ReadonlyMap<string, TreeEntry> | undefined {
    let tree = this.#tree;
    for (const name of folder === "" ? [] : folder.split("/")) {
      const entry = parseTree(this.#reader.readAs("tree", this.#reader.space.need(tree))).get(name);
      if (entry === undefined || !isTreeMode(entry.mode)) return undefined;
      tree = entry.oid;
    }
    return parseTree(this.#reader.readAs("tree", this.#reader.space.need(tree)));
  }

  #missingFault(): Fault {
    const more =
      this.#missingCount > this.#missing.length
        ? `, and ${this.#missingCount - this.#missing.length} more`
        : "";
    const reason = `Git LFS objects are not on the server (${this.#missing.join(", ")}${more}); run: git lfs push --all`;
    return new Fault("lakefs/unmappable", { reason });
  }
}

/** Mapping 2 knows two modes of files. */
function keptMode(mode: number, { version }: PathMapping): number {
  if (version >= 3) return mode;
  return (mode & EXECUTABLE_BITS) === 0 ? FILE_MODE.plain : FILE_MODE.executable;
}

/** Returns whether an upload with these metadata comes to the same entry. */
function isSameEntry(
  { metadata = {}, content_type }: StagedObject,
  own: Readonly<Record<string, string>>,
): boolean {
  const names = Object.keys(metadata);
  return (
    content_type === UPLOAD_TYPE &&
    names.length === Object.keys(own).length &&
    names.every((name) => metadata[name] === own[name])
  );
}

function tooLarge(size: number, bytesMax: number): string {
  const [is, may] = [size, bytesMax].map((bytes) => bytes.toLocaleString("en-US"));
  return `it has ${is} bytes, and a plain file may have ${may} here; use Git LFS for it (git lfs migrate import --include=<path>)`;
}

function digest(algorithm: "md5" | "sha256", data: Uint8Array): string {
  return createHash(algorithm).update(data).digest("hex");
}

function unmappable(path: string, reason: string): Fault {
  return new Fault("lakefs/unmappable", { path: lossyText(fromLatin1(path)), reason });
}

function lakePath(path: string): string {
  return lossyText(fromLatin1(path));
}
