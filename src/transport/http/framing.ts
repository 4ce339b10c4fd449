/**
 * Checks that a request's body has one end: a proxy before us must have seen the same one. RFC
 * 9112, 6.3.
 */
import { Fault } from "../../base/fault.js";
import type { HttpRequest } from "./contract.js";

/**
 * Throws "http/bad-request" for two lengths, a length beside chunks, and codings we would hand on
 * undone.
 */
export function checkFraming(request: Pick<HttpRequest, "header">): void {
  const length = request.header("content-length");
  const coding = request.header("transfer-encoding");
  if (length !== undefined && (coding !== undefined || !/^[0-9]+$/.test(length)))
    throw ambiguous("Content-Length");
  if (coding !== undefined && coding.toLowerCase() !== "chunked")
    throw ambiguous("Transfer-Encoding");
}

/** Returns whether nobody can say where the request ends. */
export function isAmbiguous(request: Pick<HttpRequest, "header">): boolean {
  try {
    checkFraming(request);
    return false;
  } catch {
    return true; // the only thing it throws; told by whoever answers
  }
}

function ambiguous(header: string): Fault {
  return new Fault("http/bad-request", { reason: "the length of the body is ambiguous", header });
}
