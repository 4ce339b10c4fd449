import t from "tap";
import { concat, latin1, utf8 } from "../../src/base/bytes.js";
import type { ByteSink } from "../../src/base/flow.js";
import { LIMITS } from "../../src/base/limits.js";
import type { HttpRequest } from "../../src/transport/http/contract.js";
import { answer, HoldBudget, type RawReply } from "../../src/transport/http/body.js";

/** Records what leaves. */
class FakeReply implements RawReply {
  total: number | undefined;
  status = 0;
  readonly parts: Uint8Array[] = [];
  /** The memory they were in. */
  readonly memories = new Set<ArrayBufferLike>();
  state: "open" | "ended" | "cut" = "open";
  begin(head: { status: number }, total: number | undefined): void {
    this.status = head.status;
    this.total = total;
  }
  async write(bytes: Uint8Array): Promise<void> {
    this.parts.push(bytes.slice());
    this.memories.add(bytes.buffer);
    await null;
  }
  async end(): Promise<void> {
    this.state = "ended";
  }
  cut(): void {
    this.state = "cut";
  }
  get text(): string {
    return latin1(concat(this.parts));
  }
}

async function run(
  write: (sink: ByteSink) => Promise<void>,
  budget = new HoldBudget(),
): Promise<FakeReply> {
  const raw = new FakeReply();
  await answer(
    async () => ({ status: 200, headers: [], body: write }),
    { id: "r1", header: () => undefined } as unknown as HttpRequest,
    raw,
    { budget, holdMs: 1_000 },
  );
  return raw;
}

t.test("many small writes leave in one", async (t) => {
  const raw = await run(async (sink) => {
    for (let at = 0; at < 1_000; at++) await sink.write(utf8("0123456789"));
  });
  t.match(
    { total: raw.total, parts: raw.parts.length, state: raw.state },
    { total: 10_000, parts: 1, state: "ended" },
  );
});

t.test("held chunks are copies, each reply's in memory of its own", async (t) => {
  const send = (from: number) => {
    const chunk = Buffer.alloc(LIMITS.streamChunkBytes);
    return run(async (sink) => {
      for (let at = 0; at < 8; at++) await sink.write(chunk.fill(from + at)); // its own buffer again, as a stream does
    });
  };
  const expected = (from: number) =>
    concat(Array.from({ length: 8 }, (_, at) => Buffer.alloc(LIMITS.streamChunkBytes, from + at)));
  const [one, two] = await Promise.all([send(1), send(101)]);
  t.ok(Buffer.from(concat(two.parts)).equals(expected(101)), "two at a time do not share");
  t.ok(Buffer.from(concat(one.parts)).equals(expected(1)));
  const next = await send(51);
  t.ok(Buffer.from(concat(next.parts)).equals(expected(51)));
  t.notOk(
    [...next.memories].some((memory) => one.memories.has(memory) || two.memories.has(memory)),
  );
  t.notOk([...one.memories].some((memory) => two.memories.has(memory)));
});

t.test(
  "what is held is given back to the budget: after success, failure and overflow",
  async (t) => {
    const budget = new HoldBudget();
    await run(async (sink) => sink.write(Buffer.alloc(1_000_000)), budget);
    await run(async (sink) => {
      await sink.write(Buffer.alloc(1_000_000));
      throw new Error("no");
    }, budget);
    await run(async (sink) => {
      for (let at = 0; at < 40; at++) await sink.write(Buffer.alloc(1_000_000));
    }, budget);
    t.ok(budget.take(LIMITS.replyHoldTotalBytesMax), "all of it is there");
  },
);

t.test("a spent budget means chunked at once, not failure", async (t) => {
  const budget = new HoldBudget();
  budget.take(LIMITS.replyHoldTotalBytesMax);
  const raw = await run(async (sink) => sink.write(utf8("hello")), budget);
  t.match(
    { total: raw.total, text: raw.text, state: raw.state },
    { total: undefined, text: "hello", state: "ended" },
  );
});

t.test("announced and written must agree", async (t) => {
  t.match(
    await run(async (sink) => {
      sink.expect?.(5);
      await sink.write(utf8("hello"));
    }),
    { total: 5, state: "ended" },
  );
  t.match(
    await run(async (sink) => {
      sink.expect?.(6);
      await sink.write(utf8("hello"));
    }),
    { state: "cut" },
  );
  t.match(
    await run(async (sink) => {
      sink.expect?.(4);
      await sink.write(utf8("hello"));
    }),
    { state: "cut" },
  );
  t.match(
    await run(async (sink) => {
      sink.expect?.("large");
      await sink.write(utf8("hello"));
    }),
    { total: undefined, state: "ended" },
  );
  const grown = await run(async (sink) => {
    await sink.write(utf8("he"));
    sink.expect?.("large");
    await sink.write(utf8("llo"));
  });
  t.match(
    { total: grown.total, text: grown.text, parts: grown.parts.length },
    { total: undefined, text: "hello", parts: 2 },
  );
});

t.test(
  "a size announced after the first write counts from there, and what was held goes with it",
  async (t) => {
    const late = await run(async (sink) => {
      await sink.write(utf8("he"));
      sink.expect?.(3);
      await sink.write(utf8("llo"));
    });
    t.match(
      { total: late.total, text: late.text, state: late.state },
      { total: 5, text: "hello", state: "ended" },
    );
    for (const after of ["ll", "llo!", ""]) {
      const other = await run(async (sink) => {
        await sink.write(utf8("he"));
        sink.expect?.(3);
        await sink.write(utf8(after));
      });
      t.match(
        { total: other.total, state: other.state },
        { total: 5, state: "cut" },
        `"${after}" is not three bytes`,
      );
    }
    const twice = await run(async (sink) => {
      sink.expect?.(5);
      sink.expect?.(5);
      await sink.write(utf8("hello"));
    });
    t.match({ status: twice.status, state: twice.state }, { status: 500, state: "ended" }, "once");
    const chunked = await run(async (sink) => {
      await sink.write(utf8("he"));
      sink.expect?.("large");
      sink.expect?.(3);
      await sink.write(utf8("llo"));
    });
    t.match(
      { total: chunked.total, text: chunked.text, state: chunked.state },
      { total: undefined, text: "hello", state: "ended" },
      "too late for a length",
    );
    const none = await run(async (sink) => sink.expect?.(5));
    t.match(
      { status: none.status, state: none.state },
      { status: 500, state: "ended" },
      "announced, and nothing written: that can still be told",
    );
  },
);
