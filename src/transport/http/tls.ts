/**
 * The certificate we serve under, checked before anybody listens: uWebSockets.js says nothing of
 * one it cannot read.
 */
import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import { Fault } from "../../base/fault.js";

/**
 * Ciphers of TLS 1.2: keys that are made anew for each connection, so that a stolen certificate's
 * key opens no recorded one, and ciphers that seal what they hide (no CBC). RFC 9325, 4.2. TLS 1.3
 * has nothing else.
 */
export const CIPHERS = ["ECDSA", "RSA"]
  .flatMap((kind) =>
    ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"].map(
      (cipher) => `ECDHE-${kind}-${cipher}`,
    ),
  )
  .join(":");
const CIPHERS_13 = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

/** For node:https, which takes both lists in one. */
export const TLS_OPTIONS = {
  minVersion: "TLSv1.2",
  ciphers: `${CIPHERS_13}:${CIPHERS}`,
  honorCipherOrder: true,
} as const;

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
    throw new Fault(
      "settings/bad-value",
      {
        name: "tls_cert, tls_key",
        value: `${certificate}, ${key}`,
        reason: (error as Error).message,
      },
      error,
    );
  }
  return text;
}

async function read(name: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new Fault(
      "settings/bad-value",
      { name, value: path, reason: (error as Error).message },
      error,
    );
  }
}
