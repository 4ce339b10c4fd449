/** Storage keys: the one place that decides what may name a blob. */
import { Fault } from "../base/fault.js";
import type { StoreKey } from "./store.js";

const KEY_BYTES_MAX = 1_000; // S3 allows 1,024 and the operator's prefix needs room
const COMPONENT = /^[0-9A-Za-z._~@=+-]+$/;

/**
 * `key` if it is one; throws "store/bad-key". No "." or "..", no empty component: nothing outside
 * the root has a key.
 */
export function checkKey(key: string): StoreKey {
  if (!isKey(key)) throw new Fault("store/bad-key", { key: JSON.stringify(key.slice(0, 100)) });
  return key;
}

export function isKey(key: string): boolean {
  return key.length > 0 && key.length <= KEY_BYTES_MAX && key.split("/").every(isComponent);
}

export function isComponent(component: string): boolean {
  return COMPONENT.test(component) && component !== "." && component !== "..";
}
