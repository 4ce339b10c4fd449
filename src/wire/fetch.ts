/**
 * fetch, version 2's way to ask for a pack: its arguments, and the sections of its answer.
 *
 *   want/have/shallow <oid>, want-ref <name>, done, … → [acknowledgments] [shallow-info]
 *   [wanted-refs] packfile
 *
 * Source: gitprotocol-v2(5) "fetch".
 */
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import type { Oid } from "../git/oid.js";
import { OidList, type Oids } from "../git/oid-list.js";
import { badLine, LineBudget, readOid, splitLine } from "./arguments.js";
import { type Advertiser, CAPABILITIES, notOffered } from "./capabilities.js";
import { DepthLines, type DepthRequest } from "./depth.js";
import { type Filter, parseFilter } from "./filter.js";
import { LineWriter } from "./pkt-line.js";

export interface FetchRequest {
  readonly wants: Oids;
  /** Full names, latin1 text, none twice. */
  readonly wantRefs: readonly string[];
  readonly haves: Oids;
  readonly done: boolean;
  /** Never say "ready": wait for "done". */
  readonly waitForDone: boolean;
  readonly thinPack: boolean;
  readonly ofsDelta: boolean;
  readonly noProgress: boolean;
  readonly includeTag: boolean;
  /** Every line of the answer is banded, not the pack alone. */
  readonly sidebandAll: boolean;
  readonly shallows: Oids;
  readonly depth: DepthRequest | undefined;
  readonly filter: Filter | undefined;
}

/** Arguments that belong to a feature: legal only where it is advertised. */
const FEATURE_OF: Readonly<Record<string, string>> = {
  shallow: "shallow",
  deepen: "shallow",
  "deepen-relative": "shallow",
  "deepen-since": "shallow",
  "deepen-not": "shallow",
  filter: "filter",
  "want-ref": "ref-in-want",
  "sideband-all": "sideband-all",
  "packfile-uris": "packfile-uris",
  "wait-for-done": "wait-for-done",
};

const V2: Advertiser = "v2";
const OFFERED: ReadonlySet<string> = new Set(
  CAPABILITIES.filter((row) => row.by === V2).map((row) => row.name),
);

/** Takes the argument lines of one fetch command. */
export class FetchArguments {
  readonly #budget = new LineBudget(LIMITS.fetchLinesMax);
  readonly #wants = new OidList();
  readonly #wantRefs = new Set<string>();
  readonly #haves = new OidList();
  readonly #shallows = new OidList();
  readonly #flags = new Set<string>();
  readonly #depth = new DepthLines();
  #filter: Filter | undefined;

  /** Throws "wire/bad-request", "wire/unknown-capability", "wire/bad-filter", "wire/too-much". */
  take(line: string): void {
    this.#budget.spend();
    const { key, value } = splitLine(line);
    const feature = FEATURE_OF[key];
    if (feature !== undefined && !OFFERED.has(`fetch=${feature}`)) throw notOffered(key);
    if (!this.#takeOid(key, value, line) && !this.#depth.take(key, value, line))
      this.#takeOther(key, value, line);
  }

  finish(): FetchRequest {
    const has = (flag: string) => this.#flags.has(flag);
    if (has("deepen-relative")) this.#depth.relative();
    return {
      wants: this.#wants,
      wantRefs: [...this.#wantRefs],
      haves: this.#haves,
      done: has("done"),
      waitForDone: has("wait-for-done"),
      thinPack: has("thin-pack"),
      ofsDelta: has("ofs-delta"),
      noProgress: has("no-progress"),
      includeTag: has("include-tag"),
      sidebandAll: has("sideband-all"),
      shallows: this.#shallows,
      depth: this.#depth.finish(),
      filter: this.#filter,
    };
  }

  #takeOid(key: string, value: string, line: string): boolean {
    switch (key) {
      case "want":
        this.#wants.push(readOid(value, line));
        return true;
      case "have":
        this.#haves.push(readOid(value, line));
        return true;
      case "shallow":
        this.#shallows.push(readOid(value, line));
        return true;
      default:
        return false;
    }
  }

  #takeOther(key: string, value: string, line: string): void {
    switch (key) {
      case "want-ref":
        this.#takeWantRef(value, line);
        break;
      case "filter":
        if (this.#filter !== undefined)
          throw new Fault("wire/bad-filter", { reason: "more than one filter line" });
        this.#filter = parseFilter(value);
        break;
      case "done":
      case "wait-for-done":
      case "thin-pack":
      case "ofs-delta":
      case "no-progress":
      case "include-tag":
      case "sideband-all":
      case "deepen-relative":
        if (line !== key) throw badLine(key, line);
        this.#flags.add(key);
        break;
      default:
        throw badLine("an argument of fetch", line);
    }
  }

  #takeWantRef(name: string, line: string): void {
    if (name === "") throw badLine("a ref", line);
    if (this.#wantRefs.has(name))
      throw new Fault("wire/bad-request", { reason: "duplicate want-ref", ref: name });
    this.#wantRefs.add(name);
  }
}

/**
 * The sections of one answer, in the order the methods stand here; a delim goes between two of them
 * by itself.
 */
export class FetchAnswer {
  readonly #writer: LineWriter;
  #started = false;

  /** `sidebandAll`: lines are banded too. */
  constructor(sidebandAll: boolean) {
    this.#writer = new LineWriter({ band: sidebandAll });
  }

  /**
   * Sent unless the client said `done`. No common id: NAK. With `ready` a pack must follow, without
   * it `finish`.
   */
  acknowledgments(common: readonly Oid[], ready: boolean): this {
    this.#section("acknowledgments");
    if (common.length === 0 && !ready) this.#writer.line("NAK");
    for (const oid of common) this.#writer.line(`ACK ${oid}`);
    if (ready) this.#writer.line("ready");
    return this;
  }

  /**
   * Boundary commits the client has not, and those it said it has that are none any more. Left out
   * when both are empty.
   */
  shallowInfo(shallows: readonly Oid[], unshallows: readonly Oid[]): this {
    if (shallows.length === 0 && unshallows.length === 0) return this;
    this.#section("shallow-info");
    for (const oid of shallows) this.#writer.bare(`shallow ${oid}`);
    for (const oid of unshallows) this.#writer.bare(`unshallow ${oid}`);
    return this;
  }

  /** Adds the present id of each want-ref. Left out when none was asked for. */
  wantedRefs(refs: readonly { readonly name: string; readonly oid: Oid }[]): this {
    if (refs.length === 0) return this;
    this.#section("wanted-refs");
    for (const { name, oid } of refs) this.#writer.line(`${oid} ${name}`);
    return this;
  }

  /** The section's header; side-band-64k packets of the pack and a flush follow. */
  packfile(): this {
    return this.#section("packfile");
  }

  /** Ends an answer without a pack. */
  finish(): this {
    this.#writer.flush();
    return this;
  }

  /** Returns the bytes written since the last call. */
  take(): Uint8Array {
    return this.#writer.take();
  }

  #section(name: string): this {
    if (this.#started) this.#writer.delim();
    this.#started = true;
    this.#writer.line(name);
    return this;
  }
}
