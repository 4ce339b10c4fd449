/** The objects of a push against its commands: types, connectivity, fast-forwards, LFS pointers. */
import t, { type Test } from "tap";
import { Fault } from "../../src/base/fault.js";
import { LIMITS } from "../../src/base/limits.js";
import { ZERO_OID } from "../../src/git/oid.js";
import type { LfsStore } from "../../src/lfs/store.js";
import type { IngestedPack } from "../../src/odb/index-pack/contract.js";
import type { Repository } from "../../src/serve/conversation/conversation.js";
import type { LfsService } from "../../src/serve/lfs/lfs.js";
import { checkObjects, type ObjectCheckInput } from "../../src/serve/push/objects.js";
import { bandMode } from "../../src/wire/capabilities.js";
import { poolOf } from "../support/inline-pool.js";
import {
  aBlob,
  aCommit,
  aHistory,
  aTag,
  aTree,
  NEVER,
  type OwnRepository,
  ownRepository,
} from "../support/own-repository.js";

const POLICY = {
  fsck: true,
  fsckLevels: {},
  fsckSkip: undefined,
  lfsMissingObjects: "refuse",
  denyNonFastForwards: false,
  denyDeletes: false,
  denyDeleteCurrent: false,
} as const;

type Command = readonly [name: string, next: string, old?: string];

/** Makes the input for these commands, with parts of it replaced. */
function inputOf(
  { repository, pool, tables }: OwnRepository,
  pack: IngestedPack | undefined,
  commands: readonly Command[],
  more: Partial<ObjectCheckInput> & { readonly shallows?: readonly string[] } = {},
): ObjectCheckInput {
  const { shallows = [], ...rest } = more;
  const capabilities = new Map();
  const request = {
    commands: commands.map(([name, next, old = ZERO_OID]) => ({ name, old, new: next })),
    capabilities,
    bandMode: bandMode(capabilities),
    shallows,
    options: [],
    packFollows: true,
  };
  const refused = commands.map(() => undefined);
  const base = { repository, pack, request, refused, pool, tables, policy: POLICY };
  return { ...base, warn: () => undefined, signal: NEVER, ...rest };
}

async function refusals(input: ObjectCheckInput): Promise<readonly (string | undefined)[]> {
  return (await checkObjects(input)).map(({ refusal }) => refusal);
}

t.test("what every kind of ref may point at", async (t) => {
  const own = await ownRepository(t);
  const { commit, objects } = aHistory("one");
  const blob = aBlob("alone\n");
  const tag = aTag("v1", "commit", commit);
  const tagOfTag = aTag("v2", "tag", tag);
  const pack = await own.ingest([...objects, blob.entry, tag.entry, tagOfTag.entry]);
  const absent = "f".repeat(40);
  const cases: readonly (readonly [name: string, oid: string, refusal: string | undefined])[] = [
    ["refs/heads/a", commit.oid, undefined],
    ["refs/heads/b", blob.oid, "a branch holds commits, and this is a blob"],
    ["refs/heads/c", tag.oid, "a branch holds commits, and this is a tag"],
    ["refs/heads/d", absent, "missing necessary objects"],
    ["refs/tags/a", tag.oid, undefined],
    ["refs/tags/b", blob.oid, undefined],
    ["refs/tags/c", absent, "missing necessary objects"],
    ["refs/other/a", blob.oid, undefined],
    ["refs/heads/gone", ZERO_OID, undefined],
  ];
  const commands = cases.map(([name, oid]) => [name, oid] as const);
  t.same(
    await refusals(inputOf(own, pack, commands)),
    cases.map(([, , refusal]) => refusal),
  );
  const tags = [tag, tagOfTag].map(({ oid }) => ["refs/tags/x", oid] as const);
  t.same(await checkObjects(inputOf(own, pack, tags)), [
    { peeled: commit.oid },
    { peeled: commit.oid },
  ]);
});

t.test("nothing is asked about commands that are refused already, or delete", async (t) => {
  const own = await ownRepository(t);
  const input = inputOf(
    own,
    undefined,
    [
      ["refs/heads/a", "f".repeat(40)],
      ["refs/heads/b", ZERO_OID],
    ],
    { refused: ["funny refname", undefined], pool: poolOf({}) },
  );
  t.same(await checkObjects(input), [{}, {}]);
});

t.test("each id is described once, however many commands name it", async (t) => {
  const own = await ownRepository(t);
  const { commit, objects } = aHistory("one");
  const pack = await own.ingest(objects);
  const asked: number[] = [];
  const type = "commit";
  const pool = poolOf({
    "receive-pack/describe": ({ oids }: { readonly oids: readonly string[] }) => {
      asked.push(oids.length);
      return oids.map((oid) => ({ oid, type }));
    },
  });
  const many = Array.from({ length: 1_000 }, (_, at) => [`refs/tags/${at}`, commit.oid] as const);
  await checkObjects(inputOf(own, pack, many, { pool }));
  t.same(asked, [1]);
  const ids = Array.from({ length: 12_000 }, (_, at) => at.toString(16).padStart(40, "0"));
  const each = ids.slice(1).map((oid) => [`refs/tags/${oid}`, oid] as const);
  await checkObjects(inputOf(own, pack, each, { pool }));
  t.same(asked, [1, 5_000, 5_000, 1_999], "in parts that leave the event loop to others");
});

t.test("a pack in which all is there is not walked, an open one is", async (t) => {
  const own = await ownRepository(t);
  const whole = aHistory("whole");
  const closed = await own.ingest(whole.objects);
  own.pool.ran.length = 0;
  t.same(await refusals(inputOf(own, closed, [["refs/heads/a", whole.commit.oid]])), [undefined]);
  t.same(own.pool.ran, ["receive-pack/describe"]);

  const parent = aHistory("never sent");
  const child = aHistory("child", parent.commit);
  const open = await own.ingest(child.objects);
  t.notOk(open.closed);
  const commands: Command[] = [["refs/heads/a", child.commit.oid]];
  t.same(await refusals(inputOf(own, open, commands)), [
    `missing necessary objects (${parent.commit.oid})`,
  ]);
  t.same(
    await refusals(inputOf(own, open, commands, { shallows: [child.commit.oid] })),
    ["shallow update not allowed"],
    "a push from a shallow clone hears why",
  );
  await own.store(parent.objects);
  t.same(await refusals(inputOf(own, open, commands)), [undefined], "it is here now");
});

t.test("a link to an object of another type is refused by both types", async (t) => {
  const own = await ownRepository(t);
  const file = aBlob("content\n");
  const tree = aTree({ file });
  const wrong = aCommit("its parent is a tree", tree, tree);
  await own.store([tree.entry, file.entry]);
  // What judges at once (index-pack) would not let it in: the check stands for packs of before.
  const pack = await own.ingest(aHistory("other").objects);
  const unconnected = () => [{ oid: tree.oid, expected: "commit", found: "tree" }];
  const describe = () => [{ oid: wrong.oid, type: "commit" }];
  const pool = poolOf({
    "receive-pack/describe": describe,
    "receive-pack/connected": unconnected,
  });
  const open = { ...pack, closed: false };
  const [refusal] = await refusals(inputOf(own, open, [["refs/heads/a", wrong.oid]], { pool }));
  const object = tree.oid;
  const told = new Fault("pack/link-type", { object, expected: "commit", found: "tree" }).message;
  t.equal(refusal, told);
});

t.test("fast-forwards are asked for where only they are allowed, and of branches", async (t) => {
  const own = await ownRepository(t);
  const [one, aside] = [aHistory("one"), aHistory("aside")];
  const two = aHistory("two", one.commit);
  await own.store([...one.objects, ...two.objects]);
  const pack = await own.ingest(aside.objects);
  const policy = { ...POLICY, denyNonFastForwards: true };
  const cases: readonly (readonly [
    name: string,
    old: string,
    next: string,
    refusal: string | undefined,
  ])[] = [
    ["refs/heads/forward", one.commit.oid, two.commit.oid, undefined],
    ["refs/heads/same", one.commit.oid, one.commit.oid, undefined],
    ["refs/heads/back", two.commit.oid, one.commit.oid, "non-fast-forward"],
    ["refs/heads/aside", two.commit.oid, aside.commit.oid, "non-fast-forward"],
    ["refs/heads/unknown", "e".repeat(40), two.commit.oid, "non-fast-forward"],
    ["refs/heads/new", ZERO_OID, one.commit.oid, undefined],
    ["refs/heads/gone", two.commit.oid, ZERO_OID, undefined],
    ["refs/tags/back", two.commit.oid, one.commit.oid, undefined],
  ];
  const commands = cases.map(([name, old, next]) => [name, next, old] as const);
  t.same(
    await refusals(inputOf(own, pack, commands, { policy })),
    cases.map(([, , , refusal]) => refusal),
  );
  t.same(
    await refusals(inputOf(own, pack, commands)),
    cases.map(() => undefined),
    "not asked: all may",
  );
});

// LFS pointers ------------------------------------------------------------------------------------
const SHA256 = "b".repeat(64);
const POINTER = `version https://git-lfs.github.com/spec/v1\noid sha256:${SHA256}\nsize 5\n`;

async function pointerScene(t: Test, size: number | undefined, more: Partial<Repository> = {}) {
  const own = await ownRepository(t, more);
  const attributes = aBlob("*.bin filter=lfs diff=lfs merge=lfs -text\n");
  const pointer = aBlob(POINTER);
  const tree = aTree({ ".gitattributes": attributes, "x.bin": pointer });
  const commit = aCommit("a pointer", tree);
  const pack = await own.ingest([commit.entry, tree.entry, attributes.entry, pointer.entry]);
  const store = { size: async () => size } as unknown as LfsStore;
  const lfs = { storeOf: () => store } as unknown as LfsService;
  return { own, pack, lfs, commands: [["refs/heads/main", commit.oid]] as Command[] };
}

t.test("a pointer lands with its object only, of the right size", async (t) => {
  for (const [size, isRefused] of [
    [5, false],
    [undefined, true],
    [6, true],
  ] as const) {
    const { own, pack, lfs, commands } = await pointerScene(t, size);
    const [refusal] = await refusals(inputOf(own, pack, commands, { lfs }));
    if (isRefused) t.match(refusal, /does not exist: x\.bin; run: git lfs push --all/);
    else t.equal(refusal, undefined);
  }
});

t.test("where it is only warned of, it lands in our own store and not in lakeFS", async (t) => {
  const policy = { ...POLICY, lfsMissingObjects: "warn" } as const;
  const told: string[] = [];
  const warn = (line: string) => void told.push(line);
  const ours = await pointerScene(t, undefined);
  const { lfs } = ours;
  t.same(await refusals(inputOf(ours.own, ours.pack, ours.commands, { lfs, policy, warn })), [
    undefined,
  ]);
  t.match(told, [/^warning: .*x\.bin/]);
  const lakefs = await pointerScene(t, undefined, { lakefs: {} as never });
  const [refusal] = await refusals(
    inputOf(lakefs.own, lakefs.pack, lakefs.commands, { lfs: lakefs.lfs, policy, warn }),
  );
  t.match(refusal, /lfs_missing_objects=warn does not help/);
  t.equal(told.length, 1);
});

t.test("without LFS, or without a pack, pointers are files like others", async (t) => {
  const { own, pack, lfs, commands } = await pointerScene(t, undefined);
  t.same(await refusals(inputOf(own, pack, commands)), [undefined]);
  await own.repository.objects.adopt(pack, { origin: "push" });
  t.same(await refusals(inputOf(own, undefined, commands, { lfs })), [undefined]);
});

t.test("a pusher that has gone costs nothing more", async (t) => {
  const own = await ownRepository(t);
  const { commit, objects } = aHistory("one");
  const pack = await own.ingest(objects);
  own.pool.ran.length = 0;
  const signal = AbortSignal.abort();
  const work = checkObjects(inputOf(own, pack, [["refs/heads/a", commit.oid]], { signal }));
  await t.rejects(work, { code: "base/aborted" });
  t.same(own.pool.ran, []);
});

t.test("a pool that is full is the push's fault to tell", async (t) => {
  const own = await ownRepository(t);
  const { commit, objects } = aHistory("one");
  const pack = await own.ingest(objects);
  const full = () => Promise.reject(new Fault("pool/saturated", { max: LIMITS.pushCommandsMax }));
  const pool = poolOf({ "receive-pack/describe": full });
  await t.rejects(checkObjects(inputOf(own, pack, [["refs/heads/a", commit.oid]], { pool })), {
    code: "pool/saturated",
  });
});
