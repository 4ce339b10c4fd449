/**
 * Decides who may talk to a server without authentication: this machine, directly. A web page
 * elsewhere, a name that merely resolves to this machine (DNS rebinding) or a proxy that was set up
 * in front of it must not get in by accident.
 */
import { Fault } from "../../base/fault.js";
import type { HttpRequest } from "./contract.js";

/** Throws "http/forbidden-origin". `origins`: web pages allowed by the settings. */
export function checkLoopback(request: HttpRequest, origins: readonly string[]): void {
  const host = request.header("host");
  if (host === undefined || !isLoopback(host))
    throw new Fault("http/forbidden-origin", { header: "Host" });
  const origin = request.header("origin");
  if (
    origin !== undefined &&
    !origins.includes(origin) &&
    !isLoopback(origin.replace(/^https?:\/\//, ""))
  )
    throw new Fault("http/forbidden-origin", { header: "Origin" });
  const proxied = forwardingHeader(request);
  if (proxied !== undefined) throw new Fault("http/forbidden-origin", { header: proxied });
}

const HOST = /^(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(:[0-9]{1,5})?$/;

/**
 * Returns whether the text names a host, with or without a port, and nothing else: it goes into
 * links and pages.
 */
export function isHost(text: string): boolean {
  return HOST.test(text);
}

/** Throws "http/bad-request" for a Host header that names none, or two. RFC 9112, 3.2. */
export function checkHost(request: HttpRequest): void {
  const host = request.header("host");
  if (host !== undefined && !isHost(host))
    throw new Fault("http/bad-request", { header: "Host", reason: "it names no host, or several" });
}

/** Returns whether a proxy says that it passed the request on. */
export function isForwarded(request: HttpRequest): boolean {
  return forwardingHeader(request) !== undefined;
}

function forwardingHeader(request: HttpRequest): string | undefined {
  for (const name of request.headerNames())
    if (PROXY_HEADERS.has(name) || PROXY_PREFIXES.test(name)) return name;
  return undefined;
}

/**
 * Headers that proxies, balancers and networks of them put on a request that they pass on. One that
 * says nothing of itself cannot be told from this machine. RFC 9110, 7.6.3 (Via); RFC 7239; RFC
 * 8586 (CDN-Loop); the manuals of nginx, Envoy, Akamai, Fastly and the like.
 */
const PROXY_HEADERS: ReadonlySet<string> = new Set([
  "forwarded",
  "via",
  "cdn-loop",
  "x-real-ip",
  "x-client-ip",
  "x-cluster-client-ip",
  "x-proxyuser-ip",
  "client-ip",
  "true-client-ip",
  "x-remote-ip",
  "x-remote-addr",
  "x-originating-ip",
  "x-host",
  "x-scheme",
  "x-amzn-trace-id",
  "x-arr-ssl",
  "x-arr-log-id",
  "x-cloud-trace-context",
  "x-appengine-user-ip",
  "incap-client-ip",
  "wl-proxy-client-ip",
  "proxy-client-ip",
  "x-varnish",
  "x-proxy-id",
  "front-end-https",
]);
const PROXY_PREFIXES =
  /^(x-forwarded|cf-|fastly-|fly-|x-envoy-|x-original-|x-azure-|x-vercel-|akamai-|tailscale-)/;

/** "127.0.0.1:8080", "localhost", "[::1]:80". */
export function isLoopback(hostAndPort: string): boolean {
  return /^(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?$/i.test(hostAndPort);
}

/**
 * Headers a page of a listed origin needs to read a reply; none for anybody else. Fetch standard,
 * "CORS protocol".
 */
export function corsHeaders(
  request: HttpRequest,
  origins: readonly string[],
): readonly (readonly [string, string])[] {
  const origin = request.header("origin");
  if (origins.length === 0) return [];
  if (origin === undefined || !origins.includes(origin)) return [["Vary", "Origin"]];
  return [
    ["Access-Control-Allow-Origin", origin],
    ["Access-Control-Expose-Headers", "WWW-Authenticate, LFS-Authenticate, Retry-After"],
    ["Vary", "Origin"],
  ];
}

/**
 * Headers that a browser needs before it sends a Git request: methods and the headers Git clients
 * set.
 */
export const PREFLIGHT: readonly (readonly [string, string])[] = [
  ["Access-Control-Allow-Methods", "GET, HEAD, POST"],
  [
    "Access-Control-Allow-Headers",
    "Authorization, Content-Type, Content-Encoding, Accept, Git-Protocol, X-Requested-With",
  ],
  ["Access-Control-Max-Age", "7200"],
];
