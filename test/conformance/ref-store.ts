/** Contract suite of ref stores (src/odb/ref-store.ts). Called by each implementation's test. */
import type { Test } from "tap";
import { ZERO_OID } from "../../src/git/oid.js";
import type { RefChange, RefOutcome, RefStore, RefUpdateOptions } from "../../src/odb/ref-store.js";

export const OPTIONS: RefUpdateOptions = {
  atomic: false,
  denyDeletes: false,
  denyDeleteCurrent: true,
};

/** A made-up object id. */
export function oid(n: number): string {
  return n.toString(16).padStart(40, "0");
}

export function create(name: string, id: string): RefChange {
  return { name, old: ZERO_OID, new: id };
}

/** Points where implementations may differ, and parts they need to be tested. */
export interface RefStoreTraits {
  /** Object ids to point refs at: from 1 to 17 in one line of history; for `scale` any number. */
  readonly oid: (n: number) => string;
  /** An annotated tag and what it peels to. */
  readonly tag: { readonly oid: string; readonly peeled: string };
  /** Answer to an atomic push of several refs, one of which cannot land. */
  readonly atomic: RegExp;
  /**
   * HEAD stays at the first branch that is pushed; otherwise it is the first by name as long as the
   * default branch has no commit.
   */
  readonly headStays: boolean;
  /** Ten thousand refs at once, at ids that nothing is behind. */
  readonly scale: boolean;
}

const MADE_UP: RefStoreTraits = {
  oid,
  tag: { oid: oid(7), peeled: oid(8) },
  atomic: /^atomic push failure$/,
  headStays: true,
  scale: true,
};

function failed(outcomes: readonly RefOutcome[]): string[] {
  return outcomes.flatMap((outcome) => (outcome.ok ? [] : [outcome.name]));
}

export async function refStoreConformance(
  t: Test,
  make: () => Promise<RefStore>,
  traits: RefStoreTraits = MADE_UP,
): Promise<void> {
  const { oid } = traits;

  await t.test("an empty store has a HEAD and no refs", async (t) => {
    const { head, refs } = await (await make()).read();
    t.equal(head, "refs/heads/main");
    t.same(refs, []);
  });

  await t.test("create, move, delete; every read sees the last update", async (t) => {
    const refs = await make();
    t.same(
      failed(
        await refs.update(
          [create("refs/heads/main", oid(1)), create("refs/tags/v1", oid(2))],
          OPTIONS,
        ),
      ),
      [],
    );
    const before = await refs.read();
    t.same(
      before.refs.map(({ name }) => name),
      ["refs/heads/main", "refs/tags/v1"],
    );
    t.same(
      failed(await refs.update([{ name: "refs/heads/main", old: oid(1), new: oid(3) }], OPTIONS)),
      [],
    );
    const after = await refs.read();
    t.equal(after.byName.get("refs/heads/main")?.oid, oid(3));
    t.not(after.revision, before.revision);
    t.equal(before.byName.get("refs/heads/main")?.oid, oid(1), "a snapshot never changes");
    t.same(
      failed(await refs.update([{ name: "refs/tags/v1", old: oid(2), new: ZERO_OID }], OPTIONS)),
      [],
    );
    t.equal((await refs.read()).byName.has("refs/tags/v1"), false);
  });

  await t.test("a stale old id is refused in every form, and the other refs land", async (t) => {
    const refs = await make();
    await refs.update([create("refs/heads/a", oid(1)), create("refs/heads/b", oid(1))], OPTIONS);
    const outcomes = await refs.update(
      [
        { name: "refs/heads/a", old: oid(9), new: oid(2) },
        create("refs/heads/b", oid(2)),
        { name: "refs/heads/gone", old: oid(1), new: oid(2) },
        { name: "refs/heads/never", old: oid(1), new: ZERO_OID },
        create("refs/heads/c", oid(5)),
      ],
      OPTIONS,
    );
    t.same(failed(outcomes), [
      "refs/heads/a",
      "refs/heads/b",
      "refs/heads/gone",
      "refs/heads/never",
    ]);
    t.match(outcomes[0], { reason: /fetch first/ });
    const { byName } = await refs.read();
    t.same(
      [...byName.values()].map((ref) => [ref.name, ref.oid]),
      [
        ["refs/heads/a", oid(1)],
        ["refs/heads/b", oid(1)],
        ["refs/heads/c", oid(5)],
      ],
    );
  });

  await t.test(
    "a file and a folder of one name are refused, yet a delete makes room in the same push",
    async (t) => {
      const refs = await make();
      await refs.update(
        [create("refs/heads/d", oid(1)), create("refs/heads/e/f", oid(1))],
        OPTIONS,
      );
      t.same(failed(await refs.update([create("refs/heads/d/x", oid(2))], OPTIONS)), [
        "refs/heads/d/x",
      ]);
      t.same(failed(await refs.update([create("refs/heads/e", oid(2))], OPTIONS)), [
        "refs/heads/e",
      ]);
      const swapped = await refs.update(
        [create("refs/heads/d/x", oid(2)), { name: "refs/heads/d", old: oid(1), new: ZERO_OID }],
        {
          ...OPTIONS,
          denyDeleteCurrent: false,
        },
      );
      t.same(failed(swapped), []);
      t.same(
        failed(
          await refs.update(
            [create("refs/heads/n/m", oid(2)), create("refs/heads/n", oid(2))],
            OPTIONS,
          ),
        ),
        ["refs/heads/n"],
        "within one push",
      );
    },
  );

  await t.test("atomic: one refusal refuses all", async (t) => {
    const refs = await make();
    await refs.update([create("refs/heads/a", oid(1))], OPTIONS);
    const outcomes = await refs.update(
      [create("refs/heads/b", oid(2)), create("refs/heads/a", oid(2))],
      { ...OPTIONS, atomic: true },
    );
    t.same(failed(outcomes), ["refs/heads/b", "refs/heads/a"]);
    t.match(outcomes[0], { reason: traits.atomic });
    t.equal((await refs.read()).byName.has("refs/heads/b"), false);
  });

  await t.test(
    "HEAD follows the first branch pushed; it stays there where it can be kept, else it is the first by name until the default branch has a commit",
    async (t) => {
      const refs = await make();
      await refs.update([create("refs/tags/x", oid(1))], OPTIONS);
      t.equal((await refs.read()).head, "refs/heads/main");
      await refs.update([create("refs/heads/trunk", oid(1))], OPTIONS);
      t.equal((await refs.read()).head, "refs/heads/trunk");
      await refs.update([create("refs/heads/other", oid(1))], OPTIONS);
      t.equal((await refs.read()).head, traits.headStays ? "refs/heads/trunk" : "refs/heads/other");
    },
  );

  await t.test("deletes can be denied, that of the current branch by default", async (t) => {
    const refs = await make();
    await refs.update(
      [
        create("refs/heads/main", oid(1)),
        create("refs/heads/x", oid(1)),
        create("refs/tags/v", oid(1)),
      ],
      OPTIONS,
    );
    const drop = (name: string): RefChange => ({ name, old: oid(1), new: ZERO_OID });
    t.same(failed(await refs.update([drop("refs/heads/main")], OPTIONS)), ["refs/heads/main"]);
    t.same(failed(await refs.update([drop("refs/heads/x")], { ...OPTIONS, denyDeletes: true })), [
      "refs/heads/x",
    ]);
    t.same(failed(await refs.update([drop("refs/heads/x"), drop("refs/tags/v")], OPTIONS)), []);
  });

  await t.test(
    "of sixteen pushers on one ref exactly one wins; on sixteen refs all do",
    async (t) => {
      const refs = await make();
      const same = await Promise.all(
        Array.from({ length: 16 }, (_, n) =>
          refs.update([create("refs/heads/one", oid(n + 1))], OPTIONS),
        ),
      );
      t.equal(same.filter((outcomes) => outcomes[0]?.ok).length, 1);
      const own = await Promise.all(
        Array.from({ length: 16 }, (_, n) =>
          refs.update([create(`refs/heads/r${n}`, oid(n + 1))], OPTIONS),
        ),
      );
      t.equal(own.filter((outcomes) => outcomes[0]?.ok).length, 16);
      t.equal((await refs.read()).refs.length, 17);
    },
  );

  await t.test(
    "names keep their bytes, order is bytewise, tags keep what they peel to",
    async (t) => {
      const refs = await make();
      const names = [
        "refs/heads/\xe4\xff",
        "refs/heads/-x",
        "refs/heads/a.b",
        "refs/heads/a-b",
        "refs/heads/Z",
      ];
      await refs.update(
        [
          ...names.map((name, n) => create(name, oid(n + 1))),
          { ...create("refs/tags/t", traits.tag.oid), peeled: traits.tag.peeled },
        ],
        OPTIONS,
      );
      const { refs: read, byName } = await refs.read();
      t.same(
        read.map(({ name }) => name),
        [...names, "refs/tags/t"].sort((a, b) =>
          Buffer.compare(Buffer.from(a, "latin1"), Buffer.from(b, "latin1")),
        ),
      );
      t.equal(byName.get("refs/tags/t")?.peeled, traits.tag.peeled);
    },
  );

  if (!traits.scale) return;
  await t.test("10,000 refs: made in one update, changed one by one", async (t) => {
    const refs = await make();
    const many = Array.from({ length: 10_000 }, (_, n) =>
      create(`refs/heads/many/${n % 100}/${n}`, oid(n + 1)),
    );
    t.same(failed(await refs.update(many, OPTIONS)), []);
    for (let n = 0; n < 5; n++) {
      t.same(
        failed(
          await refs.update(
            [{ name: `refs/heads/many/${n}/${n}`, old: oid(n + 1), new: oid(90_000 + n) }],
            OPTIONS,
          ),
        ),
        [],
      );
    }
    await refs.update([{ name: "refs/heads/many/7/7", old: oid(8), new: ZERO_OID }], {
      ...OPTIONS,
      denyDeleteCurrent: false,
    });
    const { refs: read, byName } = await refs.read();
    t.equal(read.length, 9_999);
    t.equal(byName.get("refs/heads/many/3/3")?.oid, oid(90_003));
  });
}
