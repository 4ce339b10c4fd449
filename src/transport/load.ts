/** Chooses the HTTP front end: uWebSockets.js where its binary loads, node:http everywhere else. */
import { Fault } from "../base/fault.js";
import type { HttpTransport } from "./http/contract.js";

/**
 * `preference` "uws" insists: throws "settings/bad-value" with the reason where it does not load.
 */
export async function loadTransport(
  preference: "auto" | "uws" | "node" = "auto",
): Promise<HttpTransport> {
  if (preference !== "node") {
    try {
      return (await import("./http/uws.js")).transport;
    } catch (error) {
      // No npm build covers every Node.js and libc; the start-up line says which front end runs.
      if (preference === "uws")
        throw new Fault(
          "settings/bad-value",
          { name: "transport", value: "uws", reason: String(error).slice(0, 200) },
          error,
        );
    }
  }
  return (await import("./http/node.js")).transport;
}
