/**
 * `lakepack`: the server inside another program. Its exports are held by test/library.test;
 * docs/library.md says what may be relied on.
 */
import { checkSettings, type SettingName } from "../cli/server/settings.js";
import { createLog } from "../observe/log.js";

export type { FaultCode, FaultFacts, FaultRow } from "../base/fault.js";
export { Fault } from "../base/fault.js";
export { VERSION } from "../cli/server/version.js";
export type { SettingName } from "../cli/server/settings.js";

/** A value as it would stand in lakepack.yaml. */
export type SettingValue =
  | string
  | number
  | boolean
  | readonly string[]
  | Readonly<Record<string, string>>;

/**
 * Settings by name, as docs/operating.md lists them; absent ones have their defaults. Neither the
 * environment nor lakepack.yaml is read.
 */
export type ServeSettings = { readonly [K in SettingName]?: SettingValue };

/** A server that runs in this process. */
export interface Served {
  /** Address of the server, without a slash at the end: "http://127.0.0.1:8080". */
  readonly url: string;
  /** The HTTP front end: uWebSockets.js or node:http. */
  readonly transport: "uws" | "node";
  /**
   * With `auth: "token"`, on the first start, an administrator's token. It can be seen this once:
   * call `shown` as soon as somebody has it, until then each start makes another one in its place.
   */
  readonly firstToken: { readonly token: string; shown(): Promise<void> } | undefined;
  /** First phase of the end: `/readyz` says no, and requests are still served. */
  drain(): void;
  /**
   * Second phase: takes no new request, gives running ones `graceMs`, and gives the data folder
   * back.
   */
  stop(graceMs: number): Promise<void>;
}

/**
 * Starts a server and resolves when it listens. It owns its data folder until `stop` has resolved,
 * logs to standard error and runs worker threads. Sets the environment variable
 * UWS_HTTP_MAX_HEADERS_SIZE where it is not set. Throws a `Fault`: "settings/bad-value" for a
 * setting that is unknown or wrong, "store/locked" while another process has the data folder.
 */
export async function serve(settings: ServeSettings = {}): Promise<Served> {
  const checked = checkSettings(settings);
  const { startServer } = await import("../cli/server/server.js"); // all of the engine
  const running = await startServer(checked, createLog(checked.log_level));
  const { url, kind, firstToken } = running;
  return {
    url,
    transport: kind,
    firstToken,
    drain: () => running.drain(),
    stop: (graceMs) => running.stop(graceMs),
  };
}
