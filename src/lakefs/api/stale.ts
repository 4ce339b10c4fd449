/**
 * Serves what is known already while lakeFS is away, where the setting `lakefs_serve_stale` lets
 * us: nobody waits long for it.
 */
import { asFault, Fault } from "../../base/fault.js";
import { LIMITS } from "../../base/limits.js";
import { isAway, type LakefsHttp } from "./http.js";

/**
 * Returns the result of `work`; or what is known, once lakeFS has been away for some seconds, or
 * fails `work` by being away. Where nothing is known (`known` resolves to undefined) `work` has all
 * of its time.
 */
export async function unlessAway<T>(
  http: LakefsHttp,
  work: (signal: AbortSignal) => Promise<T>,
  known: () => Promise<T | undefined>,
  signal: AbortSignal,
): Promise<T> {
  const away = new AbortController();
  const look = async () => {
    if (http.awayMs < LIMITS.lakefsStaleAfterMs) return;
    // What cannot be looked up now is looked up once more when `work` has failed.
    const instead = await known().catch(() => undefined);
    if (instead !== undefined)
      away.abort(new Fault("lakefs/unreachable", { reason: "it is away" }));
  };
  const timer = setInterval(() => void look(), LIMITS.lakefsStaleLookMs);
  try {
    return await work(AbortSignal.any([signal, away.signal]));
  } catch (error) {
    const fault = asFault(error);
    if (signal.aborted || !(away.signal.aborted || isAway(fault))) throw fault;
    const instead = await known();
    if (instead === undefined) throw fault;
    return instead;
  } finally {
    clearInterval(timer);
  }
}
