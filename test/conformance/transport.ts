/** Contract suite of HTTP front ends: the same for uWebSockets.js and node:http. */
import type { HttpTransport } from "../../src/transport/http/contract.js";
import { connectionSuite } from "./transport-connections.js";
import { messageSuite } from "./transport-messages.js";

export function transportSuite(transport: HttpTransport): void {
  messageSuite(transport);
  connectionSuite(transport);
}
