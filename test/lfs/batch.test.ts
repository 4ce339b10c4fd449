/** The batch API, object by object: links, refusals, and what fails the whole of it. */
import t from "tap";
import { Fault } from "../../src/base/fault.js";
import { LIMITS } from "../../src/base/limits.js";
import {
  answerBatch,
  type BatchLinks,
  type BatchObject,
  type BatchRequest,
  complaint,
  readBatchRequest,
} from "../../src/lfs/batch.js";
import type { LfsObject, LfsStore } from "../../src/lfs/store.js";

const OID = "a".repeat(64);
const NEVER = new AbortController().signal;
const LINKS: BatchLinks = {
  transfer: (operation, { oid }) => `http://here/${operation}/${oid.slice(0, 1)}`,
  verify: ({ oid }) => `http://here/verify/${oid.slice(0, 1)}`,
};

/** A store in which what is held is said by id. */
function storeOf(held: Readonly<Record<string, number>>, more: Partial<LfsStore> = {}): LfsStore {
  const unexpected = () => {
    throw new Error("a batch moves no content");
  };
  return {
    size: async ({ oid }) => held[oid],
    link: async () => undefined,
    read: unexpected,
    beginUpload: unexpected,
    ...more,
  };
}

function faultOf(work: () => unknown): string {
  try {
    work();
    return "none";
  } catch (error) {
    return error instanceof Fault ? error.code : String(error);
  }
}

async function one(
  operation: BatchRequest["operation"],
  object: LfsObject,
  store: LfsStore,
  unknownHash?: string,
): Promise<BatchObject> {
  const request = { operation, objects: [object], unknownHash };
  const { objects, transfer, hash_algo: hash } = await answerBatch(request, store, LINKS, NEVER);
  t.same([objects.length, transfer, hash], [1, "basic", "sha256"]);
  return objects[0] as BatchObject;
}

// Requests ----------------------------------------------------------------------------------------
t.test("a request is read as it was sent", async (t) => {
  const objects = [{ oid: "anything", size: -1, more: true }];
  for (const hash of [undefined, null, "", "sha256", "sha_256"])
    t.same(
      readBatchRequest({ operation: "upload", objects, hash_algo: hash, transfers: ["x"] }),
      {
        operation: "upload",
        objects: [{ oid: "anything", size: -1 }],
        unknownHash: undefined,
      },
      String(hash),
    );
  t.equal(
    readBatchRequest({ operation: "download", objects, hash_algo: "sha512" }).unknownHash,
    "sha512",
  );
});

t.test("what is no request is refused as a whole", async (t) => {
  const good = { oid: OID, size: 1 };
  const bad: readonly unknown[] = [
    undefined,
    null,
    "text",
    7,
    [],
    {},
    { operation: "delete", objects: [] },
    { operation: "upload" },
    { operation: "upload", objects: {} },
    { operation: "upload", objects: [null] },
    { operation: "upload", objects: [good, { oid: OID }] },
    { operation: "upload", objects: [{ size: 1 }] },
    { operation: "upload", objects: [{ oid: 7, size: 1 }] },
    { operation: "upload", objects: [{ oid: OID, size: "1" }] },
  ];
  for (const body of bad)
    t.equal(
      faultOf(() => readBatchRequest(body)),
      "lfs/bad-batch",
      JSON.stringify(body),
    );
});

t.test("the number of objects is limited, and a hash's name that is echoed", async (t) => {
  const objects = Array.from({ length: LIMITS.lfsBatchObjectsMax }, () => ({ oid: OID, size: 1 }));
  t.equal(readBatchRequest({ operation: "upload", objects }).objects.length, objects.length);
  const more = [...objects, { oid: OID, size: 1 }];
  t.equal(
    faultOf(() => readBatchRequest({ operation: "upload", objects: more })),
    "lfs/too-large",
  );
  const hash = "h".repeat(10 * LIMITS.messageNameBytesMax);
  const { unknownHash } = readBatchRequest({ operation: "upload", objects: [], hash_algo: hash });
  t.equal(unknownHash?.length, LIMITS.messageNameBytesMax);
});

t.test("an object as named", async (t) => {
  const cases: readonly (readonly [oid: string, size: number, wrong: RegExp | undefined])[] = [
    [OID, 0, undefined],
    [OID, LIMITS.lfsObjectBytesMax, undefined],
    [OID, LIMITS.lfsObjectBytesMax + 1, /^larger than this server accepts/],
    [OID, -1, /not a number of bytes/],
    [OID, 0.5, /not a number of bytes/],
    [OID, Number.NaN, /not a number of bytes/],
    [OID, 2 ** 60, /not a number of bytes/],
    [OID.toUpperCase(), 1, /64 lower-case hex/],
    [OID.slice(1), 1, /64 lower-case hex/],
    [`${OID}0`, 1, /64 lower-case hex/],
    [`../${OID.slice(3)}`, 1, /64 lower-case hex/],
  ];
  for (const [oid, size, wrong] of cases) {
    const found = complaint({ oid, size });
    if (wrong === undefined) t.equal(found, undefined, `${size}`);
    else t.match(found, wrong, `${oid} ${size}`);
  }
});

// Answers -----------------------------------------------------------------------------------------
t.test("what is there is downloaded from here, or from where the store says", async (t) => {
  const object = { oid: OID, size: 5 };
  const expires_in = LIMITS.lfsLinkSeconds;
  t.same(await one("download", object, storeOf({ [OID]: 5 })), {
    ...object,
    authenticated: true,
    actions: { download: { href: "http://here/download/a", expires_in } },
  });
  const away = storeOf({ [OID]: 5 }, { link: async () => "http://elsewhere/signed" });
  t.match(await one("download", object, away), {
    actions: { download: { href: "http://elsewhere/signed", expires_in } },
  });
});

t.test("what is only readable is downloaded, but an upload of it is asked for", async (t) => {
  const object = { oid: OID, size: 5 };
  const store = storeOf({}, { readable: async () => 5 });
  t.ok((await one("download", object, store)).actions?.download);
  t.same(Object.keys((await one("upload", object, store)).actions ?? {}), ["upload", "verify"]);
});

t.test("what is not there is uploaded, what is there is neither linked nor refused", async (t) => {
  const object = { oid: OID, size: 5 };
  const expires_in = LIMITS.lfsLinkSeconds;
  t.same(await one("upload", object, storeOf({})), {
    ...object,
    authenticated: true,
    actions: {
      upload: { href: "http://here/upload/a", expires_in },
      verify: { href: "http://here/verify/a", expires_in },
    },
  });
  t.same(await one("upload", object, storeOf({ [OID]: 5 })), object);
});

t.test("an object is refused with a code and words, and no link", async (t) => {
  const gone = storeOf(
    { [OID]: 5 },
    { link: () => Promise.reject(new Fault("lfs/gone", { oid: OID })) },
  );
  const cases: readonly (readonly [
    operation: BatchRequest["operation"],
    object: LfsObject,
    store: LfsStore,
    code: number,
    unknownHash?: string,
  ])[] = [
    ["download", { oid: OID, size: 5 }, storeOf({}), 404],
    ["download", { oid: OID, size: 6 }, storeOf({ [OID]: 5 }), 422],
    ["upload", { oid: OID, size: 6 }, storeOf({ [OID]: 5 }), 422],
    ["download", { oid: "x", size: 5 }, storeOf({ x: 5 }), 422],
    ["upload", { oid: OID, size: -5 }, storeOf({}), 422],
    ["upload", { oid: OID, size: 5 }, storeOf({}), 409, "sha512"],
    ["download", { oid: OID, size: 5 }, gone, new Fault("lfs/gone").row.http],
  ];
  for (const [operation, object, store, code, hash] of cases) {
    const { actions, error, oid, size } = await one(operation, object, store, hash);
    t.same({ oid, size }, object, "the object is echoed");
    t.equal(actions, undefined);
    t.equal(error?.code, code);
    t.ok(error?.message);
  }
});

t.test("an id that is none never reaches the store", async (t) => {
  const store = storeOf({}, { size: () => Promise.reject(new Error("asked")) });
  t.equal((await one("upload", { oid: "../../etc/passwd", size: 1 }, store)).error?.code, 422);
});

t.test("a store that fails, fails the batch", async (t) => {
  const down = () => Promise.reject(new Fault("store/failed"));
  const object = { oid: OID, size: 5 };
  for (const store of [storeOf({}, { size: down }), storeOf({ [OID]: 5 }, { link: down })])
    await t.rejects(one("download", object, store), { code: "store/failed" });
});

t.test("objects are answered in their order, few looked for at once", async (t) => {
  let atOnce = 0;
  let most = 0;
  const store = storeOf(
    {},
    {
      size: async ({ size }) => {
        most = Math.max(most, ++atOnce);
        for (let turn = size % 3; turn >= 0; turn--) await new Promise(setImmediate);
        atOnce--;
        return size;
      },
    },
  );
  const objects = Array.from({ length: 100 }, (_, size) => ({ oid: OID, size }));
  const request = { operation: "upload", objects, unknownHash: undefined } as const;
  t.same((await answerBatch(request, store, LINKS, NEVER)).objects, objects);
  t.equal(most, LIMITS.lfsLooksMax);
});

t.test("a client that has gone is looked up no further", async (t) => {
  const abort = new AbortController();
  let looks = 0;
  const store = storeOf(
    {},
    {
      size: async () => {
        looks++;
        abort.abort();
        await new Promise(setImmediate);
        return undefined;
      },
    },
  );
  const objects = Array.from({ length: 100 }, (_, size) => ({ oid: OID, size }));
  const request = { operation: "upload", objects, unknownHash: undefined } as const;
  await t.rejects(answerBatch(request, store, LINKS, abort.signal), { code: "base/aborted" });
  t.ok(looks <= LIMITS.lfsLooksMax, `${looks} looks`);
});
