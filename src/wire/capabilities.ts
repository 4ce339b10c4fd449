/**
 * Capabilities: the one table of all we advertise, and what a client's choice among them means.
 *
 * A row stands here only because the server honours it; `test` names the interop test that shows it
 * (the test run fails on a row whose test does not exist). Source: gitprotocol-capabilities(5),
 * gitprotocol-v2(5) "Capabilities".
 */
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import type { BandMode } from "./sideband.js";

/**
 * Services that advertise: the two of versions 0 and 1, and version 2 (fetches only; there is no
 * version 2 push).
 */
export type Advertiser = "upload-pack" | "receive-pack" | "v2";

/** Capabilities that may differ between servers and repositories. */
export interface Offer {
  /** "lakepack/<version>". */
  readonly agent: string;
  /** uploadpack.allowTipSHA1InWant: tips of hidden refs may be wanted. */
  readonly allowTipInWant: boolean;
  /**
   * uploadpack.allowReachableSHA1InWant: anything reachable from a visible ref may be wanted in
   * version 0.
   */
  readonly allowReachableInWant: boolean;
  /** False where refs cannot move together (repositories over lakeFS). */
  readonly atomic: boolean;
  /** There are bundles to read before a clone. Default: false. */
  readonly bundleUri?: boolean;
}

export interface CapabilityRow {
  readonly by: Advertiser;
  /** Name, or "command=feature" for a feature of a version 2 command. */
  readonly name: string;
  readonly value?: (offer: Offer) => string;
  /** Absent: always. */
  readonly when?: (offer: Offer) => boolean;
  /** "<file under test/> › <test name>". */
  readonly test: string;
}

const FETCH_V0 = "serve/fetch-v0.test.ts › ";
const FETCH_V2 = "serve/fetch-v2.test.ts › ";
const PUSH = "interop/push.test.ts › ";

export const CAPABILITIES: readonly CapabilityRow[] = [
  { by: "upload-pack", name: "multi_ack", test: `${FETCH_V0}multi_ack` },
  { by: "upload-pack", name: "thin-pack", test: `${FETCH_V0}thin-pack` },
  { by: "upload-pack", name: "side-band", test: `${FETCH_V0}side-band` },
  { by: "upload-pack", name: "side-band-64k", test: `${FETCH_V0}side-band-64k` },
  { by: "upload-pack", name: "ofs-delta", test: `${FETCH_V0}ofs-delta` },
  { by: "upload-pack", name: "shallow", test: `${FETCH_V0}shallow` },
  { by: "upload-pack", name: "deepen-since", test: `${FETCH_V0}deepen-since` },
  { by: "upload-pack", name: "deepen-not", test: `${FETCH_V0}deepen-not` },
  { by: "upload-pack", name: "deepen-relative", test: `${FETCH_V0}deepen-relative` },
  { by: "upload-pack", name: "no-progress", test: `${FETCH_V0}no-progress` },
  { by: "upload-pack", name: "include-tag", test: `${FETCH_V0}include-tag` },
  { by: "upload-pack", name: "multi_ack_detailed", test: `${FETCH_V0}multi_ack_detailed` },
  {
    by: "upload-pack",
    name: "allow-tip-sha1-in-want",
    when: (offer) => offer.allowTipInWant,
    test: `${FETCH_V0}allow-tip-sha1-in-want`,
  },
  {
    by: "upload-pack",
    name: "allow-reachable-sha1-in-want",
    when: (offer) => offer.allowReachableInWant,
    test: `${FETCH_V0}allow-reachable-sha1-in-want`,
  },
  { by: "upload-pack", name: "no-done", test: `${FETCH_V0}no-done` },
  { by: "upload-pack", name: "filter", test: `${FETCH_V0}filter` },
  {
    by: "upload-pack",
    name: "object-format",
    value: () => "sha1",
    test: `${FETCH_V0}object-format`,
  },
  { by: "upload-pack", name: "agent", value: (offer) => offer.agent, test: `${FETCH_V0}agent` },

  { by: "receive-pack", name: "report-status", test: `${PUSH}report-status` },
  { by: "receive-pack", name: "report-status-v2", test: `${PUSH}report-status-v2` },
  { by: "receive-pack", name: "delete-refs", test: `${PUSH}delete-refs` },
  { by: "receive-pack", name: "side-band-64k", test: `${PUSH}side-band-64k` },
  { by: "receive-pack", name: "quiet", test: `${PUSH}quiet` },
  { by: "receive-pack", name: "atomic", when: (offer) => offer.atomic, test: `${PUSH}atomic` },
  { by: "receive-pack", name: "ofs-delta", test: `${PUSH}ofs-delta` },
  { by: "receive-pack", name: "push-options", test: `${PUSH}push-options` },
  { by: "receive-pack", name: "object-format", value: () => "sha1", test: `${PUSH}object-format` },
  { by: "receive-pack", name: "agent", value: (offer) => offer.agent, test: `${PUSH}agent` },

  { by: "v2", name: "agent", value: (offer) => offer.agent, test: `${FETCH_V2}agent` },
  { by: "v2", name: "ls-refs=unborn", test: `${FETCH_V2}ls-refs=unborn` },
  { by: "v2", name: "fetch=shallow", test: `${FETCH_V2}fetch=shallow` },
  { by: "v2", name: "fetch=wait-for-done", test: `${FETCH_V2}fetch=wait-for-done` },
  { by: "v2", name: "fetch=filter", test: `${FETCH_V2}fetch=filter` },
  { by: "v2", name: "fetch=ref-in-want", test: `${FETCH_V2}fetch=ref-in-want` },
  { by: "v2", name: "fetch=sideband-all", test: `${FETCH_V2}fetch=sideband-all` },
  { by: "v2", name: "server-option", test: `${FETCH_V2}server-option` },
  { by: "v2", name: "object-format", value: () => "sha1", test: `${FETCH_V2}object-format` },
  { by: "v2", name: "object-info", test: `${FETCH_V2}object-info` },
  {
    by: "v2",
    name: "bundle-uri",
    when: (offer) => offer.bundleUri === true,
    test: "interop/bundle-uri.test.ts › bundle-uri",
  },
];

/**
 * `symref` is written by the advertisement itself (its value depends on the refs); its row stands
 * here for its test.
 */
export const SYMREF_ROW: CapabilityRow = {
  by: "upload-pack",
  name: "symref",
  test: `${FETCH_V0}symref`,
};

function offered(by: Advertiser, offer: Offer): readonly CapabilityRow[] {
  return CAPABILITIES.filter((row) => row.by === by && (row.when?.(offer) ?? true));
}

function spelled(row: CapabilityRow, offer: Offer): string {
  return row.value === undefined ? row.name : `${row.name}=${row.value(offer)}`;
}

/**
 * The space-separated list behind the NUL of the first ref. `head`: full name HEAD points at, where
 * HEAD is advertised.
 */
export function advertisedList(
  by: "upload-pack" | "receive-pack",
  offer: Offer,
  head?: string,
): string {
  const list = offered(by, offer).map((row) => spelled(row, offer));
  if (head !== undefined) list.push(`symref=HEAD:${head}`);
  return list.join(" ");
}

/**
 * Version 2's capability lines in order, features joined behind their command: "fetch=shallow
 * wait-for-done …".
 */
export function advertisedLines(offer: Offer): readonly string[] {
  const lines = new Map<string, string>();
  for (const row of offered("v2", offer)) {
    const text = spelled(row, offer);
    const name = text.split("=", 1)[0] ?? text;
    const before = lines.get(name);
    lines.set(name, before === undefined ? text : `${before} ${text.slice(name.length + 1)}`);
  }
  return [...lines.values()];
}

/** Capabilities that a client asked for, by name; true where it gave no value. */
export type ClientCapabilities = ReadonlyMap<string, string | true>;

/**
 * Reads a version 0/1 client's list (space-separated) and checks it.
 *
 * Names Git has never heard of are passed over, as Git does, although gitprotocol-capabilities(5)
 * would have us refuse: clients exist that send their own. A capability of our table that was *not*
 * offered here is refused: whoever asks for `atomic` counts on it. Both side bands together are
 * allowed for the same reason (dulwich sends both): the larger wins. Throws
 * "wire/unknown-capability".
 */
export function readCapabilities(
  by: "upload-pack" | "receive-pack",
  text: string,
  offer: Offer,
): ClientCapabilities {
  const asked = new Map<string, string | true>();
  for (const word of text.split(" ")) {
    if (word === "") continue;
    const equals = word.indexOf("=");
    asked.set(
      equals < 0 ? word : word.slice(0, equals),
      equals < 0 ? true : word.slice(equals + 1),
    );
  }
  for (const row of CAPABILITIES)
    if (row.by === by && asked.has(row.name) && row.when?.(offer) === false)
      throw notOffered(row.name);
  if (asked.has("push-cert")) throw notOffered("push-cert");
  checkObjectFormat(asked.get("object-format"));
  return asked;
}

/** Throws where a client wants another hash than SHA-1. */
export function checkObjectFormat(value: string | true | undefined): void {
  if (value !== undefined && value !== "sha1")
    throw notOffered(`object-format=${value === true ? "" : value}`);
}

/**
 * The fault for what was not advertised; the name is the client's text, cut to a printable line.
 */
export function notOffered(name: string): Fault {
  return new Fault("wire/unknown-capability", {
    name: name.replace(/[^\x20-\x7e]/g, "?").slice(0, LIMITS.messageNameBytesMax),
  });
}

export function bandMode(asked: ClientCapabilities): BandMode {
  if (asked.has("side-band-64k")) return "side-band-64k";
  return asked.has("side-band") ? "side-band" : "none";
}
