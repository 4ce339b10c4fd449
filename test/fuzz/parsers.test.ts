/**
 * Every parser of what a client sends, on nonsense that began as something good: it answers, or
 * throws a Fault; never another error, never a hang, never more memory than what came in explains.
 * `npm run fuzz` goes on for FUZZ_SECONDS (an hour) with new seeds; a failure names its seed.
 */
import t from "tap";
import { Fault } from "../../src/base/fault.js";
import { checkObject } from "../../src/git/fsck/fsck.js";
import { readSubmodules } from "../../src/git/fsck/gitmodules.js";
import { parsePack } from "../reference/pack-parser.js";
import { resolvePack } from "../reference/pack-resolver.js";
import { TreeCursor } from "../../src/git/tree.js";
import { plainKernels } from "../../src/kernels/plain.js";
import { readPath } from "../../src/transport/http/path.js";
import { CommandRequestReader } from "../../src/wire/command-request.js";
import { parseFilter } from "../../src/wire/filter.js";
import { PacketReader } from "../../src/wire/pkt-line.js";
import { PushRequestReader } from "../../src/wire/push.js";
import { HaveLines, UploadRequestReader } from "../../src/wire/upload-request.js";
import { pkts } from "../support/raw-fetch.js";
import { command } from "../support/raw-push.js";
import { appending, blob, buildPack, whole } from "../support/pack-builder.js";
import { type Random, seeded } from "../support/random.js";

const OFFER = { agent: "test", allowTipInWant: false, allowReachableInWant: false, atomic: true };
const ONE = "1".repeat(40);
const ZERO = "0".repeat(40);
const bytes = (text: string) => Buffer.from(text, "latin1");

interface Target {
  readonly name: string;
  readonly good: readonly Uint8Array[];
  readonly run: (input: Uint8Array) => void;
}

function packets(
  input: Uint8Array,
  take: (packet: NonNullable<ReturnType<PacketReader["next"]>>) => unknown,
): void {
  const reader = new PacketReader();
  for (let at = 0; at < input.length; at += 50) {
    reader.push(input.subarray(at, at + 50));
    for (let packet = reader.next(); packet !== undefined; packet = reader.next())
      if (take(packet) !== undefined) return;
  }
  reader.finish();
}

const tree = Buffer.concat([
  bytes("100644 a\0"),
  Buffer.alloc(20, 1),
  bytes("40000 b\0"),
  Buffer.alloc(20, 2),
]);
const commitText = `tree ${ONE}\nparent ${ONE}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nmessage\n`;
const tagText = `object ${ONE}\ntype commit\ntag v1\ntagger A <a@b> 1 +0000\n\nmessage\n`;

const TARGETS: readonly Target[] = [
  {
    name: "version 2 commands",
    good: [
      pkts(
        "command=ls-refs",
        "agent=x",
        "object-format=sha1",
        "0001",
        "peel",
        "symrefs",
        "unborn",
        "ref-prefix refs/heads/",
        "0000",
      ),
      pkts(
        "command=fetch",
        "0001",
        `want ${ONE}`,
        "want-ref refs/heads/x",
        `have ${ONE}`,
        `shallow ${ONE}`,
        "deepen 5",
        "filter blob:limit=1k",
        "thin-pack",
        "done",
        "0000",
      ),
      pkts("command=object-info", "0001", "size", `oid ${ONE}`, "0000"),
    ].map(bytes),
    run: (input) => {
      const reader = new CommandRequestReader();
      packets(input, (packet) => reader.take(packet));
    },
  },
  {
    name: "version 0 requests and haves",
    good: [
      bytes(
        pkts(
          `want ${ONE} multi_ack_detailed side-band-64k ofs-delta filter agent=x`,
          `want ${ONE}`,
          `shallow ${ONE}`,
          "deepen 3",
          "filter tree:0",
          "0000",
          `have ${ONE}`,
          "0000",
          "done",
        ),
      ),
    ],
    run: (input) => {
      const request = new UploadRequestReader(OFFER);
      const haves = new HaveLines();
      let begun = false;
      packets(input, (packet) => {
        if (begun) haves.take(packet);
        else begun = request.take(packet) !== undefined;
      });
    },
  },
  {
    name: "push commands",
    good: [
      bytes(
        `${command(ZERO, ONE, "refs/heads/x", "report-status atomic push-options side-band-64k")}${command(ONE, ZERO, "refs/heads/y")}00000009hello0000PACK`,
      ),
    ],
    run: (input) => {
      const reader = new PushRequestReader(OFFER);
      packets(input, (packet) => reader.take(packet));
    },
  },
  {
    name: "filters",
    good: [
      "blob:none",
      "blob:limit=10k",
      "tree:3",
      "object:type=blob",
      `sparse:oid=${ONE}:a/b`,
      "combine:blob:none+tree:3+combine:tree%3a1+blob:limit%3d5",
    ].map(bytes),
    run: (input) => void parseFilter(Buffer.from(input).toString("latin1")),
  },
  {
    name: "paths",
    good: [
      "ns/name.git/info/refs",
      "datasets/a/b/HEAD",
      "lakefs/demo.git/git-upload-pack",
      "api/repos/a/b/commits/x",
      "ns/%41.git/HEAD",
    ].map(bytes),
    run: (input) => void readPath(`/${Buffer.from(input).toString("latin1")}`),
  },
  {
    name: "trees",
    good: [tree],
    run: (input) => {
      checkObject("tree", input, { gitmodules: [], gitattributes: [] });
      for (const cursor = new TreeCursor(input); cursor.next(); );
    },
  },
  {
    name: "commits",
    good: [bytes(commitText)],
    run: (input) => void checkObject("commit", input, { gitmodules: [], gitattributes: [] }),
  },
  {
    name: "tags",
    good: [bytes(tagText)],
    run: (input) => void checkObject("tag", input, { gitmodules: [], gitattributes: [] }),
  },
  {
    name: ".gitmodules",
    good: [
      bytes(
        '[submodule "x"]\n\tpath = "a\\"b" ; c\n\turl = https://example.com/ # d\n[a.b]\nc\\\n = d\n',
      ),
    ],
    run: (input) => void [...readSubmodules(input)],
  },
  {
    name: "packs",
    good: [
      buildPack([
        blob("a base of some length"),
        { type: 6, base: 0, data: appending(bytes("a base of some length"), "x") },
        whole("commit", commitText),
      ]),
    ],
    run: (input) => void resolvePack(parsePack(input, plainKernels), plainKernels),
  },
];

/** Cut, repeated, flipped, spliced with another. */
function mangled(random: Random, good: readonly Uint8Array[]): Uint8Array {
  let input = Buffer.from(random.pick(good));
  for (let times = 1 + random.below(4); times > 0; times--) {
    const at = random.below(input.length + 1);
    const to = at + random.below(Math.min(40, input.length - at + 1));
    switch (random.below(6)) {
      case 0:
        input = Buffer.concat([input.subarray(0, at), input.subarray(to)]);
        break;
      case 1:
        input = Buffer.concat([input.subarray(0, to), input.subarray(at)]);
        break;
      case 2:
        input = Buffer.concat([
          input.subarray(0, at),
          random.bytes(random.below(9)),
          input.subarray(to),
        ]);
        break;
      case 3:
        input = Buffer.concat([
          input.subarray(0, at),
          Buffer.from(random.pick(good)).subarray(random.below(20)),
        ]);
        break;
      case 4:
        input = input.subarray(0, at);
        break;
      default:
        if (at < input.length) input[at] = (input[at] as number) ^ (1 << random.below(8));
    }
  }
  return input;
}

const seconds = Number(process.env["FUZZ_SECONDS"] ?? 0);
const firstSeed = seconds > 0 ? Date.now() % 2 ** 31 : 1;

for (const { name, good, run } of TARGETS) {
  t.test(name, { timeout: Math.max(60_000, seconds * 1_000 + 60_000) }, async (t) => {
    for (const one of good) run(one.slice());
    const until = performance.now() + (seconds * 1_000) / TARGETS.length;
    let slowestMs = 0;
    let rounds = 0;
    for (; rounds < 3_000 || performance.now() < until; rounds++) {
      const seed = firstSeed + rounds;
      const input = mangled(seeded(seed), good);
      const started = performance.now();
      try {
        run(input.slice());
      } catch (error) {
        if (!(error instanceof Fault))
          t.fail(`seed ${seed}: ${String(error)}\n${Buffer.from(input).toString("hex")}`);
      }
      slowestMs = Math.max(slowestMs, performance.now() - started);
    }
    t.ok(
      slowestMs < 5_000,
      `${rounds} rounds from seed ${firstSeed}, the slowest ${Math.round(slowestMs)} ms`,
    );
  });
}
