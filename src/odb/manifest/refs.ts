/** Refs kept in the manifest: the `RefStore` of repositories that live in our own store. */
import { createHash, randomBytes } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { strictText, utf8 } from "../../base/bytes.js";
import { Fault } from "../../base/fault.js";
import { orAbort, Turns } from "../../base/flow.js";
import { LIMITS } from "../../base/limits.js";
import { distinct, filtered, joined, sha256 } from "../../base/long-lists.js";
import { ZERO_OID } from "../../git/oid.js";
import type { Store } from "../../store/store.js";
import type { Manifest, RefValue } from "./manifest.js";
import type { PackLine } from "../pack-line.js";
import type { ManifestStore } from "./store.js";
import { compareRefs, RefTable } from "./ref-table.js";
import type {
  Ref,
  RefChange,
  RefOutcome,
  RefSnapshot,
  RefStore,
  RefUpdateOptions,
} from "../ref-store.js";

export class ManifestRefs implements RefStore {
  readonly #manifests: ManifestStore;
  readonly #store: Store;
  readonly #prefix: string;
  /** The snapshot of the newest revision seen. */
  #latest: { readonly manifest: Manifest; readonly snapshot: RefSnapshot } | undefined;
  /**
   * The one that is being made: for many refs that takes many turns, and all who read meanwhile
   * want the same.
   */
  #making: { readonly manifest: Manifest; readonly snapshot: Promise<RefSnapshot> } | undefined;

  constructor(manifests: ManifestStore, store: Store, prefix: string) {
    this.#manifests = manifests;
    this.#store = store;
    this.#prefix = prefix;
  }

  async read(signal?: AbortSignal): Promise<RefSnapshot> {
    const manifest = await this.#manifests.read(signal);
    if (this.#latest?.manifest === manifest) return this.#latest.snapshot;
    if (this.#making?.manifest !== manifest)
      this.#making = { manifest, snapshot: this.#make(manifest) };
    return orAbort(this.#making.snapshot, signal);
  }

  async #make(manifest: Manifest): Promise<RefSnapshot> {
    try {
      const table = await this.#table(manifest, undefined);
      const snapshot = await table.snapshot(
        `${manifest.revision} ${manifest.nonce}`,
        manifest.head,
        new Turns(),
      );
      // Unless a newer one is being made meanwhile.
      if (this.#making?.manifest === manifest) this.#latest = { manifest, snapshot };
      return snapshot;
    } finally {
      if (this.#making?.manifest === manifest) this.#making = undefined;
    }
  }

  async update(
    changes: readonly RefChange[],
    options: RefUpdateOptions,
    signal?: AbortSignal,
  ): Promise<readonly RefOutcome[]> {
    let outcomes: readonly RefOutcome[] = [];
    await this.#manifests.update(async (manifest) => {
      await options.stillMay?.();
      const table = await this.#table(manifest, signal);
      outcomes = await applyChanges(table, manifest.head, changes, options);
      await setImmediate();
      const landed = changes.filter((_, index) => outcomes[index]?.ok);
      if (landed.length === 0) return undefined;
      const head = await chooseHead(manifest, table, landed);
      const packs = addPacks(manifest.packs, options.packs ?? []);
      return { ...manifest, head, packs, ...(await this.#encodeRefs(manifest, table, landed)) };
    }, signal);
    return outcomes;
  }

  /** All refs of a manifest: what it holds, or its snapshot with the changes on top. */
  async #table(manifest: Manifest, signal: AbortSignal | undefined): Promise<RefTable> {
    if (this.#latest?.manifest === manifest) return new RefTable(this.#latest.snapshot.refs);
    if (manifest.snapshot === undefined) return new RefTable(refsOf(manifest.refs));
    const table = new RefTable(await this.#readSnapshot(manifest.snapshot.key, signal));
    for (const [name, value] of Object.entries(manifest.snapshot.changes)) {
      if (value === null) table.delete(name);
      else table.set(toRef(name, value));
    }
    return table;
  }

  /**
   * Few refs stay in the manifest; many become a snapshot, on top of which only changes are
   * written.
   */
  async #encodeRefs(
    manifest: Manifest,
    table: RefTable,
    landed: readonly RefChange[],
  ): Promise<Pick<Manifest, "refs" | "snapshot">> {
    if (table.size <= LIMITS.manifestRefsMax)
      return { refs: encodeRefs(await table.sorted(new Turns())), snapshot: undefined };
    if (manifest.snapshot !== undefined) {
      const changes = { ...manifest.snapshot.changes };
      for (const change of landed)
        changes[change.name] = change.new === ZERO_OID ? null : toValue(change.new, change.peeled);
      if (stays(changes, table)) {
        return { refs: {}, snapshot: { key: manifest.snapshot.key, changes } };
      }
    }
    return { refs: {}, snapshot: { key: await this.#writeSnapshot(table), changes: {} } };
  }

  /**
   * One ref a line, sorted: "<oid>[ <peeled>]\t<name>\n". The key is the content's SHA-256 and what
   * no other snapshot has: one that was dropped is never wanted again.
   */
  async #writeSnapshot(table: RefTable): Promise<string> {
    const pieces = [utf8(SNAPSHOT_HEAD)];
    const hash = createHash("sha256").update(pieces[0] as Uint8Array);
    const turns = new Turns();
    const refs = await table.sorted(turns);
    for (let at = 0; at < refs.length; at += REFS_AT_ONCE) {
      if (turns.isDue) await turns.next();
      const piece = utf8(
        refs
          .slice(at, at + REFS_AT_ONCE)
          .map(lineOf)
          .join(""),
      );
      hash.update(piece);
      pieces.push(piece);
    }
    const bytes = await joined(pieces, turns);
    const own = randomBytes(SNAPSHOT_NAME_BYTES).toString("hex");
    const key = `${this.#prefix}/git/snapshots/${hash.digest("hex")}.${own}`;
    await this.#store.putIfAbsent(key, bytes);
    return key;
  }

  async #readSnapshot(key: string, signal: AbortSignal | undefined): Promise<Ref[]> {
    const stored = await this.#store.get(key, SNAPSHOT_BYTES_MAX, signal);
    const text = stored && strictText(stored.bytes);
    if (stored === undefined || !text?.startsWith(SNAPSHOT_HEAD) || !text.endsWith("\n")) {
      throw new Fault("manifest/damaged", {
        snapshot: key,
        reason: stored === undefined ? "missing" : "not a ref snapshot",
      });
    }
    const turns = new Turns(signal);
    if (SNAPSHOT_KEY.exec(key)?.[1] !== (await sha256(stored.bytes, turns))) {
      throw new Fault("manifest/damaged", {
        snapshot: key,
        reason: "its content is not what its name says",
      });
    }
    const refs: Ref[] = [];
    for (let at = SNAPSHOT_HEAD.length; at < text.length; ) {
      if (turns.isDue) await turns.next();
      const end = text.indexOf("\n", at);
      refs.push(readLine(text.slice(at, end)));
      at = end + 1;
    }
    return refs;
  }
}

function readLine(line: string): Ref {
  const tab = line.indexOf("\t");
  const [oid, peeled] = line.slice(0, tab).split(" ") as [string, string | undefined];
  return { name: line.slice(tab + 1), oid, ...(peeled === undefined ? {} : { peeled }) };
}

/** Refs whose lines are made in one go: a millisecond, whatever their names. */
const REFS_AT_ONCE = 100;
const SNAPSHOT_HEAD = "lakepack-refs 1\n";
const SNAPSHOT_NAME_BYTES = 8;
/** Manifests of format 2 name snapshots by their content alone. */
const SNAPSHOT_KEY = /\/([0-9a-f]{64})(?:\.[0-9a-f]+)?$/;
/** A line's bytes beside its name: two ids and three characters. */
const LINE_BYTES = 84;
const SNAPSHOT_BYTES_MAX = LIMITS.refNamesBytesMax + LIMITS.refsMax * LINE_BYTES + 1_024;

function lineOf({ oid, peeled, name }: Ref): string {
  return `${oid}${peeled === undefined ? "" : ` ${peeled}`}\t${name}\n`;
}

/** Returns whether so many changes go on standing in the manifest, on top of their snapshot. */
function stays(changes: Readonly<Record<string, RefValue | null>>, table: RefTable): boolean {
  const names = Object.keys(changes);
  if (names.length <= LIMITS.snapshotChangesMax) return true;
  const bytes = names.reduce((sum, name) => sum + name.length + LINE_BYTES, 0);
  return bytes <= (table.nameBytes + table.size * LINE_BYTES) * LIMITS.snapshotChangesPart;
}

/**
 * Applies what may be applied to `table`, deletes first, and says what became of each change, in
 * the order given.
 */
async function applyChanges(
  table: RefTable,
  head: string,
  changes: readonly RefChange[],
  options: RefUpdateOptions,
): Promise<readonly RefOutcome[]> {
  const outcomes: RefOutcome[] = new Array(changes.length);
  const inOrder = [...changes.keys()].sort(
    (left, right) => rank(changes[left]) - rank(changes[right]),
  );
  const turns = new Turns();
  for (const index of inOrder) {
    if (turns.isDue) await turns.next();
    const change = changes[index] as RefChange;
    const reason = refusal(table, head, change, options);
    outcomes[index] =
      reason === undefined
        ? { name: change.name, ok: true }
        : { name: change.name, ok: false, reason };
    if (reason !== undefined) continue;
    if (change.new === ZERO_OID) table.delete(change.name);
    else table.set(toRef(change.name, toValue(change.new, change.peeled)));
  }
  if (!options.atomic || outcomes.every((outcome) => outcome.ok)) return outcomes;
  return outcomes.map((outcome) =>
    outcome.ok ? { name: outcome.name, ok: false, reason: "atomic push failure" } : outcome,
  );
}

function rank(change: RefChange | undefined): number {
  return change?.new === ZERO_OID ? 0 : 1;
}

/** Returns the reason why a change cannot be made, or undefined if it can. */
function refusal(
  table: RefTable,
  head: string,
  change: RefChange,
  options: RefUpdateOptions,
): string | undefined {
  const current = table.get(change.name)?.oid ?? ZERO_OID;
  if (current !== change.old) return staleReason(current, change);
  if (change.new === ZERO_OID) return deleteRefusal(head, change, options);
  if (current !== ZERO_OID) return undefined;
  const clash = table.clash(change.name);
  if (clash !== undefined)
    return `cannot be beside '${clash}': one would be the folder of the other`;
  if (table.size >= LIMITS.refsMax)
    return `this repository holds ${LIMITS.refsMax} refs, the most it can`;
  if (table.nameBytes + change.name.length > LIMITS.refNamesBytesMax) {
    return `the names of this repository's refs would have more than ${LIMITS.refNamesBytesMax} bytes together; delete refs first`;
  }
  return undefined;
}

function staleReason(current: string, change: RefChange): string {
  if (current === ZERO_OID) return "the ref does not exist any more; fetch first";
  if (change.old === ZERO_OID) return "the ref already exists; fetch first";
  return `the ref moved to ${current}; fetch first`;
}

function deleteRefusal(
  head: string,
  change: RefChange,
  options: RefUpdateOptions,
): string | undefined {
  if (options.denyDeletes && isBranch(change.name)) return "deletion prohibited";
  if (options.denyDeleteCurrent && change.name === head)
    return "deletion of the current branch prohibited";
  return undefined;
}

/**
 * HEAD stays unless it named no branch and branches have now come: then the first one pushed, or
 * the one it named.
 */
async function chooseHead(
  manifest: Manifest,
  table: RefTable,
  landed: readonly RefChange[],
): Promise<string> {
  if (table.get(manifest.head) !== undefined) return manifest.head;
  const turns = new Turns();
  const created = (
    await filtered(landed, (change) => change.new !== ZERO_OID && isBranch(change.name), turns)
  ).map(({ name }) => name);
  if (created.length === 0) return manifest.head;
  const fresh = await distinct(created, turns);
  for (const { name } of table) {
    if (turns.isDue) await turns.next();
    if (isBranch(name) && !fresh.has(name)) return manifest.head;
  }
  const usual = ["refs/heads/main", "refs/heads/master"].find((name) => fresh.has(name));
  return usual ?? created[0] ?? manifest.head;
}

function isBranch(name: string): boolean {
  return name.startsWith("refs/heads/");
}

function addPacks(packs: readonly PackLine[], added: readonly PackLine[]): PackLine[] {
  const present = new Set(packs.map(({ checksum }) => checksum));
  return [...added.filter(({ checksum }) => !present.has(checksum)), ...packs];
}

function toValue(oid: string, peeled: string | undefined): RefValue {
  return peeled === undefined ? oid : [oid, peeled];
}

function toRef(name: string, value: RefValue): Ref {
  return typeof value === "string"
    ? { name, oid: value }
    : { name, oid: value[0], peeled: value[1] };
}

function refsOf(refs: Readonly<Record<string, RefValue>>): Ref[] {
  return Object.entries(refs)
    .map(([name, value]) => toRef(name, value))
    .sort(compareRefs);
}

function encodeRefs(refs: Iterable<Ref>): Record<string, RefValue> {
  const encoded: Record<string, RefValue> = {};
  for (const ref of refs) encoded[ref.name] = toValue(ref.oid, ref.peeled);
  return encoded;
}
