/** Certificates of tests, made by openssl. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import type { Test } from "tap";
import { tempFolder } from "./temp-folder.js";

/** False where they can be made; otherwise why tests are skipped. */
export const skipCertificates: false | string =
  spawnSync("openssl", ["version"]).status === 0 ? false : "openssl is not installed";

export interface Certificate {
  readonly certificate: string;
  readonly key: string;
}

/** Paths of PEM files, made for localhost, signed by itself. */
export async function certificate(t: Pick<Test, "teardown">): Promise<Certificate> {
  const folder = await tempFolder(t);
  const made = { certificate: join(folder, "cert.pem"), key: join(folder, "key.pem") };
  const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  const run = spawnSync("openssl", [
    "req",
    "-x509",
    "-newkey",
    "rsa:2048",
    "-nodes",
    "-days",
    "2",
    "-keyout",
    made.key,
    "-out",
    made.certificate,
    ...names,
  ]);
  if (run.status !== 0) throw new Error(run.stderr.toString());
  return made;
}
