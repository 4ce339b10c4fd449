import t from "tap";
import { loadTransport } from "../../src/transport/load.js";
import { transportSuite } from "./transport.js";

const loaded = await loadTransport("uws").catch((error: Error) => error);
if (loaded instanceof Error)
  t.pass("skipped", { skip: `uWebSockets.js does not load on this machine: ${loaded.message}` });
else transportSuite(loaded);
