/**
 * An acknowledgement ledger: several writers change one object by read and conditional replacement
 * while a proxy loses, cuts, delays and refuses requests by chance. What was told ok is in the
 * object at the end, what was told a conflict is not, what is unknown is one or the other.
 */
import t from "tap";
import { lossyText, utf8 } from "../../src/base/bytes.js";
import { Fault } from "../../src/base/fault.js";
import type { S3Store } from "../../src/store/s3/s3-store.js";
import { type Random, seeded } from "../support/random.js";
import { operationOf, type S3Call, type S3Mishap, startS3Proxy } from "../support/s3-proxy.js";
import { openTestStore, s3Options, skipS3, startS3Server } from "../support/s3-server.js";

const WRITERS = 6;
const CHANGES = 20;
const BYTES_MAX = 1_000_000;
/** A failing seed is run again by its number. */
const SEED = Number(process.env["LAKEPACK_TEST_SEED"] ?? Math.floor(Math.random() * 1e9));

type Ending = "ok" | "conflict" | "unknown";

const WRITES: readonly S3Mishap[] = [
  { as: "drop" },
  { as: "half" },
  { as: "lost" },
  { as: "lost" },
  { as: "silence" },
  { as: "late", ms: 30 },
  { as: "late", ms: 400 },
  { as: "answer", status: 409, code: "ConditionalRequestConflict" },
  { as: "answer", status: 503, code: "SlowDown" },
  { as: "answer", status: 500, code: "InternalError" },
];
const READS: readonly S3Mishap[] = [
  { as: "drop" },
  { as: "silence" },
  { as: "cut", bodyBytes: 3 },
  { as: "stall", bodyBytes: 3 },
  { as: "answer", status: 500, code: "InternalError" },
];

t.test(`no change is lost, and none is told wrong (seed ${SEED})`, { skip: skipS3 }, async (t) => {
  const server = await startS3Server(t);
  const proxy = await startS3Proxy(t, server);
  const options = await s3Options(
    t,
    { ...server, endpoint: proxy.endpoint },
    { silenceMs: 300, patienceMs: 1_500 },
  );
  const clear = await openTestStore(t, await s3Options(t, server));
  await clear.putIfMatch("manifest", utf8(""), undefined);
  const stores = await Promise.all(
    Array.from({ length: WRITERS }, () => openTestStore(t, options)),
  );
  const random = seeded(SEED);
  proxy.onCall = (call: S3Call) => {
    const mishaps = operationOf(call) === "PutObject" ? WRITES : READS;
    return random.below(4) === 0 ? random.pick(mishaps) : undefined;
  };
  const ledger = new Map<string, Ending>();
  await Promise.all(stores.map((store, writer) => write(store, writer, ledger, random)));
  proxy.onCall = () => undefined;
  await proxy.settled();
  const there = lossyText((await clear.get("manifest", BYTES_MAX))?.bytes ?? utf8("")).split("\n");
  const names = (ending: Ending) => [...ledger].filter(([, how]) => how === ending);
  t.comment(
    `ok ${names("ok").length}, unknown ${names("unknown").length}, conflict ${names("conflict").length}`,
  );
  t.equal(ledger.size, WRITERS * CHANGES);
  t.same(
    names("ok").filter(([name]) => !there.includes(name)),
    [],
    "what was told ok is there",
  );
  t.same(
    names("conflict").filter(([name]) => there.includes(name)),
    [],
    "what was told a conflict is not",
  );
  t.equal(new Set(there).size, there.length, "nothing has landed twice");
  t.ok(names("ok").length > CHANGES, "most get through");
});

/** Adds the name of each change to those that are read; what was refused is tried again at times. */
async function write(
  store: S3Store,
  writer: number,
  ledger: Map<string, Ending>,
  random: Random,
): Promise<void> {
  for (let change = 0; change < CHANGES; change++) {
    const name = `${writer}.${change}`;
    for (;;) {
      const found = await store.get("manifest", BYTES_MAX).catch(busy);
      if (found === undefined) continue;
      const bytes = utf8(`${lossyText(found.bytes)}${name}\n`);
      const ending = await store
        .putIfMatch("manifest", bytes, found.tag)
        .then((): Ending => "ok", endingOf);
      // Nothing of it has landed: under its own name again it would be there twice otherwise.
      if (ending === "conflict" && random.below(5) > 0) continue;
      ledger.set(name, ending);
      break;
    }
  }
}

/** A read that fails is begun again. */
function busy(error: unknown): undefined {
  if (!(error instanceof Fault) || !error.row.retry) throw error;
}

function endingOf(error: unknown): Ending {
  if (error instanceof Fault && error.code === "store/conflict") return "conflict";
  if (error instanceof Fault && error.code === "store/unknown-outcome") return "unknown";
  // Nothing was done: as good as a conflict.
  if (error instanceof Fault && error.row.retry) return "conflict";
  throw error;
}
