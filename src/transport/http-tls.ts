/** The certificate we serve under, checked before anybody listens: uWebSockets.js says nothing of one it cannot read. */
import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import { Fault } from "../base/fault.js";

/** Paths of PEM files: the chain, ours first, and its key. */
export interface TlsFiles {
  readonly certificate: string;
  readonly key: string;
}

export interface TlsText {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** Throws "settings/bad-value". */
export async function readTls({ certificate, key }: TlsFiles): Promise<TlsText> {
  const text = { cert: await read("tls_cert", certificate), key: await read("tls_key", key) };
  try {
    createSecureContext(text);
  } catch (error) {
    throw new Fault("settings/bad-value", { name: "tls_cert, tls_key", value: `${certificate}, ${key}`, reason: (error as Error).message }, error);
  }
  return text;
}

async function read(name: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new Fault("settings/bad-value", { name, value: path, reason: (error as Error).message }, error);
  }
}
