/** The list of what somebody may see looks at every repository: it must not be a way to keep the server busy. */
import t from "tap";
import { LIMITS } from "../../src/base/limits.js";
import { type Asker, Repositories, type RepositoriesOptions } from "../../src/serve/repositories.js";

const turn = () => new Promise<void>((wake) => setImmediate(wake));

function store(count: number) {
  const seen = { walks: 0, most: 0, keys: 0 };
  async function* list() {
    seen.most = Math.max(seen.most, ++seen.walks);
    try {
      for (let at = 0; at < count; at++) {
        if (at % 1_000 === 0) await turn();
        seen.keys++;
        yield { key: `repos/ns/n${String(at).padStart(6, "0")}/git/manifest` };
      }
    } finally {
      seen.walks--;
    }
  }
  const repositories = new Repositories({ services: { store: { list }, pool: { threads: 2 } } } as unknown as RepositoriesOptions);
  return { repositories, seen };
}

const nobody: Asker = { role: async () => undefined, mayCreate: () => false };

t.test("one walk at a time, none longer than its limit, and who goes stands in nobody's way", async (t) => {
  const { repositories, seen } = store(2 * LIMITS.listedScanMax);
  const gone = new AbortController();
  const waiting = repositories.list(10, gone.signal, "", nobody);
  const others = Array.from({ length: 8 }, () => repositories.list(10, gone.signal, "", nobody));
  const last = repositories.list(10, undefined, "", nobody);
  gone.abort();
  for (const { status } of await Promise.allSettled(others)) t.equal(status, "rejected");
  await waiting.catch(() => undefined);
  t.same(await last, []);
  t.equal(seen.most, 1);
  t.ok(seen.keys <= 2 * (LIMITS.listedScanMax + 1), `${seen.keys} looked at by the two that walked`);
});

t.test("who may see all does not wait for them", async (t) => {
  const { repositories, seen } = store(3_000);
  const slow = repositories.list(10, undefined, "", nobody);
  t.equal((await repositories.list(10)).length, 10);
  t.equal(seen.most, 2);
  await slow;
});
