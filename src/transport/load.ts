/**
 * Chooses the HTTP front end: uWebSockets.js where its binary is the pinned one and loads,
 * node:http everywhere else.
 */
import { Fault } from "../base/fault.js";
import type { HttpTransport } from "./http/contract.js";
import { type BinaryRefusal, refuseBinary } from "./uws-binary.js";

export interface LoadOptions {
  /** uWebSockets.js's binary; undefined means where npm has installed it. */
  readonly binary?: string;
  /** Hears why node:http serves where either would do. */
  readonly passedOver?: (refusal: BinaryRefusal) => void;
}

/**
 * Returns a front end. `preference` "uws" insists: throws "settings/bad-value" with the reason
 * where uWebSockets.js must not or cannot be loaded.
 */
export async function loadTransport(
  preference: "auto" | "uws" | "node" = "auto",
  { binary, passedOver }: LoadOptions = {},
): Promise<HttpTransport> {
  if (preference === "node") return (await import("./http/node.js")).transport;
  const found = (await refuseBinary(binary)) ?? (await import("./http/uws.js").catch(cannotLoad));
  if ("transport" in found) return found.transport;
  if (preference === "uws")
    throw new Fault("settings/bad-value", {
      name: "transport",
      value: "uws",
      reason: found.reason,
    });
  passedOver?.(found);
  return (await import("./http/node.js")).transport;
}

/** The pinned binary needs a newer libc than some systems have. */
function cannotLoad(error: unknown): BinaryRefusal {
  return {
    kind: "absent",
    reason: `uWebSockets.js does not load (${String(error).slice(0, 200)})`,
  };
}
