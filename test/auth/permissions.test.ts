/** What each caller may in a repository: owned, granted or public, and what the token allows. */
import t from "tap";
import { Accounts } from "../../src/auth/accounts.js";
import {
  ANONYMOUS,
  atMost,
  type Caller,
  roleIncludes,
  type Role,
  type SignedIn,
  TRUSTED,
} from "../../src/auth/caller.js";
import { Permissions } from "../../src/auth/permissions.js";
import type { Database } from "../../src/database/database.js";
import type { RepositoryRow } from "../../src/database/schema.js";
import { RepositoryTable } from "../../src/serve/repositories/table.js";
import { onBoth } from "../support/databases.js";

const NOW = () => 1_700_000_000_000;

interface Scene {
  readonly permissions: Permissions;
  readonly table: RepositoryTable;
  /** The user of this name with a token of this scope. */
  caller(name: string, scope?: Role): Promise<SignedIn>;
  row(title: string, namespace: string | undefined): Promise<RepositoryRow>;
}

async function scene(database: Database): Promise<Scene> {
  const accounts = new Accounts(database, NOW);
  for (const name of ["ada", "bob", "root"]) await accounts.createUser(name, name === "root");
  const table = new RepositoryTable(database);
  return {
    permissions: new Permissions(database, accounts),
    table,
    async caller(name, scope = "admin") {
      const { token } = await accounts.createToken(name, { scope, label: "", expires: null });
      return (await accounts.signIn(token)) as SignedIn;
    },
    async row(title, namespace) {
      const row = table.newRow({ title, namespace, state: "made" });
      await table.insert(row);
      return row;
    },
  };
}

t.test("roles include those before them", async (t) => {
  const roles = [undefined, "read", "write", "admin"] as const;
  for (const [has, role] of roles.entries())
    for (const [asked, wanted] of roles.entries())
      if (wanted !== undefined)
        t.equal(roleIncludes(role, wanted), has >= asked, `${role} for ${wanted}`);
  t.same(
    [atMost("admin", "read"), atMost("read", "admin"), atMost("write", "write")],
    ["read", "read", "write"],
  );
});

onBoth("the most of owner, grant and public, at most what the token allows", async (t, opened) => {
  const { permissions, caller, row } = await scene(await opened());
  const open = await row("ada/open", "ada");
  const closed = await row("ada/closed", "ada");
  await permissions.setVisibility(open, "public");
  await permissions.setVisibility(closed, "private");
  await permissions.grant(closed, "bob", "write");
  const [ada, bob, root] = [await caller("ada"), await caller("bob"), await caller("root")];
  const [adaRead, bobRead, rootWrite] = [
    await caller("ada", "read"),
    await caller("bob", "read"),
    await caller("root", "write"),
  ];
  const cases: readonly (readonly [who: Caller, title: string, role: Role | undefined])[] = [
    [TRUSTED, "ada/open", "admin"],
    [TRUSTED, "ada/closed", "admin"],
    [TRUSTED, "ada/absent", "admin"],
    [ANONYMOUS, "ada/open", "read"],
    [ANONYMOUS, "ada/closed", undefined],
    [ANONYMOUS, "ada/absent", undefined],
    [ada, "ada/open", "admin"],
    [ada, "ada/closed", "admin"],
    [ada, "ada/absent", "admin"],
    [adaRead, "ada/closed", "read"],
    [bob, "ada/open", "read"],
    [bob, "ada/closed", "write"],
    [bob, "ada/absent", undefined],
    [bobRead, "ada/closed", "read"],
    [root, "ada/closed", "admin"],
    [rootWrite, "ada/closed", "write"],
  ];
  for (const [who, title, role] of cases) {
    const look = await permissions.look(who, title);
    t.equal(look.role("ada"), role, `${JSON.stringify(who)} in ${title}`);
    t.equal(look.row?.title, title === "ada/absent" ? undefined : title);
  }
});

onBoth("a grant counts for more than being public", async (t, opened) => {
  const { permissions, caller, row } = await scene(await opened());
  const open = await row("ada/open", "ada");
  await permissions.setVisibility(open, "public");
  await permissions.grant(open, "bob", "write");
  t.equal((await permissions.look(await caller("bob"), "ada/open")).role("ada"), "write");
});

onBoth("nobody's namespace has no owner, only administrators and grants", async (t, opened) => {
  const { permissions, caller, row } = await scene(await opened());
  const demo = await row("lakefs/demo", undefined);
  await permissions.setVisibility(demo, "private");
  const roles = async (who: Caller) => (await permissions.look(who, "lakefs/demo")).role(undefined);
  t.equal(await roles(await caller("ada")), undefined);
  t.equal(await roles(await caller("root")), "admin");
  await permissions.grant(demo, "ada", "read");
  t.equal(await roles(await caller("ada")), "read");
});

onBoth(
  "a name is owned as it is spelled, and nobody owns the name of a prefix",
  async (t, opened) => {
    const { permissions, caller } = await scene(await opened());
    const ada = await caller("ada");
    for (const namespace of ["Ada", "ada2", "ad", "", "ada/x"])
      t.notOk(permissions.mayCreate(ada, namespace), namespace);
  },
);

onBoth("who may make a repository by a push", async (t, opened) => {
  const { permissions, caller } = await scene(await opened());
  const cases: readonly (readonly [who: Caller, namespace: string | undefined, may: boolean])[] = [
    [TRUSTED, "ada", true],
    [TRUSTED, undefined, true],
    [ANONYMOUS, "ada", false],
    [ANONYMOUS, undefined, false],
    [await caller("ada"), "ada", true],
    [await caller("ada", "write"), "ada", true],
    [await caller("ada", "read"), "ada", false],
    [await caller("bob"), "ada", false],
    [await caller("bob"), undefined, false],
    [await caller("root"), "ada", true],
    [await caller("root"), undefined, true],
    [await caller("root", "read"), "ada", false],
  ];
  for (const [who, namespace, may] of cases)
    t.equal(permissions.mayCreate(who, namespace), may, `${JSON.stringify(who)} in ${namespace}`);
});

onBoth("whose list a caller sees", async (t, opened) => {
  const { permissions, caller } = await scene(await opened());
  const ada = await caller("ada");
  t.equal(permissions.viewerFor(TRUSTED), undefined);
  t.equal(permissions.viewerFor(await caller("root")), undefined);
  t.same(permissions.viewerFor(ANONYMOUS), { userId: undefined, namespace: undefined });
  t.same(permissions.viewerFor(ada), { userId: ada.id, namespace: "ada" });
});

onBoth(
  "grants are given once a user, replaced, listed by name and taken away",
  async (t, opened) => {
    const { permissions, row } = await scene(await opened());
    const open = await row("ada/open", "ada");
    const other = await row("ada/other", "ada");
    await permissions.grant(open, "root", "read");
    await permissions.grant(open, "BOB", "read");
    await permissions.grant(open, "bob", "admin");
    t.same(await permissions.grants(open), [
      { user: "bob", role: "admin" },
      { user: "root", role: "read" },
    ]);
    t.same(await permissions.grants(other), []);
    await t.rejects(permissions.grant(open, "nobody", "read"), { code: "user/missing" });
    await t.rejects(permissions.revoke(open, "nobody"), { code: "user/missing" });
    await t.rejects(permissions.revoke(other, "bob"), { code: "grant/missing" });
    await permissions.revoke(open, "bob");
    await t.rejects(permissions.revoke(open, "bob"), { code: "grant/missing" });
    t.same(await permissions.grants(open), [{ user: "root", role: "read" }]);
  },
);

onBoth("rights stay with the id: who gets the name later starts with none", async (t, opened) => {
  const { permissions, table, caller, row } = await scene(await opened());
  const bob = await caller("bob");
  const first = await row("ada/demo", "ada");
  await permissions.grant(first, "bob", "write");
  await table.setAside(first.id);
  t.equal((await permissions.look(bob, "ada/demo")).row, undefined);
  const second = await row("ada/demo", "ada");
  await permissions.setVisibility(second, "private");
  const look = await permissions.look(bob, "ada/demo");
  t.equal(look.row?.id, second.id);
  t.equal(look.role("ada"), undefined);
});
