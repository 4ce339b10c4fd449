/**
 * Settings: one table. Each can stand in lakepack.yaml under its name, in the environment as
 * LAKEPACK_<NAME>, or on the command line as --<name>; later ones win. A wrong or unknown setting
 * stops the start and says its name, its value and what is allowed.
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { isPostgresUrl, readPostgresUrl } from "../../database/postgres-url.js";
import { isUnsettable, readFsckLevels } from "../../git/fsck/levels.js";
import { complaintOfTemplate, PREFIX_TEMPLATE } from "../../serve/conversation/repository-name.js";
import { isKey } from "../../store/key.js";
import { parseYaml } from "../../lakefs/api/yaml.js";

const SIZE = /^(\d+)([kmgt]?)$/i;
const SIZE_UNITS: Readonly<Record<string, number>> = {
  "": 1,
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
  t: 1024 ** 4,
};

const address = z
  .string()
  .regex(/^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$/)
  .transform(splitAddress);
const size = z
  .union([z.string(), z.number()])
  .transform(String)
  .pipe(z.string().regex(SIZE).transform(parseSize));
const flag = z
  .union([z.boolean(), z.enum(["true", "false"])])
  .transform((value) => value === true || value === "true");
const count = (max: number) => z.coerce.number().int().min(1).max(max);
const list = z.union([
  z.array(z.string()),
  z.string().transform((text) =>
    text
      .split(",")
      .map((item) => item.trim())
      .filter(Boolean),
  ),
]);

/** "s3://bucket/prefix": the prefix may be empty, and is a key of the store (store/key.ts). */
const BUCKET = /^s3:\/\/([0-9a-z][0-9a-z.-]{1,61}[0-9a-z])(?:\/([0-9A-Za-z._~@=+/-]*))?$/;
const bucket = z
  .string()
  .regex(BUCKET)
  .transform((text): Bucket => {
    const [, name = "", prefix = ""] = BUCKET.exec(text) ?? [];
    return { bucket: name, prefix: prefix.replace(/\/+$/, "") };
  })
  .refine(({ prefix }) => prefix === "" || isKey(prefix));

const prefixTemplate = z.string().superRefine((text, context) => {
  const message = complaintOfTemplate(text);
  if (message !== undefined) context.addIssue({ code: "custom", message, params: TOLD });
});

/** The reason of an issue of this kind is told. */
const TOLD = { told: true } as const;

const fsckLevels = z
  .union([z.string(), z.record(z.string(), z.unknown())])
  .transform((given, context) => {
    const levels = readFsckLevels(given);
    if (!isUnsettable(levels)) return levels;
    context.addIssue({ code: "custom", message: levels.reason, params: TOLD });
    return z.NEVER;
  });

const KEY_BYTES_MIN = 32;
const keys = list.transform((texts, context) =>
  texts.map((text) => {
    const key = readKey(text);
    if (key === undefined) context.addIssue({ code: "custom", message: "no key" });
    return key ?? new Uint8Array(0);
  }),
);

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface Bucket {
  readonly bucket: string;
  /** Without a "/" at its ends. */
  readonly prefix: string;
}

interface Setting<T> {
  readonly schema: z.ZodType<T>;
  /** As it would be written. */
  readonly fallback: string;
  readonly allowed: string;
  readonly about: string;
}

function setting<T>(
  schema: z.ZodType<T>,
  fallback: string,
  allowed: string,
  about: string,
): Setting<T> {
  return { schema, fallback, allowed, about };
}

export const SETTINGS = {
  listen: setting(
    address,
    "127.0.0.1:8080",
    "host:port; with auth none a loopback host, with auth token one only unless TLS or trusted proxies are set; port 0 takes a free one",
    "where HTTP is served",
  ),
  data: setting(z.string().min(1), "./data", "a folder", "store, database and caches"),
  auth: setting(
    z.enum(["none", "token"]),
    "none",
    "none (this machine only) or token",
    "whether callers sign in, with tokens that `lakepack token` makes",
  ),
  database: setting(
    z.string().refine((text) => !isAddress(text) || readPostgresUrl(text) !== undefined),
    "",
    "a file's path; empty for lakepack.db in the data folder; or postgres://user:password@host:port/name, with ?sslmode=disable, require or verify-full",
    "users, tokens, permissions and names of repositories: SQLite, or PostgreSQL, which several servers may share; its password is never logged",
  ),
  database_ca: setting(
    z.string(),
    "",
    "a PEM file, or empty for those that the system trusts",
    "with PostgreSQL over TLS: who signs its certificate",
  ),
  database_connections: setting(
    count(LIMITS.databaseConnectionsMax),
    String(LIMITS.databaseConnections),
    `1 to ${LIMITS.databaseConnectionsMax}`,
    "with PostgreSQL: connections of this server at most",
  ),
  default_visibility: setting(
    z.enum(["private", "public"]),
    "private",
    "private or public",
    "with auth token: of a repository that a first push makes",
  ),
  denied_status: setting(
    z.coerce
      .string()
      .pipe(z.enum(["404", "403"]))
      .transform((text) => (text === "403" ? (403 as const) : (404 as const))),
    "404",
    "404 or 403",
    "with auth token: what somebody signed in is told of a repository that is not for them; 404 does not tell that it exists",
  ),
  public_url: setting(
    z.union([
      z.literal(""),
      z.url({ protocol: /^https?$/ }).transform((url) => url.replace(/\/+$/, "")),
    ]),
    "",
    "an http or https URL, or empty for what the request says",
    "how clients reach this server, for links of Git LFS and pages",
  ),
  trusted_proxies: setting(
    list,
    "",
    "addresses and networks (10.0.0.0/8) separated by commas",
    "proxies whose Forwarded and X-Forwarded-* headers are believed",
  ),
  tls_cert: setting(
    z.string(),
    "",
    "a PEM file (the chain, ours first), or empty",
    "serve HTTPS; with tls_key",
  ),
  tls_key: setting(z.string(), "", "a PEM file, or empty", "the certificate's key"),
  hsts_seconds: setting(
    z.coerce.number().int().min(0).max(63_072_000),
    "0",
    "0 (never) to 63072000",
    "with HTTPS: how long browsers and git keep to it for this host (Strict-Transport-Security)",
  ),
  keep_alive_seconds: setting(
    count(3_600),
    String(LIMITS.connectionKeepMs / 1_000),
    "1 to 3600",
    "with transport node: how long a connection is kept between two requests (uws: 10)",
  ),
  connections_per_address: setting(
    z.coerce.number().int().min(0).max(1_000_000),
    String(LIMITS.addressConnectionsMax),
    "0 (any number) to 1000000",
    "connections of one address at once, trusted proxies aside",
  ),
  store: setting(
    z.union([z.literal("disk"), bucket]),
    "disk",
    "disk (the data folder) or s3://bucket/prefix",
    "where repositories are kept",
  ),
  s3_endpoint: setting(
    z.union([z.literal(""), z.url({ protocol: /^https?$/ })]),
    "",
    "an http or https URL, or empty for AWS",
    "with store s3://…: the object store's address",
  ),
  s3_region: setting(
    z.string().regex(/^[0-9A-Za-z-]*$/),
    "",
    "a region, or empty for what the AWS SDK finds (AWS_REGION, ~/.aws/config), else us-east-1",
    "with store s3://…: requests are signed for it",
  ),
  s3_path_style: setting(
    z.union([z.literal("auto"), flag]),
    "auto",
    "auto (true where s3_endpoint is set), true or false",
    "with store s3://…: the bucket stands in the path and not in the host's name",
  ),
  s3_ca: setting(
    z.string(),
    "",
    "a PEM file, or empty for the system's",
    "with store s3://…: certificate authorities that the object store's certificate may be of",
  ),
  s3_timeout_seconds: setting(
    count(3_600),
    String(LIMITS.s3SilenceMs / 1_000),
    "1 to 3600",
    "with store s3://…: how long the object store may be silent in the middle of a request",
  ),
  store_cache_bytes: setting(
    size,
    "32g",
    "bytes, with k, m, g or t",
    "with store s3://…: copies of packs and their tables kept on this machine's disk",
  ),
  repository_prefix: setting(
    prefixTemplate,
    PREFIX_TEMPLATE,
    "a template with {id} (never used again), and perhaps {type} {ns} {name} {workspace} {alias}, as they are when the repository is made",
    "place of new repositories in the store: {workspace}/artifacts/{id}; it stays what it was when they were made",
  ),
  manifest_fresh_ms: setting(
    z.coerce.number().int().min(0).max(60_000),
    "0",
    "0 (never) to 60000",
    "with store s3://…: so long a repository's refs are served without asking the object store whether another server has changed them",
  ),
  transport: setting(
    z.enum(["auto", "uws", "node"]),
    "auto",
    "auto, uws or node",
    "HTTP front end: uWebSockets.js or node:http",
  ),
  default_branch: setting(
    z.string().regex(/^[0-9A-Za-z][0-9A-Za-z._/-]*$/),
    "main",
    "a branch name",
    "HEAD of a new repository",
  ),
  create_on_push: setting(flag, "true", "true or false", "a first push makes the repository"),
  pool_threads: setting(
    z.union([z.literal("auto"), count(LIMITS.poolThreadsMax)]),
    "auto",
    `auto (one a core, at least two) or 1 to ${LIMITS.poolThreadsMax}`,
    "worker threads",
  ),
  pool_queue: setting(
    count(LIMITS.poolQueueSettingMax),
    String(LIMITS.poolQueueMax),
    `1 to ${LIMITS.poolQueueSettingMax}`,
    "tasks that may wait for a thread",
  ),
  drain_seconds: setting(
    z.coerce.number().int().min(0).max(3_600),
    "5",
    "0 to 3600",
    "after SIGTERM /readyz says no and requests are still served",
  ),
  stop_seconds: setting(
    z.coerce.number().int().min(0).max(86_400),
    "30",
    "0 to 86400",
    "after that running requests have this long to end",
  ),
  cache_bytes: setting(size, "4g", "bytes, with k, m, g or t", "generated packs kept on disk"),
  gc_grace_hours: setting(
    count(LIMITS.gcGraceHoursMax),
    "24",
    `1 to ${LIMITS.gcGraceHoursMax}`,
    "files of a repository that nothing has named for so long (packs made one with others, leavings of failed pushes) are removed",
  ),
  pack_bytes_max: setting(size, "1t", "bytes, with k, m, g or t", "largest pack a push may bring"),
  ingest_memory_bytes: setting(
    size,
    "256m",
    "bytes, with k, m or g",
    "memory of one push for inflated deltas",
  ),
  fsck: setting(flag, "true", "true or false", "refuse malformed objects (receive.fsckObjects)"),
  fsck_levels: setting(
    fsckLevels,
    "",
    "pairs id=level separated by commas, level one of error, warn and ignore; in the file also a map",
    "what becomes of single messages of fsck (receive.fsck.<id>): missingEmail=ignore,badTimezone=warn",
  ),
  fsck_skip_list: setting(
    z.string(),
    "",
    "a file with an object id a line, # begins a comment; empty for none",
    "objects that are not checked (receive.fsck.skipList); read at the start",
  ),
  lfs_missing_objects: setting(
    z.enum(["refuse", "warn"]),
    "refuse",
    "refuse or warn",
    "a push whose LFS pointers have no file here; in a lakeFS repository it is always refused",
  ),
  repositories_per_user: setting(
    z.coerce.number().int().min(0).max(100_000_000),
    "10000",
    "0 (any number) to 100000000",
    "repositories of one namespace; only an administrator's push may make more",
  ),
  deny_non_fast_forwards: setting(flag, "false", "true or false", "receive.denyNonFastForwards"),
  deny_deletes: setting(flag, "false", "true or false", "receive.denyDeletes"),
  deny_delete_current: setting(flag, "true", "true or false", "receive.denyDeleteCurrent"),
  bundle_uri: setting(
    flag,
    "false",
    "true or false",
    "make bundles of repositories of our own store that are cloned often, and tell clients of them (bundle-uri)",
  ),
  allow_any_want: setting(flag, "false", "true or false", "uploadpack.allowAnySHA1InWant"),
  lakefs_endpoint: setting(
    z.union([z.literal(""), z.url()]),
    "",
    "a URL, or empty for none",
    "lakeFS whose repositories are served at /lakefs/<repository>.git",
  ),
  lakefs_access_key_id: setting(z.string(), "", "an access key of lakeFS", "with lakefs_endpoint"),
  lakefs_secret_access_key: setting(
    z.string(),
    "",
    "its secret; in the file within quotes",
    "with lakefs_endpoint; never logged",
  ),
  lakefs_credentials: setting(
    z.string(),
    "",
    "a YAML file that only its owner may read, or empty for none",
    "keys of lakeFS by who pushes and where to: a list of account and/or repository (a pattern), access_key_id, secret_access_key, perhaps endpoint; read at the start",
  ),
  lakefs_without_credentials: setting(
    z.enum(["server", "refuse"]),
    "server",
    "server or refuse",
    "with lakefs_credentials: a push that no entry is for uses lakefs_access_key_id, or is refused",
  ),
  lakefs_refs_wait_seconds: setting(
    count(3_600),
    String(LIMITS.lakefsRefsWaitMs / 1_000),
    "1 to 3600",
    "how long a list of refs waits for commits that are new in lakeFS; reading them goes on after that",
  ),
  lakefs_patience_seconds: setting(
    count(3_600),
    String(LIMITS.lakefsPatienceMs / 1_000),
    "1 to 3600",
    "how long a lakeFS that is away is waited for in the middle of a request",
  ),
  lakefs_serve_stale: setting(
    flag,
    "false",
    "true or false",
    "while lakeFS is away, serve what is known of it for reading, with a notice",
  ),
  naming: setting(
    z.enum(["identity", "kohakuhub"]),
    "identity",
    "identity or kohakuhub",
    "names of lakeFS repositories: their own, or also a KohakuHub's /ns/name.git (which are read-only)",
  ),
  lakefs_forced_pushes: setting(
    flag,
    "false",
    "true or false",
    "whether a push may take commits away from a lakeFS branch, whose old head is then kept on a hidden branch, or move a tag",
  ),
  lakefs_pre_commit: setting(
    z.enum(["refuse", "pass"]),
    "refuse",
    "refuse or pass",
    "a push to a lakeFS branch whose hooks on commits (pre-commit, prepare-commit) it cannot run: it is refused, or lands with a warning",
  ),
  lakefs_poll_seconds: setting(
    z.coerce.number().int().min(0).max(86_400),
    "10",
    "0 (never) to 86400",
    "how often the heads of lakeFS repositories in use are looked at, so that new commits are read before anyone asks",
  ),
  lakefs_webhook_secret: setting(
    z.string(),
    "",
    "any text (in the file within quotes), or empty for no webhooks",
    "what lakeFS must send as X-Lakepack-Secret to /api/lakefs/webhook; never logged",
  ),
  seal_key: setting(
    keys,
    "",
    `one or several keys separated by commas, each at least ${KEY_BYTES_MIN} bytes in hex or base64; empty for the database's own`,
    "what servers that share a lakeFS and no database vouch to each other with, so that contents are hashed once: the first signs, all verify; never logged",
  ),
  secrets_key: setting(
    keys,
    "",
    `one or several keys separated by commas, each at least ${KEY_BYTES_MIN} bytes in hex or base64; empty: they stand as they are`,
    "what the keys of links and seals in the database are wrapped by, so that its dump alone gives none away: the first wraps, all unwrap; the same on all servers; never logged",
  ),
  push_commits_max: setting(
    count(1_000_000),
    "10000",
    "1 to 1000000",
    "commits of one push to a lakeFS repository",
  ),
  plain_file_bytes_max: setting(
    size,
    "256m",
    "bytes, with k, m or g",
    "largest file a push to a lakeFS repository may have outside Git LFS",
  ),
  lfs_threshold: setting(
    count(2 ** 40),
    "1000000",
    "bytes",
    "files of this size and more become LFS pointers; counts only for a lakeFS repository seen for the first time",
  ),
  cors_origins: setting(
    list,
    "",
    "origins separated by commas",
    "web pages that may call the Git routes",
  ),
  log_level: setting(
    z.enum(["silent", "error", "warn", "info", "debug", "trace"]),
    "info",
    "silent, error, warn, info, debug or trace",
    "log",
  ),
} as const;

export type SettingName = keyof typeof SETTINGS;
export type Settings = {
  readonly [K in SettingName]: (typeof SETTINGS)[K] extends Setting<infer T> ? T : never;
};

/** Variables by name, as in process.env. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Settings as somebody gave them; values as written. */
export type Given = Readonly<Record<string, unknown>>;

/** Settings whose values are shown to nobody. */
const SECRET = /secret|seal_key/;
const ENVIRONMENT_PREFIX = "LAKEPACK_";
const SETTINGS_FILE = "lakepack.yaml";

/** Reads file, environment and command line. Throws "settings/bad-value". */
export function readSettings(
  flags: Given,
  environment: Environment,
  file: string = SETTINGS_FILE,
): Settings {
  return checkSettings({
    ...fromFile(file, file !== SETTINGS_FILE),
    ...fromEnvironment(environment),
    ...flags,
  });
}

/**
 * Reads values as written, with defaults for those that are absent. Throws "settings/bad-value".
 */
export function checkSettings(given: Given): Settings {
  const settings: Record<string, unknown> = {};
  for (const name of Object.keys(given)) if (!Object.hasOwn(SETTINGS, name)) throw unknown(name);
  for (const [name, { schema, fallback, allowed }] of Object.entries(SETTINGS)) {
    const value = given[name] ?? fallback;
    const parsed = schema.safeParse(value);
    if (!parsed.success) {
      const reason = toldReason(parsed.error);
      throw new Fault("settings/bad-value", {
        name,
        value: isSecret(name, value) ? "not shown" : shown(value),
        reason,
        allowed,
      });
    }
    settings[name] = parsed.data;
  }
  return settings as Settings;
}

/** An address of a database may hold a password, also where it cannot be read. */
function isSecret(name: string, value: unknown): boolean {
  return SECRET.test(name) || (name === "database" && isAddress(shown(value)));
}

/** No file is called so. */
function isAddress(text: string): boolean {
  return isPostgresUrl(text) || text.includes("://");
}

function toldReason({ issues }: z.ZodError): string | undefined {
  const issue = issues.find((one) => one.code === "custom" && one.params?.["told"] === true);
  return issue?.message;
}

function shown(value: unknown): string {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** Hex, or base64 of either alphabet; undefined: neither, or too short. */
function readKey(text: string): Uint8Array | undefined {
  const isHex = /^([0-9a-fA-F]{2})+$/.test(text);
  if (!isHex && !/^[0-9A-Za-z+/_-]+={0,2}$/.test(text)) return undefined;
  const key = Buffer.from(text, isHex ? "hex" : "base64");
  return key.length >= KEY_BYTES_MIN ? key : undefined;
}

function unknown(name: string): Fault {
  return new Fault("settings/bad-value", {
    name,
    reason: "no such setting",
    allowed: Object.keys(SETTINGS).join(" "),
  });
}

function fromFile(file: string, required: boolean): Given {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if (!required && (error as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw new Fault("settings/bad-value", {
      name: "config",
      value: file,
      reason: (error as Error).message,
    });
  }
  const value = readYaml(text, file);
  if (typeof value !== "object" || Array.isArray(value)) {
    throw new Fault("settings/bad-value", {
      name: "config",
      value: file,
      allowed: "lines of `name: value`",
    });
  }
  return value as Given;
}

/**
 * Reads YAML; of a broken file only the place is told, as the parser quotes the line, which may
 * hold a secret.
 */
function readYaml(text: string, file: string): unknown {
  try {
    return parseYaml(text) ?? {};
  } catch (error) {
    const line = (error as { linePos?: readonly { line: number }[] }).linePos?.[0]?.line;
    throw new Fault(
      "settings/bad-value",
      { name: "config", value: file, line, allowed: "lines of `name: value`" },
      error,
    );
  }
}

function fromEnvironment(environment: Environment): Given {
  const given: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(environment)) {
    if (name.startsWith(ENVIRONMENT_PREFIX))
      given[name.slice(ENVIRONMENT_PREFIX.length).toLowerCase()] = value;
  }
  return given;
}

function splitAddress(text: string): Address {
  const colon = text.lastIndexOf(":");
  return {
    host: text.slice(0, colon).replace(/^\[|\]$/g, ""),
    port: Number(text.slice(colon + 1)),
  };
}

function parseSize(text: string): number {
  const [, digits, unit] = SIZE.exec(text) as unknown as [string, string, string];
  return Number(digits) * (SIZE_UNITS[unit.toLowerCase()] as number);
}
