/** Tells what lakeFS does not have apart from what it could not answer. */
import { Fault } from "../../base/fault.js";

/** Undefined where lakeFS has no such thing; throws all other failures. */
export async function unlessMissing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Fault && error.code === "lakefs/missing") return undefined;
    throw error;
  }
}
