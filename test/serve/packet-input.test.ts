import t from "tap";
import { latin1 } from "../../src/base/bytes.js";
import { Fault } from "../../src/base/fault.js";
import type { ByteSource } from "../../src/base/flow.js";
import { PacketInput } from "../../src/serve/conversation/packet-input.js";

/** A source of these chunks; `failure` comes in place of the end. */
function source(chunks: readonly string[], failure?: unknown): ByteSource {
  const left = [...chunks];
  return {
    async read() {
      const chunk = left.shift();
      if (chunk === undefined && failure !== undefined) throw failure;
      return chunk === undefined ? undefined : Buffer.from(chunk, "latin1");
    },
  };
}

async function read(input: PacketInput, count: number): Promise<string[]> {
  const texts: string[] = [];
  for (let at = 0; at < count; at++) {
    const packet = await input.next();
    if (packet === undefined) break;
    texts.push(packet.kind === "data" ? latin1(packet.payload) : packet.kind);
  }
  return texts;
}

async function drain(from: ByteSource): Promise<string> {
  let text = "";
  for (let chunk = await from.read(); chunk !== undefined; chunk = await from.read())
    text += latin1(chunk);
  return text;
}

async function faultOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "none",
    (error: unknown) => (error instanceof Fault ? error.code : String(error)),
  );
}

t.test("packets, then the rest, wherever the stream is cut", async (t) => {
  const whole = "0009hello0005a0000PACK and what follows";
  for (let cut = 0; cut <= whole.length; cut++) {
    const input = new PacketInput(source([whole.slice(0, cut), whole.slice(cut)]), 1_000);
    t.same(await read(input, 3), ["hello", "a", "flush"], `cut ${cut}`);
    t.equal(await drain(input.rest()), "PACK and what follows", `cut ${cut}`);
  }
});

t.test(
  "the end between packets is an end, inside one a fault; both stay what they are",
  async (t) => {
    const ended = new PacketInput(source(["0005a"]), 1_000);
    t.same(await read(ended, 5), ["a"]);
    t.equal(await ended.next(), undefined);
    t.equal(await drain(ended.rest()), "");
    for (const part of ["0", "000", "0009hell"])
      t.equal(
        await faultOf(read(new PacketInput(source([part]), 1_000), 1)),
        "wire/truncated",
        part,
      );
  },
);

t.test("more than the limit is refused; the rest does not count", async (t) => {
  const input = new PacketInput(source(["0009hello0009hello0009hello"]), 20);
  t.same(await read(input, 2), ["hello", "hello"]);
  t.equal(await faultOf(input.next()), "wire/too-much");
  const small = new PacketInput(source(["0005a", "x".repeat(1_000)]), 10);
  t.same(await read(small, 1), ["a"]);
  t.equal((await drain(small.rest())).length, 1_000);
});

t.test("what the source throws comes through", async (t) => {
  const input = new PacketInput(source(["0005a00"], new Fault("base/aborted")), 1_000);
  t.same(await read(input, 1), ["a"]);
  t.equal(await faultOf(input.next()), "base/aborted");
  const broken = new PacketInput(source(["0005a", "PA"], new Fault("base/aborted")), 1_000);
  await read(broken, 1);
  t.equal(await faultOf(drain(broken.rest())), "base/aborted");
});
