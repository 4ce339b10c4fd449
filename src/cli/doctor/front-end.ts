/**
 * Finds out what the front end of a running server answers by itself, and whether the way of its
 * clients to it is open.
 */
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import { LIMITS } from "../../base/limits.js";
import type { Check } from "./check.js";
import type { Settings } from "../server/settings.js";

const ADVICE =
  "set `proxy_http_version 1.1` in the proxy (nginx speaks 1.0 unless told), or transport to node";

/** Undefined where no server listens at the settings' address: there is nothing to try. */
export async function checkFrontEnd(settings: Settings): Promise<Check | undefined> {
  const { host, port } = settings.listen;
  const known = await firstLine(
    settings,
    `GET /healthz HTTP/1.1\r\nHost: localhost:${port}\r\nConnection: close\r\n\r\n`,
  );
  if (known === undefined) return undefined;
  const where = `${host}:${port}`;
  if (!/^HTTP\/1\.1 200 /.test(known)) {
    return {
      name: "front end",
      good: false,
      found: `${where} answers: ${known}`,
      advice: "see which program listens there",
    };
  }
  const old = await firstLine(settings, `GET /healthz HTTP/1.0\r\nHost: localhost:${port}\r\n\r\n`);
  const isServed = /^HTTP\/1\.[01] 200 /.test(old ?? "");
  const says = isServed
    ? "serves HTTP/1.1 and HTTP/1.0"
    : "serves HTTP/1.1, and refuses HTTP/1.0 and absolute-form targets in compiled code (uws), without a line in the log";
  const open = settings.public_url === "" ? undefined : await throughProxy(settings.public_url);
  if (open === undefined || open === "ok") {
    const way = open === "ok" ? `; ${settings.public_url} leads to it` : "";
    return { name: "front end", good: true, found: `${where} ${says}${way}` };
  }
  return {
    name: "front end",
    good: false,
    found: `${where} ${says}; ${settings.public_url} does not lead to it: ${open}`,
    advice: ADVICE,
  };
}

/** "ok", or what came instead. */
async function throughProxy(url: string): Promise<string> {
  try {
    const reply = await fetch(`${url}/healthz`, {
      signal: AbortSignal.timeout(LIMITS.doctorProbeMs),
    });
    const text = (await reply.text()).trim();
    return reply.status === 200 && text === "ok" ? "ok" : `status ${reply.status}`;
  } catch (error) {
    return String((error as { readonly cause?: Error }).cause?.message ?? (error as Error).message);
  }
}

/**
 * The first line of the answer, "" where the connection ends without one; undefined: nobody
 * listens, or in time nobody answers.
 */
function firstLine(
  { listen: { host, port }, tls_cert: certificate }: Settings,
  request: string,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    // Who serves there is asked, not trusted: its certificate names another host than the one that
    // is listened on.
    const socket =
      certificate === ""
        ? connect({ host, port })
        : connectTls({ host, port, rejectUnauthorized: false });
    let text = "";
    const end = (found: string | undefined) => {
      socket.destroy();
      resolve(found);
    };
    socket.setTimeout(LIMITS.doctorProbeMs, () => end(undefined));
    socket.once("error", () => end(text === "" ? undefined : text));
    socket.once("close", () => end(text.split("\r\n", 1)[0] ?? ""));
    socket.on("data", (bytes: Buffer) => {
      text += bytes.toString("latin1");
      if (text.includes("\r\n")) end(text.split("\r\n", 1)[0]);
    });
    socket.write(request);
  });
}
