/**
 * Links that lead to an object of another type: in the same pack, in an earlier one, from a delta
 * whose base is stored, to objects that were made of lakeFS, and to what comes later than the link.
 * All are refused, in Git's words; stock git refuses the same bytes. And what trees call
 * .gitmodules or .gitattributes is looked at wherever it lies.
 */
import { spawnSync } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { frontEnds } from "../support/everyday.js";
import { git, type Lakepack, startLakepack } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { emptyRepository, put, signal, startBeside } from "../support/lakefs-rig.js";
import { command, EMPTY_PACK, parseReport, postPush } from "../support/raw-push.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import {
  appending,
  blob,
  buildPack,
  type HandEntry,
  oidOf,
  whole,
} from "../support/pack-builder.js";

type Type = "blob" | "tree" | "commit" | "tag";
const TYPES: readonly Type[] = ["blob", "tree", "commit", "tag"];
const ZERO = "0".repeat(40);
t.setTimeout(300_000);
const WHO = "A <a@example.com> 1700000000 +0000";

const entry = (mode: string, name: string, oid: string) =>
  Buffer.concat([Buffer.from(`${mode} ${name}\0`), Buffer.from(oid, "hex")]);
const commitOf = (tree: string, more = "") =>
  `tree ${tree}\n${more}author ${WHO}\ncommitter ${WHO}\n\nmessage\n`;
const tagOf = (oid: string, type: string, name = "x") =>
  `object ${oid}\ntype ${type}\ntag ${name}\ntagger ${WHO}\n\nmessage\n`;

/** One object of each type, by its id; those of `entries` make them. */
interface Scene {
  readonly ids: Readonly<Partial<Record<Type, string>>>;
  readonly entries: readonly HandEntry[];
}

function scene(word: string): Scene {
  const file = `a file ${word}\n`;
  const tree = entry("100644", "file", oidOf("blob", file));
  const text = commitOf(oidOf("tree", tree)).replace("message", `message ${word}`);
  const tag = tagOf(oidOf("commit", text), "commit", "scene");
  return {
    ids: {
      blob: oidOf("blob", file),
      tree: oidOf("tree", tree),
      commit: oidOf("commit", text),
      tag: oidOf("tag", tag),
    },
    entries: [blob(file), whole("tree", tree), whole("commit", text), whole("tag", tag)],
  };
}

/** Objects around a link to `target` that says `expected`; the last one is the tip. */
interface Link {
  readonly name: string;
  readonly expected: Type;
  around(target: string, good: Scene["ids"]): HandEntry[];
}

const inTree = (mode: string, expected: Type): Link => ({
  name: `an entry of mode ${mode}`,
  expected,
  around: (target) => {
    const tree = entry(mode, "entry", target);
    return [whole("tree", tree), whole("commit", commitOf(oidOf("tree", tree)))];
  },
});
const LINKS: readonly Link[] = [
  inTree("40000", "tree"),
  inTree("100644", "blob"),
  inTree("120000", "blob"),
  {
    name: "a commit's tree",
    expected: "tree",
    around: (target) => [whole("commit", commitOf(target))],
  },
  {
    name: "a commit's parent",
    expected: "commit",
    around: (target, { tree }) => [whole("commit", commitOf(tree as string, `parent ${target}\n`))],
  },
  ...TYPES.map(
    (expected): Link => ({
      name: `a tag of type ${expected}`,
      expected,
      around: (target) => [whole("tag", tagOf(target, expected))],
    }),
  ),
];

const typeOf = ({ type }: HandEntry) =>
  (["commit", "tree", "blob", "tag"] as const)[type - 1] as Type;

function bodyOf(
  entries: readonly HandEntry[],
  ref?: string,
): { lines: string[]; pack: Buffer; tip: string } {
  const last = entries.at(-1) as HandEntry;
  const tip = oidOf(typeOf(last), last.data);
  const name = ref ?? (typeOf(last) === "commit" ? `refs/heads/h${tip}` : `refs/tags/t${tip}`);
  return { lines: [command(ZERO, tip, name, "report-status")], pack: buildPack(entries), tip };
}

async function push(
  server: Lakepack,
  path: string,
  entries: readonly HandEntry[],
  ref?: string,
): Promise<string> {
  const { lines, pack } = bodyOf(entries, ref);
  const { unpack, refs } = parseReport((await postPush(server, path, lines, pack)).body);
  return `unpack ${unpack}, ${refs.join()}`;
}

/** Sends the same bytes to stock git. */
function pushToStock(repository: string, entries: readonly HandEntry[]): string {
  const { lines, pack } = bodyOf(entries);
  const input = Buffer.concat([Buffer.from(`${lines.join("")}0000`, "latin1"), pack]);
  const { stdout } = spawnSync("git", ["receive-pack", "--stateless-rpc", repository], { input });
  const { unpack, refs } = parseReport(stdout);
  return `unpack ${unpack}, ${refs.join()}`;
}

async function stockRepository(t: Test): Promise<string> {
  const folder = join(await tempFolder(t), "stock.git");
  await git(["init", "-q", "--bare", folder]);
  for (const [key, value] of [
    ["receive.fsckObjects", "true"],
    ["receive.unpackLimit", "1"],
  ] as const)
    await git(["config", key, value], { cwd: folder });
  return folder;
}

const OK = /^unpack ok, ok /;

for (const kind of frontEnds) {
  t.test(
    `every link, right and wrong, to the same pack and to an earlier one: ${kind}`,
    { timeout: 300_000 },
    async (t) => {
      const server = await startLakepack(t, { args: ["--transport", kind] });
      const stock = await stockRepository(t);
      const old = scene("of an earlier push");
      t.match(await push(server, "/ns/links.git", old.entries), OK);
      t.match(pushToStock(stock, old.entries), OK);
      const fresh = scene("of this push");
      for (const link of LINKS)
        for (const type of TYPES)
          for (const [where, { ids }, beside] of [
            ["an earlier pack", old, []],
            ["the same pack", fresh, fresh.entries],
          ] as const) {
            const entries = [...beside, ...link.around(ids[type] as string, old.ids)];
            const name = `${link.name} leads to a ${type} of ${where}`;
            const [ours, theirs] = [
              await push(server, "/ns/links.git", entries),
              pushToStock(stock, entries),
            ];
            if (type === link.expected) t.match([ours, theirs], [OK, OK], name);
            else {
              t.match(
                ours,
                `unpack object ${ids[type]}: expected type ${link.expected}, found ${type}`,
                name,
              );
              t.notMatch(theirs, OK, `${name}: stock git`);
            }
          }
      t.match(
        await git(["fsck", "--full", "--strict", "--no-dangling"], {
          cwd: await gitFolder(server),
        }),
        "",
      );
    },
  );

  t.test(
    `one id as two things, deltas on stored trees, names that Git reads: ${kind}`,
    { timeout: 300_000 },
    async (t) => {
      const server = await startLakepack(t, { args: ["--transport", kind] });
      const stock = await stockRepository(t);
      const old = scene("stored");
      const evil = '[submodule "../x"]\n\tpath = x\n\turl = x\n';
      const harmless = '[submodule "x"]\n\tpath = x\n\turl = https://example.com/x\n';
      const long = "a".repeat(3_000);
      const names = Buffer.concat([
        entry("100644", "evil", oidOf("blob", evil)),
        entry("100644", "kind", oidOf("blob", harmless)),
        entry("100644", "long", oidOf("blob", long)),
      ]);
      const first = [
        ...old.entries,
        blob(evil),
        blob(harmless),
        blob(long),
        whole("tree", names),
        whole("commit", commitOf(oidOf("tree", names))),
      ];
      t.match(await push(server, "/ns/names.git", first), OK);
      t.match(pushToStock(stock, first), OK);
      const { blob: file, tree } = old.ids as Record<Type, string>;
      const treeAnd = (data: Buffer, ...before: HandEntry[]) => [
        ...before,
        whole("tree", data),
        whole("commit", commitOf(oidOf("tree", data))),
      ];
      const base = entry("100644", "file", file);
      const thin = (tail: Buffer) => {
        const data = Buffer.concat([base, tail]);
        return [
          { type: 7, baseOid: tree, data: appending(base, tail) },
          whole("commit", commitOf(oidOf("tree", data))),
        ];
      };
      const cases: readonly (readonly [string, readonly HandEntry[], RegExp])[] = [
        [
          "one stored id as two types",
          treeAnd(Buffer.concat([entry("100644", "a", file), entry("40000", "b", file)])),
          /expected type tree, found blob/,
        ],
        [
          "one new id as two types",
          treeAnd(
            Buffer.concat([
              entry("100644", "a", oidOf("blob", "n")),
              entry("40000", "b", oidOf("blob", "n")),
            ]),
            blob("n"),
          ),
          /expected type tree, found blob/,
        ],
        [
          "an id that nobody has as two types",
          treeAnd(
            Buffer.concat([
              entry("100644", "a", "1".repeat(40)),
              entry("40000", "b", "1".repeat(40)),
            ]),
          ),
          /expected type tree, found blob/,
        ],
        [
          "a thin delta that adds a wrong link",
          thin(entry("40000", "x", file)),
          /expected type tree, found blob/,
        ],
        [
          "a thin delta that adds another",
          thin(entry("100644", "x", tree)),
          /expected type blob, found tree/,
        ],
        ["a thin delta that adds a right one", thin(entry("40000", "x", tree)), OK],
        [
          "a stored blob becomes .gitmodules",
          treeAnd(entry("100644", ".gitmodules", oidOf("blob", evil))),
          /gitmodulesName: disallowed submodule name/,
        ],
        [
          "the same under a name that NTFS reads so",
          treeAnd(entry("100644", "GITMOD~1", oidOf("blob", evil))),
          /gitmodulesName/,
        ],
        [
          "a stored blob that may be .gitmodules",
          treeAnd(entry("100644", ".gitmodules", oidOf("blob", harmless))),
          OK,
        ],
        [
          "a stored blob becomes .gitattributes",
          treeAnd(entry("100644", ".gitattributes", oidOf("blob", long))),
          /gitattributesLineLength/,
        ],
        [
          "a stored tree becomes .gitmodules",
          treeAnd(entry("40000", ".gitmodules", tree)),
          /gitmodulesBlob: non-blob found at .gitmodules/,
        ],
        [
          "a new tree becomes .gitmodules",
          treeAnd(entry("40000", ".gitmodules", oidOf("tree", names)), whole("tree", names)),
          /gitmodulesBlob/,
        ],
        [
          "a stored tree becomes .gitattributes",
          treeAnd(entry("40000", ".gitattributes", tree)),
          /gitattributesBlob/,
        ],
        [
          "a symbolic link becomes .gitmodules",
          treeAnd(entry("120000", ".gitmodules", file)),
          /gitmodulesSymlink/,
        ],
        [
          "a submodule becomes .gitmodules",
          treeAnd(entry("160000", ".gitmodules", old.ids.commit as string)),
          /gitmodulesBlob/,
        ],
      ];
      for (const [name, entries, says] of cases) {
        const [ours, theirs] = [
          await push(server, "/ns/names.git", entries),
          pushToStock(stock, entries),
        ];
        t.match(ours, says, name);
        if (says === OK) t.match(theirs, OK, `${name}: stock git`);
        else t.notMatch(theirs, OK, `${name}: stock git`);
      }
    },
  );

  t.test(
    `what comes later than the link to it, as something else: ${kind}`,
    { timeout: 300_000 },
    async (t) => {
      const server = await startLakepack(t, { args: ["--transport", kind] });
      const path = "/ns/later.git";
      const late = "comes later\n";
      const waiting = entry("40000", "folder", oidOf("blob", late));
      const unreached = commitOf(oidOf("tree", waiting));
      const good = scene("beside");
      // Nothing reachable leads to it, so that its missing target is nobody's business yet.
      t.match(
        await push(
          server,
          path,
          [whole("tree", waiting), whole("commit", unreached), ...good.entries],
          "refs/tags/good",
        ),
        OK,
      );
      const reach = async (ref: string) => {
        const lines = [command(ZERO, oidOf("commit", unreached), ref, "report-status")];
        return parseReport((await postPush(server, path, lines, EMPTY_PACK)).body).refs.join();
      };
      t.match(await reach("refs/heads/early"), /ng .*missing necessary objects/);
      t.match(await push(server, path, [blob(late)], "refs/tags/late"), OK);
      t.match(await reach("refs/heads/wrong"), /ng .*expected type tree, found blob/);
      // One pack of many: it must not count as complete for all that.
      for (let at = 0; at < 34; at++)
        t.match(await push(server, path, [blob(`${at}`)], `refs/tags/${at}`), OK);
      let packs = await packsOf(server);
      for (
        let tries = 0;
        tries < 200 && !packs.some(({ origin }) => origin === "repack");
        tries++
      ) {
        await sleep(100);
        packs = await packsOf(server);
      }
      t.match(
        packs.filter(({ origin }) => origin === "repack"),
        [{ closed: false }],
        "the pack made of many is not closed",
      );
      t.match(await reach("refs/heads/folded"), /ng .*expected type tree, found blob/);
    },
  );
}

/** The one repository's. */
async function gitFolder(server: Lakepack): Promise<string> {
  const all = await readdir(join(server.data, "repos"), { recursive: true });
  return join(
    server.data,
    "repos",
    dirname(all.find((path) => path.endsWith("git/manifest")) as string),
  );
}

async function packsOf(
  server: Lakepack,
): Promise<readonly { readonly origin: string; readonly closed: boolean }[]> {
  return JSON.parse(await readFile(join(await gitFolder(server), "manifest"), "utf8")).packs;
}

t.test(
  "links to objects that were made of lakeFS",
  { skip: skipLakefs, timeout: 300_000 },
  async (t) => {
    const lakefs = await startLakefs(t);
    for (const kind of frontEnds) {
      const server = await startBeside(t, lakefs, {}, { args: ["--transport", kind] });
      const name = await emptyRepository(lakefs, "links");
      await put(lakefs, name, "folder/file", "of lakeFS\n");
      const evil = '[submodule "../x"]\n\tpath = x\n\turl = x\n';
      await put(lakefs, name, "evil", evil);
      await lakefs.client.in(name).commit("main", { message: "by lakeFS" }, signal);
      const path = `/lakefs/${name}.git`;
      const work = join(await tempFolder(t), "work");
      await git(["clone", "-q", `${server.url}${path}`, work]);
      const idOf = (spec: string) => git(["rev-parse", spec], { cwd: work });
      const ids = {
        blob: await idOf("HEAD:folder/file"),
        tree: await idOf("HEAD:folder"),
        commit: await idOf("HEAD"),
      };
      for (const link of LINKS)
        for (const type of ["blob", "tree", "commit"] as const) {
          if (type === link.expected) continue;
          const said = await push(server, path, link.around(ids[type], ids));
          t.match(
            said,
            `unpack object ${ids[type]}: expected type ${link.expected}, found ${type}`,
            `${kind}: ${link.name} leads to a ${type}`,
          );
        }
      const tree = Buffer.concat([entry("100644", ".gitmodules", await idOf("HEAD:evil"))]);
      t.match(
        await push(server, path, [
          whole("tree", tree),
          whole("commit", commitOf(oidOf("tree", tree), `parent ${ids.commit}\n`)),
        ]),
        /gitmodulesName/,
      );
      const good = Buffer.concat([
        entry("100644", "file", ids.blob),
        entry("40000", "folder", ids.tree),
      ]);
      const text = commitOf(oidOf("tree", good), `parent ${ids.commit}\n`);
      t.match(
        await push(server, path, [whole("tree", good), whole("commit", text)], "refs/heads/good"),
        OK,
        "right ones land",
      );
    }
  },
);
