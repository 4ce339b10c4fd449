/** An object as packs give it. */
import type { ObjectType } from "../../git/oid.js";

export interface StoredObject {
  readonly type: ObjectType;
  readonly data: Uint8Array;
}
