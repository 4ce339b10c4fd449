/** JSON bodies of requests, bounded. */
import { Fault } from "../../base/fault.js";
import type { ByteSource } from "../../base/flow.js";

/**
 * Throws "wire/too-much" where it is longer than `bytesMax`, "http/bad-request" where it is not
 * JSON.
 */
export async function readJsonBody(body: ByteSource, bytesMax: number): Promise<unknown> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for (let chunk = await body.read(); chunk !== undefined; chunk = await body.read()) {
    length += chunk.length;
    if (length > bytesMax) throw new Fault("wire/too-much", { bytesMax });
    parts.push(Buffer.from(chunk));
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString("utf8")) as unknown;
  } catch {
    throw new Fault("http/bad-request", { reason: "the body is not JSON" });
  }
}
