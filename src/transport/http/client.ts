/**
 * Finds where a request comes from and how its client spells us, through proxies that are trusted
 * to say so (Forwarded, RFC 7239, and X-Forwarded-*). Nobody else's word counts. Where both kinds
 * of header stand and disagree, one of them came from the client through a proxy that knows only
 * the other: neither is believed.
 */
import { BlockList, isIP, isIPv6 } from "node:net";
import { Fault } from "../../base/fault.js";
import { isForwarded, isHost, isLoopback } from "./guard.js";
import type { HttpRequest } from "./contract.js";

export interface ClientOptions {
  /** Addresses and networks ("10.0.0.0/8") of proxies. */
  readonly trustedProxies: readonly string[];
  /**
   * Spelling of our address for clients, whatever a request says: "https://hub.example"; "" : as
   * the request says.
   */
  readonly publicUrl: string;
  /** We speak TLS ourselves. */
  readonly tls: boolean;
}

export interface Client {
  /** Its address as text. */
  readonly address: string;
  /**
   * Source of failed logins that count together: an IPv4 address, the first 64 bits of an IPv6
   * address.
   */
  readonly source: string;
  /** "https://hub.example", for the lines and links it is given. */
  readonly base: string;
  /** A process of this machine that came without a proxy. */
  readonly isLocal: boolean;
}

export class Clients {
  readonly #options: ClientOptions;
  readonly #trusted: BlockList;

  /** Throws "settings/bad-value". */
  constructor(options: ClientOptions) {
    this.#options = options;
    this.#trusted = readNetworks(options.trustedProxies);
  }

  of(request: HttpRequest): Client {
    const { publicUrl, tls } = this.#options;
    const said = this.#isTrusted(request.remote) ? this.#forwarded(request) : {};
    const address = plainAddress(said.address ?? request.remote);
    const host = said.host ?? request.header("host") ?? "localhost";
    const scheme = said.scheme ?? (tls ? "https" : "http");
    const base = publicUrl === "" ? `${scheme}://${host}` : publicUrl;
    const isLocal = isLoopbackAddress(address) && isLoopback(host) && !isForwarded(request);
    return { address, source: sourceOf(address), base, isLocal };
  }

  #isTrusted(address: string): boolean {
    return isWithin(this.#trusted, address);
  }

  #forwarded(request: HttpRequest): Said {
    const standard = readForwarded(request.header("forwarded"));
    const usual = readXForwarded(request);
    if (standard !== undefined && usual !== undefined) {
      const [one, other] = [this.#believed(standard), this.#believed(usual)];
      return one.address === other.address ? { ...other, ...one } : {};
    }
    return this.#believed(standard ?? usual ?? { hops: [] });
  }

  /** The nearest address that is no trusted proxy's; the nearest proxy's word on the rest. */
  #believed({ hops, scheme, host }: Chain): Said {
    const proxies = [...hops].reverse();
    const address = proxies.find((hop) => !this.#isTrusted(hop)) ?? proxies.at(-1);
    return {
      ...(address !== undefined && isIP(address) !== 0 ? { address } : {}),
      ...(scheme === "http" || scheme === "https" ? { scheme } : {}),
      ...(host !== undefined && isHost(host) ? { host } : {}),
    };
  }
}

interface Said {
  readonly address?: string;
  readonly scheme?: string;
  readonly host?: string;
}

interface Chain {
  /** From the client to the nearest proxy. */
  readonly hops: readonly string[];
  readonly scheme?: string | undefined;
  readonly host?: string | undefined;
}

/** `for=192.0.2.60;proto=http;host=a, for="[2001:db8::1]:4711"`. RFC 7239, 4. */
function readForwarded(header: string | undefined): Chain | undefined {
  if (header === undefined || header === "") return undefined;
  const elements = header.split(",").map((element) => new Map(element.split(";").map(readPair)));
  const last = elements.at(-1);
  return {
    hops: elements.map((element) => withoutPort(element.get("for") ?? "")),
    scheme: last?.get("proto")?.toLowerCase(),
    host: last?.get("host"),
  };
}

function readPair(text: string): readonly [string, string] {
  const [name = "", value = ""] = text.trim().split(/=(.*)/s);
  return [name.toLowerCase(), value.replace(/^"(.*)"$/, "$1")];
}

function readXForwarded(request: HttpRequest): Chain | undefined {
  const [hops, scheme, host] = ["for", "proto", "host"].map((name) =>
    request
      .header(`x-forwarded-${name}`)
      ?.split(",")
      .map((part) => part.trim()),
  );
  if (hops === undefined && scheme === undefined && host === undefined) return undefined;
  return {
    hops: (hops ?? []).map(withoutPort),
    scheme: scheme?.at(-1)?.toLowerCase(),
    host: host?.at(-1),
  };
}

/** "192.0.2.1:80" → "192.0.2.1", "[2001:db8::1]:80" → "2001:db8::1". */
function withoutPort(text: string): string {
  return /^\[([^\]]+)\]/.exec(text)?.[1] ?? text.replace(/^([0-9.]+):[0-9]+$/, "$1");
}

export function isWithin(networks: BlockList, address: string): boolean {
  const version = isIP(address);
  return version !== 0 && networks.check(address, version === 6 ? "ipv6" : "ipv4");
}

/** Throws "settings/bad-value". */
export function readNetworks(texts: readonly string[]): BlockList {
  const list = new BlockList();
  for (const text of texts) {
    const [address = "", prefix] = text.split("/");
    const family = isIPv6(address) ? "ipv6" : "ipv4";
    const bits = prefix === undefined ? (family === "ipv6" ? 128 : 32) : Number(prefix);
    if (
      isIP(address) === 0 ||
      !/^\d{1,3}$/.test(prefix ?? "0") ||
      bits > (family === "ipv6" ? 128 : 32)
    ) {
      throw new Fault("settings/bad-value", {
        name: "trusted_proxies",
        value: text,
        allowed: "addresses and networks (10.0.0.1, 10.0.0.0/8), separated by commas",
      });
    }
    list.addSubnet(address, bits, family);
  }
  return list;
}

/** An IPv4 address that came in IPv6's clothes, as IPv4; others as they are. */
function plainAddress(address: string): string {
  const groups = isIPv6(address) ? ipv6Groups(address) : [];
  if (
    groups.length !== 8 ||
    !groups.slice(0, 5).every((group) => group === 0) ||
    groups[5] !== 0xffff
  )
    return address;
  return groups
    .slice(6)
    .flatMap((group) => [group >> 8, group & 0xff])
    .join(".");
}

function isLoopbackAddress(address: string): boolean {
  if (!isIPv6(address)) return address.startsWith("127.");
  return ipv6Groups(address).every((group, at) => group === (at === 7 ? 1 : 0));
}

function sourceOf(address: string): string {
  if (!isIPv6(address)) return address;
  return ipv6Groups(address)
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(":");
}

/** The eight 16-bit groups of a valid IPv6 address. */
function ipv6Groups(address: string): number[] {
  const text = address
    .replace(/%.*$/, "")
    .replace(
      /(\d+)\.(\d+)\.(\d+)\.(\d+)$/,
      (_, a: string, b: string, c: string, d: string) => `${hex(a, b)}:${hex(c, d)}`,
    );
  const [head = "", tail] = text.split("::");
  const groups = (part: string) =>
    part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16));
  const [front, back] = [groups(head), groups(tail ?? "")];
  return tail === undefined
    ? front
    : [...front, ...Array<number>(Math.max(0, 8 - front.length - back.length)).fill(0), ...back];
}

function hex(high: string, low: string): string {
  return (Number(high) * 256 + Number(low)).toString(16);
}
