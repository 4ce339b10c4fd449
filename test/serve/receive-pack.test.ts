/** A push from its first byte to its report, without a transport: what is said, and what moves. */
import t, { type Test } from "tap";
import { Fault } from "../../src/base/fault.js";
import { LIMITS } from "../../src/base/limits.js";
import { ZERO_OID } from "../../src/git/oid.js";
import type { ObjectDatabase } from "../../src/odb/object-database.js";
import type { RefStore } from "../../src/odb/ref-store.js";
import { concealing } from "../../src/serve/conversation/conceal.js";
import type { Exchange, Repository } from "../../src/serve/conversation/conversation.js";
import { receivePack, type ReceivePackServices } from "../../src/serve/push/receive-pack.js";
import {
  aBlob,
  aCommit,
  aHistory,
  aTree,
  type HandObject,
  NEVER,
  type OwnRepository,
  ownRepository,
} from "../support/own-repository.js";
import { buildPack, oidOf } from "../support/pack-builder.js";
import { command, EMPTY_PACK, parseReport, pkt } from "../support/raw-push.js";

const CAPABILITIES = "report-status side-band-64k object-format=sha1 agent=git/test";
const POLICY = {
  fsck: true,
  fsckLevels: {},
  fsckSkip: undefined,
  lfsMissingObjects: "refuse",
  denyNonFastForwards: false,
  denyDeletes: false,
  denyDeleteCurrent: false,
} as const;

interface Pushed {
  readonly unpack: string;
  /** Lines of the report behind the first. */
  readonly refs: readonly string[];
  /** Everything that went out, latin1. */
  readonly raw: string;
  /** What the request's record was told. */
  readonly failed: readonly string[];
  readonly notes: Readonly<Record<string, unknown>>;
}

interface PushOptions {
  /** Replaced in the repository. */
  readonly parts?: Partial<Repository>;
  readonly services?: Partial<ReceivePackServices>;
  readonly exchange?: Partial<Exchange>;
  readonly pack?: Uint8Array;
  /** Bytes of one read: how the stream is cut. */
  readonly chunk?: number;
}

/** `lines`: pkt-lines up to the flush, which is added. */
function push(own: OwnRepository, lines: readonly string[], options: PushOptions = {}) {
  const body = Buffer.concat([
    Buffer.from(`${lines.join("")}0000`, "latin1"),
    options.pack ?? new Uint8Array(0),
  ]);
  return send(own, body, options);
}

async function send(own: OwnRepository, body: Buffer, options: PushOptions = {}): Promise<Pushed> {
  const out: Uint8Array[] = [];
  const failed: string[] = [];
  const notes: Record<string, unknown> = {};
  const chunk = options.chunk ?? 65_536;
  let at = 0;
  const exchange: Exchange = {
    request: {
      id: "r-1",
      failed: ({ code }) => void failed.push(code),
      note: (facts) => void Object.assign(notes, facts),
    },
    repository: { ...own.repository, ...options.parts },
    version: 0,
    caller: "user ada",
    stillMay: async () => undefined,
    stateless: true,
    input: {
      read: async () => {
        if (at >= body.length) return undefined;
        const piece = body.subarray(at, at + chunk);
        at += piece.length;
        return piece;
      },
    },
    output: { write: async (bytes) => void out.push(Buffer.from(bytes)) },
    signal: NEVER,
    ...options.exchange,
  };
  const services: ReceivePackServices = {
    pool: own.pool,
    tables: own.tables,
    policy: POLICY,
    offer: {
      agent: "lakepack/test",
      allowTipInWant: false,
      allowReachableInWant: false,
      atomic: true,
    },
    created: async (repository) => repository,
    ...options.services,
  };
  await receivePack(exchange, services);
  const reply = Buffer.concat(out);
  return { ...parseReport(reply), raw: reply.toString("latin1"), failed, notes };
}

async function refsOf({ repository }: OwnRepository): Promise<Record<string, string>> {
  const { refs } = await repository.refs.read();
  return Object.fromEntries(refs.map(({ name, oid }) => [name, oid]));
}

/** Replaces calls of an object and keeps the rest of it. */
function but<T extends object>(whole: T, calls: Partial<T>): T {
  return new Proxy(whole, {
    get: (target, name) => {
      const value = name in calls ? calls[name as keyof T] : Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

interface Scene {
  readonly own: OwnRepository;
  /** On main, stored. */
  readonly one: HandObject;
  /** On top of it, in `pack`. */
  readonly two: HandObject;
  readonly pack: Buffer;
}

async function scene(t: Test): Promise<Scene> {
  const own = await ownRepository(t);
  const one = aHistory("one");
  const two = aHistory("two", one.commit);
  await own.store(one.objects);
  await own.point("refs/heads/main", one.commit.oid);
  return { own, one: one.commit, two: two.commit, pack: buildPack(two.objects) };
}

// What lands --------------------------------------------------------------------------------------
t.test("a push lands, however its bytes are cut", async (t) => {
  for (const chunk of [1, 7, 65_536]) {
    const { own, one, two, pack } = await scene(t);
    const lines = [command(one.oid, two.oid, "refs/heads/main", CAPABILITIES)];
    const { unpack, refs, failed, notes } = await push(own, lines, { pack, chunk });
    t.same([unpack, refs, failed], ["ok", ["ok refs/heads/main"], []], `pieces of ${chunk}`);
    t.match(notes, { refs: 1, objects: 3, packBytes: pack.length });
    t.same(await refsOf(own), { "refs/heads/main": two.oid });
    t.equal((await own.repository.objects.packs()).packs.length, 2);
    t.equal(own.changes.count, 1, "upkeep is told");
  }
});

t.test("a deletion needs no pack, and a ref at an object that is here an empty one", async (t) => {
  const { own, one } = await scene(t);
  const add = [command(ZERO_OID, one.oid, "refs/heads/copy", CAPABILITIES)];
  t.same((await push(own, add, { pack: EMPTY_PACK })).refs, ["ok refs/heads/copy"]);
  const remove = [command(one.oid, ZERO_OID, "refs/heads/main", CAPABILITIES)];
  t.same((await push(own, remove)).refs, ["ok refs/heads/main"]);
  t.same(await refsOf(own), { "refs/heads/copy": one.oid });
});

t.test("each command has its own answer, in order", async (t) => {
  const { own, one, two, pack } = await scene(t);
  const lines = [
    command(one.oid, two.oid, "refs/heads/main", CAPABILITIES),
    command(two.oid, two.oid, "refs/heads/stale"),
    command(ZERO_OID, two.oid, "refs/heads/a..b"),
    command(ZERO_OID, two.oid, "refs/lakefs/own"),
    command(ZERO_OID, "e".repeat(40), "refs/heads/absent"),
    command(ZERO_OID, two.oid, "refs/heads/twice"),
    command(ZERO_OID, two.oid, "refs/heads/twice"),
    command(ZERO_OID, two.oid, "refs/heads/main/below"),
  ];
  const { unpack, refs, failed } = await push(own, lines, { pack });
  t.equal(unpack, "ok");
  t.same(
    refs.map((line) => line.split(" ").slice(0, 2).join(" ")),
    [
      "ok refs/heads/main",
      "ng refs/heads/stale",
      "ng refs/heads/a..b",
      "ng refs/lakefs/own",
      "ng refs/heads/absent",
      "ng refs/heads/twice",
      "ng refs/heads/twice",
      "ng refs/heads/main/below",
    ],
  );
  t.equal(refs[2], "ng refs/heads/a..b funny refname");
  t.match(refs[4], /missing necessary objects/);
  t.match(refs[5], /multiple updates/);
  t.same(failed, ["push/refused"], "the log hears of it once");
  t.same(await refsOf(own), { "refs/heads/main": two.oid });
});

t.test("with atomic one refusal refuses all, whoever says it", async (t) => {
  const atomic = `${CAPABILITIES} atomic`;
  const cases: readonly (readonly [second: string, words: RegExp])[] = [
    ["refs/lakefs/own", /atomic push failure/],
    ["refs/heads/main/below", /./],
  ];
  for (const [second, words] of cases) {
    const { own, one, two, pack } = await scene(t);
    const lines = [
      command(one.oid, two.oid, "refs/heads/main", atomic),
      command(ZERO_OID, two.oid, second),
    ];
    const { refs } = await push(own, lines, { pack });
    t.ok(refs.every((line) => line.startsWith("ng ")));
    t.match(refs[0], words);
    t.same(await refsOf(own), { "refs/heads/main": one.oid });
  }
});

t.test("what the policy denies", async (t) => {
  const { own, one, two } = await scene(t);
  await own.store(aHistory("two", one).objects);
  await own.point("refs/heads/main", two.oid);
  const back = [command(two.oid, one.oid, "refs/heads/main", CAPABILITIES)];
  const remove = [command(two.oid, ZERO_OID, "refs/heads/main", CAPABILITIES)];
  const cases = [
    [back, { denyNonFastForwards: true }, "ng refs/heads/main non-fast-forward"],
    [remove, { denyDeletes: true }, "ng refs/heads/main deletion prohibited"],
    [remove, { denyDeleteCurrent: true }, "ng refs/heads/main deletion of the current branch"],
    [back, {}, "ok refs/heads/main"],
  ] as const;
  for (const [lines, change, expected] of cases) {
    const services = { policy: { ...POLICY, ...change } };
    const { refs } = await push(own, lines, { services, pack: EMPTY_PACK });
    t.ok(refs[0]?.startsWith(expected), `${refs[0]}`);
  }
});

// Packs that are refused --------------------------------------------------------------------------
t.test("a pack that is none refuses all, publishes nothing, and is read to its end", async (t) => {
  const { own, one, two, pack } = await scene(t);
  const damaged = Buffer.from(pack);
  damaged.writeUInt8(damaged.readUInt8(damaged.length - 1) ^ 1, damaged.length - 1);
  const cases: readonly (readonly [what: string, pack: Uint8Array, code: string])[] = [
    ["another checksum", damaged, "pack/bad-trailer"],
    ["no pack", Buffer.from("this is no pack at all".repeat(9)), "pack/bad-signature"],
    ["half of one", pack.subarray(0, pack.length / 2), "pack/truncated"],
    ["nothing", new Uint8Array(0), "pack/truncated"],
    ["more behind it", Buffer.concat([pack, Buffer.from("more")]), "pack/bad-count"],
  ];
  for (const [what, bytes, code] of cases) {
    const lines = [command(one.oid, two.oid, "refs/heads/main", CAPABILITIES)];
    const { unpack, refs, failed } = await push(own, lines, { pack: bytes, chunk: 16 });
    t.not(unpack, "ok", what);
    t.match(unpack, /\(request r-1\)$/, what);
    t.same(refs, ["ng refs/heads/main unpacker error"], what);
    t.same(failed, [code], what);
    t.same(await refsOf(own), { "refs/heads/main": one.oid }, what);
    t.equal((await own.repository.objects.packs()).packs.length, 1, what);
  }
});

/** A commit whose date begins with a zero, with all it needs: the id of it and the pack. */
function paddedDate(): { readonly oid: string; readonly pack: Buffer } {
  const file = aBlob("content\n");
  const tree = aTree({ file });
  const { entry } = aCommit("bad", tree);
  const data = Buffer.from(entry.data).toString().replaceAll("1700000000", "01700000000");
  const pack = buildPack([{ ...entry, data: Buffer.from(data) }, tree.entry, file.entry]);
  return { oid: oidOf("commit", data), pack };
}

t.test("a finding of fsck says who may let it pass, and is told where it passes", async (t) => {
  const { own } = await scene(t);
  const { oid, pack } = paddedDate();
  const lines = [command(ZERO_OID, oid, "refs/heads/new", CAPABILITIES)];
  const { unpack } = await push(own, lines, { pack });
  t.match(unpack, /zeroPaddedDate.*lakepack repo set ada\/demo fsck_levels=zeroPaddedDate=warn/);
  const settings = async () => ({ fsck_levels: { zeroPaddedDate: "warn" } }) as const;
  const { refs, raw } = await push(own, lines, { pack, parts: { settings } });
  t.same(refs, ["ok refs/heads/new"]);
  t.match(raw, new RegExp(`\x02warning: object ${oid}: zeroPaddedDate`));
});

t.test("more than the drain's limit is not listened to", async (t) => {
  const { own, one, two } = await scene(t);
  let pieces = 0;
  const piece = Buffer.alloc(1024 * 1024);
  const head = Buffer.from(
    `${command(one.oid, two.oid, "refs/heads/main", CAPABILITIES)}0000this is no pack`,
    "latin1",
  );
  const input = { read: async () => (pieces++ === 0 ? head : piece) };
  await t.rejects(send(own, head, { exchange: { input } }), { code: "wire/too-much" });
  t.ok(pieces * piece.length > LIMITS.refusedDrainBytesMax);
});

// Requests that are none --------------------------------------------------------------------------
t.test("a malformed request is answered where the client listens", async (t) => {
  const { own, one, two } = await scene(t);
  const good = command(one.oid, two.oid, "refs/heads/main", CAPABILITIES);
  const plain: readonly (readonly [what: string, body: string])[] = [
    ["no packet", "this is no packet"],
    ["no command", `${pkt("hello")}0000`],
    ["a certificate", `${pkt(`push-cert\0${"report-status"}`)}0000`],
    ["no flush", command(one.oid, two.oid, "refs/heads/main", "report-status")],
    ["nothing", ""],
    ["a shallow line alone", `${pkt(`shallow ${one.oid}`)}0000`],
    ["more behind a probe", "0000more"],
  ];
  for (const [what, body] of plain) {
    const { raw, failed } = await send(own, Buffer.from(body, "latin1"));
    t.match(raw, /^[0-9a-f]{4}ERR .*\(request r-1\)/, what);
    t.equal(failed.length, 1, what);
  }
  const banded = await send(own, Buffer.from(`${good}${pkt("hello")}0000`, "latin1"));
  t.match(banded.raw, /^[0-9a-f]{4}\x03.*\(request r-1\)/, "in band 3 where bands were asked for");
  t.same(await refsOf(own), { "refs/heads/main": one.oid });
});

t.test("a lone flush is a probe: nothing is answered", async (t) => {
  const { own } = await scene(t);
  t.equal((await send(own, Buffer.from("0000"))).raw, "");
});

t.test("without report-status success is silent, and a refusal is not", async (t) => {
  const { own, one, two, pack } = await scene(t);
  const silent = [command(one.oid, two.oid, "refs/heads/main", "agent=git/1")];
  t.equal((await push(own, silent, { pack })).raw, "");
  t.same(await refsOf(own), { "refs/heads/main": two.oid });
  const refused = [command(one.oid, two.oid, "refs/heads/a..b", "agent=git/1")];
  t.match((await push(own, refused, { pack: EMPTY_PACK })).raw, /^....ERR .*funny refname/);
  t.match((await push(own, silent, { pack: Buffer.from("none") })).raw, /^....ERR /);
});

// Rights, names, and what fails underneath --------------------------------------------------------
t.test("a right that ended meanwhile moves nothing", async (t) => {
  const { own, one, two, pack } = await scene(t);
  const lines = [command(one.oid, two.oid, "refs/heads/main", CAPABILITIES)];
  for (const asksBefore of [0, 1]) {
    let asked = 0;
    const stillMay = async () => {
      if (asked++ >= asksBefore) throw new Fault("push/no-longer", { reason: "revoked" });
    };
    let published = 0;
    const objects = but<ObjectDatabase>(own.repository.objects, {
      publish: async () => void published++,
    });
    const options = { pack, parts: { objects }, exchange: { stillMay } };
    const { unpack, refs, failed } = await push(own, lines, options);
    t.equal(published, asksBefore, "nor is anything published by then");
    t.equal(unpack, "ok");
    t.match(refs, [/^ng refs\/heads\/main ./]);
    t.same(failed, ["push/no-longer"]);
    t.same(await refsOf(own), { "refs/heads/main": one.oid });
  }
});

t.test("a repository is noted before anything is stored, and the pusher hears of it", async (t) => {
  const own = await ownRepository(t);
  const { commit, objects } = aHistory("one");
  const pack = buildPack(objects);
  const lines = [command(ZERO_OID, commit.oid, "refs/heads/main", CAPABILITIES)];
  const parts = { created: true };
  const conflict = () => Promise.reject(new Fault("store/conflict"));
  const late = await push(own, lines, { parts, pack, services: { created: conflict } });
  t.same(late.refs, ["ng refs/heads/main unpacker error"]);
  t.same((await own.repository.objects.packs()).packs, []);
  const seen: string[] = [];
  const created = async (repository: Repository) => {
    seen.push(repository.title);
    return repository;
  };
  const { raw, refs } = await push(own, lines, { parts, pack, services: { created } });
  t.same([seen, refs], [["ada/demo"], ["ok refs/heads/main"]]);
  t.match(raw, /\x02created ada\/demo\n/);
});

t.test("what a store cannot say stands at each ref, other failures refuse the pack", async (t) => {
  const { own, one, two, pack } = await scene(t);
  const lines = [command(one.oid, two.oid, "refs/heads/main", CAPABILITIES)];
  const failing = (code: "store/unknown-outcome" | "store/failed") =>
    but<RefStore>(own.repository.refs, { update: () => Promise.reject(new Fault(code)) });
  const unknown = await push(own, lines, {
    pack,
    parts: { refs: failing("store/unknown-outcome") },
  });
  t.equal(unknown.unpack, "ok");
  t.match(unknown.refs, [/^ng refs\/heads\/main .*\(request r-1\)/]);
  const broken = await push(own, lines, { pack, parts: { refs: failing("store/failed") } });
  t.not(broken.unpack, "ok");
  t.same(broken.refs, ["ng refs/heads/main unpacker error"]);
});

t.test("a private name is cut from reasons that come from underneath", async (t) => {
  const { own, one, two, pack } = await scene(t);
  const lines = [command(one.oid, two.oid, "refs/heads/main", CAPABILITIES)];
  const refs = but<RefStore>(own.repository.refs, {
    update: async (changes) =>
      changes.map(({ name }) => ({ name, ok: false, reason: "no branch in shop" })),
  });
  const parts = { refs, conceal: concealing("shop") };
  const { refs: told, raw } = await push(own, lines, { pack, parts });
  t.same(told.length, 1);
  t.notMatch(raw, /shop/);
});

t.test("notices are said, and quiet keeps progress away but not the result", async (t) => {
  const { own, one, two, pack } = await scene(t);
  const quiet = `${CAPABILITIES} quiet`;
  const refs = but<RefStore>(own.repository.refs, {
    update: async (changes, { onProgress, onResult }) => {
      onProgress?.("half way", true);
      onResult?.("look at this");
      return changes.map(({ name }) => ({ name, ok: true }));
    },
  });
  const parts = { refs, notices: ["it has moved"] };
  const said = async (capabilities: string) => {
    const lines = [command(one.oid, two.oid, "refs/heads/main", capabilities)];
    return (await push(own, lines, { pack, parts })).raw;
  };
  t.match(await said(CAPABILITIES), /it has moved.*half way.*look at this/s);
  const still = await said(quiet);
  t.match(still, /it has moved.*look at this/s);
  t.notMatch(still, /half way/);
});

t.test("who has gone hears nothing and moves nothing, and nothing is left behind", async (t) => {
  const { own, one, two, pack } = await scene(t);
  const abort = new AbortController();
  let discarded = 0;
  const objects = but<ObjectDatabase>(own.repository.objects, {
    async beginIngest(options) {
      const ingest = await own.repository.objects.beginIngest(options);
      return but(ingest, {
        finish: async () => {
          const done = await ingest.finish();
          abort.abort();
          return done;
        },
        discard: () => {
          discarded++;
          return ingest.discard();
        },
      });
    },
  });
  const lines = [command(one.oid, two.oid, "refs/heads/main", CAPABILITIES)];
  const exchange = { signal: abort.signal };
  await t.rejects(push(own, lines, { pack, parts: { objects }, exchange }), {
    code: "base/aborted",
  });
  t.equal(discarded, 1);
  t.same(await refsOf(own), { "refs/heads/main": one.oid });
});
