/**
 * The AWS SDK, loaded with the first store that needs it: 100 ms and 21 MiB. It signs, finds
 * credentials and reads replies. It tries each request once: what a failure means and whether to
 * ask again is decided in outcome.ts and requests.ts, where it is known what was asked.
 */
import { readFile } from "node:fs/promises";
import { rootCertificates } from "node:tls";
import type { S3, S3ClientConfig } from "@aws-sdk/client-s3";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

export interface S3Connection {
  readonly bucket: string;
  /** "https://host:port"; AWS's own of the region without. */
  readonly endpoint?: string;
  /** Without: what the SDK finds, else us-east-1. */
  readonly region?: string;
  /** The bucket is the first part of the path, not of the host's name. */
  readonly pathStyle?: boolean;
  /** Without: the SDK's chain of environment, files, web identity and instance metadata. */
  readonly credentials?: S3Credentials;
  /** Path of a PEM file of authorities that are trusted beside Node.js's own. */
  readonly caFile?: string;
  readonly connectMs?: number;
  /** Silence that ends a request, in the middle of a body too. */
  readonly silenceMs?: number;
  readonly socketsMax?: number;
}

/** Clients that differ in how long they bear silence. */
export interface S3Clients {
  readonly calls: S3;
  /** For what storage may work on for minutes without a word. */
  readonly completions: S3;
  /** Ends the connections. */
  close(): void;
}

/** Throws "settings/bad-value" where the file of authorities cannot be read. */
export async function connectS3(connection: S3Connection): Promise<S3Clients> {
  // Read by the SDK alone: it would warn on standard error of the Node.js that we support.
  process.env["AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"] = "true";
  const { S3 } = await import("@aws-sdk/client-s3");
  const region = connection.region ?? (await foundRegion(new S3({ logger: SILENT })));
  const config = { ...configOf(connection), region };
  const ca = await authoritiesOf(connection.caFile);
  const client = (silenceMs: number) => {
    const made = new S3({ ...config, requestHandler: handlerOf(connection, silenceMs, ca) });
    signByChecksum(made);
    return made;
  };
  const calls = client(connection.silenceMs ?? LIMITS.s3SilenceMs);
  const completions = client(Math.max(connection.silenceMs ?? 0, LIMITS.s3CompletionMs));
  const close = () => {
    calls.destroy();
    completions.destroy();
  };
  return { calls, completions, close };
}

/** Returns what environment or files say, else the region that servers beside AWS mostly take. */
async function foundRegion(client: S3): Promise<string> {
  try {
    return await client.config.region();
  } catch {
    return "us-east-1";
  } finally {
    client.destroy();
  }
}

function configOf({ endpoint, credentials, pathStyle }: S3Connection): S3ClientConfig {
  return {
    maxAttempts: 1,
    // Bodies that we send have their SHA-256; what comes back has Git's own checksums.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    // It costs a round trip, and a connection of its own.
    expectContinueHeader: false,
    logger: SILENT,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(pathStyle === undefined ? {} : { forcePathStyle: pathStyle }),
    ...(credentials === undefined ? {} : { credentials }),
  };
}

const SILENT = {
  trace: () => undefined,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

function handlerOf(connection: S3Connection, silenceMs: number, ca: string[] | undefined) {
  const maxSockets = connection.socketsMax ?? LIMITS.s3SocketsMax;
  return {
    connectionTimeout: connection.connectMs ?? LIMITS.s3ConnectMs,
    socketTimeout: silenceMs,
    httpAgent: { maxSockets },
    httpsAgent: { maxSockets, ...(ca === undefined ? {} : { ca }) },
    logger: SILENT,
  };
}

async function authoritiesOf(caFile: string | undefined): Promise<string[] | undefined> {
  if (caFile === undefined) return undefined;
  try {
    return [...rootCertificates, await readFile(caFile, "utf8")];
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Fault("settings/bad-value", { file: caFile, reason: code }, error);
  }
}

/**
 * Signs a body by the SHA-256 that it is sent with: the SDK would hash it once more, on the main
 * thread.
 */
function signByChecksum(client: S3): void {
  client.middlewareStack.add(
    (next) => (args) => {
      const { headers } = args.request as { headers: Record<string, string> };
      const sum = headers["x-amz-checksum-sha256"];
      if (sum !== undefined)
        headers["x-amz-content-sha256"] = Buffer.from(sum, "base64").toString("hex");
      return next(args);
    },
    { step: "build", name: "signByChecksum", priority: "low" },
  );
}
