/** What a lakeFS repository keeps beside its packs, held against itself: records of commits, and lists of blobs that are still in lakeFS. */
import { asFault, Fault } from "../base/fault.js";
import { type Oid, OID_BYTES } from "../git/oid.js";
import { OidSet } from "../git/oid-set.js";
import type { Manifest } from "../odb/manifest.js";
import { type Beside, type Finding, isDamage } from "../odb/verify.js";
import type { Store } from "../store/store.js";
import { readPromised } from "./promised-list.js";
import { LakeRecords } from "./records.js";

const RECORD_ADVICE = "delete this file while the server is stopped: it is made again from lakeFS when it is needed";
const PROMISED_ADVICE = "restore this file from a backup, or remove this repository's folder in the store while the server is stopped: it is read from lakeFS again";

export async function verifyRecords(store: Store, prefix: string, { packs }: Manifest, signal: AbortSignal): Promise<Beside> {
  const records = new LakeRecords(store, prefix);
  const findings: Finding[] = [];
  const attempt = async <T>(file: string, advice: string, work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work();
    } catch (error) {
      const fault = asFault(error);
      if (!isDamage(fault)) throw error;
      findings.push({ file, problem: String(fault.facts.reason ?? fault.message), advice });
      return undefined;
    }
  };
  const tips = new Set<Oid>();
  const folder = `${prefix}/git/lake/`;
  for await (const { key } of store.list(folder, signal)) {
    const record = await attempt(key, RECORD_ADVICE, () => records.get(key.slice(folder.length), signal));
    if (record !== undefined) tips.add(record.tag ?? record.commit);
  }
  const promised: SharedArrayBuffer[] = [];
  for (const { checksum, promised: count } of packs) {
    if (count === undefined) continue;
    const ids = await attempt(`${prefix}/git/lake-promised/${checksum}`, PROMISED_ADVICE, () => promisedOf(records, checksum, count, signal));
    if (ids !== undefined) promised.push(ids);
  }
  return { tips: [...tips], promised, findings };
}

/** The ids of one list, which the list itself must say too. */
async function promisedOf(records: LakeRecords, pack: string, count: number, signal: AbortSignal): Promise<SharedArrayBuffer> {
  const file = await records.promisedFile(pack, signal);
  const ids = await records.promisedIds(pack, signal);
  const listed = new OidSet();
  for (const { oid } of readPromised(file)) listed.add(oid);
  if (ids.byteLength !== count * OID_BYTES || !Buffer.from(ids).equals(Buffer.from(listed.sorted()))) {
    throw new Fault("odb/damaged", { file, reason: "the list, its ids and their count in the manifest do not agree" });
  }
  return ids;
}
