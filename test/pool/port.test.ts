/**
 * Questions and answers between a task and its runner: each gets its own, and nobody waits for
 * ever.
 */
import t from "tap";
import { Fault } from "../../src/base/fault.js";
import { servePort, TaskPort } from "../../src/pool/port.js";

type News = { readonly kind: "done"; readonly count: number };
type Asked = {
  sum(left: number, right: number): number;
  find(name: string): string | undefined;
  never(): string;
};

function pair(told: News[], words: string[]) {
  const served = servePort<News, Asked, string>({
    onNews: (news) => void told.push(news),
    answers: {
      sum: (left, right) => left + right,
      find: async (name) => {
        // The later a name in the alphabet, the sooner it is answered.
        await new Promise((wake) => setTimeout(wake, 5 * (0x7a - name.charCodeAt(0))));
        if (name === "x") throw new Fault("store/missing", { key: name });
        return name === "y" ? undefined : name.toUpperCase();
      },
      never: () => new Promise<string>(() => undefined),
    },
  });
  const port = new TaskPort<News, Asked, string>(served.port, (word) => void words.push(word));
  return { served, port };
}

t.test("each question gets its own answer, in whatever order they come", async (t) => {
  const { served, port } = pair([], []);
  const [a, z, y, sum] = await Promise.all([
    port.ask("find", "a"),
    port.ask("find", "z"),
    port.ask("find", "y"),
    port.ask("sum", 2, 3),
  ]);
  t.same([a, z, y, sum], ["A", "Z", undefined, 5]);
  served.close();
});

t.test("a failed answer is the same fault on the other side", async (t) => {
  const { served, port } = pair([], []);
  await t.rejects(port.ask("find", "x"), { code: "store/missing", facts: { key: "x" } });
  const unknown = new TaskPort<News, Asked & { other(): void }>(served.port);
  await t.rejects(unknown.ask("other"), { code: "base/internal", facts: { reason: /other/ } });
  served.close();
});

t.test("what was told before is heard before, and words come unasked", async (t) => {
  const [told, words]: [News[], string[]] = [[], []];
  const { served, port } = pair(told, words);
  for (let count = 0; count < 1_000; count++) port.tell({ kind: "done", count });
  await port.heard();
  t.same([told.length, told.at(-1)?.count], [1_000, 999]);
  served.say("leave off");
  await port.heard();
  t.same(words, ["leave off"]);
  served.close();
});

t.test("nobody waits for a runner that has gone, nor for a port of one's own", async (t) => {
  for (const who of ["served", "port"] as const) {
    const ends = pair([], []);
    const waiting = ends.port.ask("never");
    ends[who].close();
    await t.rejects(waiting, { code: "base/aborted" }, who);
    await t.rejects(ends.port.ask("sum", 1, 2), { code: "base/aborted" }, "asked behind it");
    await t.rejects(ends.port.heard(), { code: "base/aborted" });
    ends.served.close();
  }
});
