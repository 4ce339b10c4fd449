/** A failure as a reply: short plain text, since go-git and others show it to a person as it is. */
import { utf8 } from "../../base/bytes.js";
import { asFault, clientText } from "../../base/fault.js";
import type { HttpReply } from "./contract.js";

/** Seconds a client should wait before it tries again. */
const RETRY_AFTER_S = 5;

/**
 * Never to be kept by anybody. The three headers Git's own http-backend sends. gitprotocol-http(5)
 * "Smart Server Response".
 */
export const NO_CACHE: readonly (readonly [string, string])[] = [
  ["Expires", "Fri, 01 Jan 1980 00:00:00 GMT"],
  ["Pragma", "no-cache"],
  ["Cache-Control", "no-cache, max-age=0, must-revalidate"],
];

/** Without it no client sends what it has. RFC 7617, 2. */
export const CHALLENGE = 'Basic realm="lakepack", charset="UTF-8"';

/**
 * The status the failure's row names, its text and the request's id. Facts that are ours alone (a
 * path, a stack) are not said. Parts of the request may be in it: no browser is to take them for a
 * page.
 */
export function faultReply(error: unknown, requestId: string): HttpReply {
  const fault = asFault(error);
  const headers: (readonly [string, string])[] = [
    ["Content-Type", "text/plain; charset=utf-8"],
    ["X-Content-Type-Options", "nosniff"],
    ...NO_CACHE,
  ];
  if (fault.row.http === 401) headers.push(["WWW-Authenticate", CHALLENGE]);
  if (fault.row.http === 503 || fault.row.http === 429)
    headers.push(["Retry-After", String(RETRY_AFTER_S)]);
  if (fault.code === "http/method" && typeof fault.facts.allow === "string")
    headers.push(["Allow", fault.facts.allow]);
  return {
    status: fault.row.http,
    headers,
    body: utf8(`lakepack: ${clientText(fault)}\nrequest ${requestId}\n`),
    clientThinks: fault.row.http === 401,
  };
}
