/**
 * Holds the files that a lakeFS repository keeps beside its packs against themselves: records of
 * commits, and lists of blobs that are still in lakeFS.
 */
import { asFault, Fault } from "../../base/fault.js";
import type { Oid } from "../../git/oid.js";
import { OidSet } from "../../git/oid-set.js";
import type { Manifest } from "../../odb/manifest/manifest.js";
import { type Beside, type Finding, isDamage } from "../../odb/manifest/verify.js";
import type { PackName } from "../../odb/pack-line.js";
import type { Store } from "../../store/store.js";
import { readPromised } from "../trees/promised-list.js";
import { LakeNotes } from "./lake-notes.js";

const ADVICE = {
  lake: "nothing has to be done: a server that has lakeFS makes this file again when it needs it, and says so in its log",
  "lake-content":
    "nothing has to be done: a server that has lakeFS reads the content again when it needs its hashes, and replaces this file",
  "lake-lfs":
    "stop the server, delete this file and the folder git/lake beside it, start it again: both are made again from lakeFS",
  promised:
    "nothing has to be done: a server that has lakeFS reads these commits again when it needs their contents, and says so in its log",
} as const;

export async function verifyRecords(
  store: Store,
  prefix: string,
  { packs }: Manifest,
  signal: AbortSignal,
): Promise<Beside> {
  const records = new LakeNotes(store, prefix);
  const findings: Finding[] = [];
  const attempt = async <T>(
    name: string,
    advice: string,
    work: () => Promise<T>,
  ): Promise<T | undefined> => {
    let file = name;
    try {
      return await work();
    } catch (error) {
      const fault = asFault(error);
      if (!isDamage(fault)) throw error;
      if (fault.facts.promisedOf !== undefined && String(fault.facts.file).endsWith(".ids"))
        file += ".ids";
      findings.push({ file, problem: String(fault.facts.reason ?? fault.message), advice });
      return undefined;
    }
  };
  const tips = new Set<Oid>();
  for (const id of await records.ids(signal)) {
    const record = await attempt(`${prefix}/git/lake/${id}`, ADVICE.lake, () =>
      records.get(id, signal),
    );
    if (record !== undefined) tips.add(record.tag ?? record.commit);
  }
  await attempt(`${prefix}/git/lake-mapping`, ADVICE.lake, () => records.mapping(signal));
  await attempt(`${prefix}/git/lake-cuts`, ADVICE.lake, () => records.cuts(signal));
  await attempt(`${prefix}/git/lake-kept`, ADVICE.lake, () => records.kept(signal));
  for await (const { key, kind, read } of records.besides(signal))
    await attempt(key, ADVICE[kind], read);
  const promised: SharedArrayBuffer[] = [];
  for (const pack of packs) {
    const { name, promised: count } = pack;
    if (count === undefined) continue;
    const ids = await attempt(`${prefix}/git/lake-promised/${name}`, ADVICE.promised, () =>
      promisedOf(records, pack, count, signal),
    );
    if (ids !== undefined) promised.push(ids);
  }
  return { tips: [...tips], promised, findings };
}

/** The ids of one list, which the list itself must say too. */
async function promisedOf(
  records: LakeNotes,
  pack: PackName,
  count: number,
  signal: AbortSignal,
): Promise<SharedArrayBuffer> {
  const list = await records.promisedList(pack, count, signal);
  const ids = await records.promisedIds(pack, count, signal);
  const listed = new OidSet();
  for (const { oid } of readPromised(list)) listed.add(oid);
  if (!Buffer.from(ids).equals(Buffer.from(listed.sorted())))
    throw new Fault("odb/damaged", {
      file: list.path,
      reason: "the list and its ids do not agree",
    });
  return ids;
}
