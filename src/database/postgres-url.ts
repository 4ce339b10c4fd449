/**
 * Addresses of PostgreSQL: postgres://user:password@host:port/name?sslmode=require. A socket's
 * folder stands in place of the host with its slashes as %2F, as PostgreSQL's own programs take it.
 * What is left out is as they have it: PGUSER, PGPASSWORD and ~/.pgpass count.
 */
const SSL_MODES = ["disable", "require", "verify-full"] as const;
export type SslMode = (typeof SSL_MODES)[number];

export interface PostgresAddress {
  /** A name, an address, or a folder, which begins with a slash. */
  readonly host: string;
  readonly port: number;
  /** Undefined, as the two below: as the environment says. */
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly name: string | undefined;
  readonly sslMode: SslMode;
}

const PORT = 5_432;
const LOOPBACK = /^(localhost|127(\.\d+){3}|::1)$/;

/** Returns whether a text means to be such an address, well or badly. */
export function isPostgresUrl(text: string): boolean {
  return /^postgres(ql)?:/i.test(text);
}

/** Undefined: it is none, or says what is not known here. */
export function readPostgresUrl(text: string): PostgresAddress | undefined {
  if (!isPostgresUrl(text) || !URL.canParse(text)) return undefined;
  const url = new URL(text);
  try {
    return addressOf(url);
  } catch {
    return undefined; // a bad escape: the caller says what is allowed
  }
}

function addressOf(url: URL): PostgresAddress | undefined {
  const host = decodeURIComponent(url.hostname).replace(/^\[|\]$/g, "");
  const names = [...url.searchParams.keys()];
  const given = url.searchParams.get("sslmode") ?? defaultMode(host);
  const sslMode = SSL_MODES.find((mode) => mode === given);
  const isKnown = host !== "" && url.hash === "" && names.every((name) => name === "sslmode");
  if (!isKnown || sslMode === undefined) return undefined;
  return {
    host,
    port: url.port === "" ? PORT : Number(url.port),
    user: decoded(url.username),
    password: decoded(url.password),
    name: decoded(url.pathname.replace(/^\//, "")),
    sslMode,
  };
}

/** Nobody listens within this machine; beyond it a password never travels in clear text unasked. */
function defaultMode(host: string): SslMode {
  return host.startsWith("/") || LOOPBACK.test(host) ? "disable" : "require";
}

function decoded(text: string): string | undefined {
  return text === "" ? undefined : decodeURIComponent(text);
}

/** "host:port/name" of such an address: nothing secret. */
export function placeOf(url: string): string {
  const address = readPostgresUrl(url);
  if (address === undefined) return "";
  const { host, port, name } = address;
  return `${host.includes(":") ? `[${host}]` : host}:${port}/${name ?? ""}`;
}
