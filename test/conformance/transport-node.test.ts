import { loadTransport } from "../../src/transport/load.js";
import { transportSuite } from "./transport.js";

transportSuite(await loadTransport("node"));
