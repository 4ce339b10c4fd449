/**
 * Objects that fsck has something to say about, each in a repository of its own, and a stock server
 * that says it by the same levels.
 */
import { join } from "node:path";
import type { Test } from "tap";
import { git, type GitRun, tryGit } from "./harness.js";
import { tempFolder } from "./temp-folder.js";

const WHO = "A <a@example.com> 1600000000 +0000";

export interface Odd {
  readonly work: string;
  readonly ref: string;
  /** The object that the message is about. */
  readonly object: string;
}

/** Writes objects into a new repository whose one ref leads to them. */
class Writer {
  readonly work: string;

  constructor(work: string) {
    this.work = work;
  }

  write(type: string, data: string | Buffer): Promise<string> {
    return git(["hash-object", "-w", "--literally", "-t", type, "--stdin"], {
      cwd: this.work,
      input: typeof data === "string" ? Buffer.from(data) : data,
    });
  }

  tree(
    ...entries: readonly (readonly [mode: string, name: string, oid: string])[]
  ): Promise<string> {
    const parts = entries.map(([mode, name, oid]) =>
      Buffer.concat([Buffer.from(`${mode} ${name}\0`), Buffer.from(oid, "hex")]),
    );
    return this.write("tree", Buffer.concat(parts));
  }

  async commit(tree: string): Promise<string> {
    return this.write("commit", `tree ${tree}\nauthor ${WHO}\ncommitter ${WHO}\n\nm\n`);
  }
}

type Make = (
  writer: Writer,
  file: string,
  tree: string,
) => Promise<{ readonly tip: string; readonly object: string; readonly tag?: boolean }>;

const ofCommit =
  (text: (tree: string) => string): Make =>
  async (writer, _, tree) => {
    const tip = await writer.write("commit", text(tree));
    return { tip, object: tip };
  };
const ident = (who: string) =>
  ofCommit((tree) => `tree ${tree}\nauthor ${who}\ncommitter ${WHO}\n\nm\n`);
const ofTree =
  (...entries: readonly (readonly [mode: string, name: string])[]): Make =>
  async (writer, file, tree) => {
    const object = await writer.tree(
      ...entries.map(([mode, name]) => [mode, name, mode.endsWith("40000") ? tree : file] as const),
    );
    return { tip: await writer.commit(object), object };
  };
const ofFile =
  (name: string, text: string): Make =>
  async (writer) => {
    const object = await writer.write("blob", text);
    return { tip: await writer.commit(await writer.tree(["100644", name, object])), object };
  };
const ofTag =
  (text: (commit: string) => string): Make =>
  async (writer, _, tree) => {
    const tip = await writer.write("tag", text(await writer.commit(tree)));
    return { tip, object: tip, tag: true };
  };

/** By message id. */
export const ODD: Readonly<Record<string, Make>> = {
  missingEmail: ident("A 1 +0000"),
  badEmail: ident("A <a@example.com 1 +0000"),
  badName: ident("A> <a@example.com> 1 +0000"),
  missingSpaceBeforeEmail: ident("A<a@example.com> 1 +0000"),
  missingNameBeforeEmail: ident("<a@example.com> 1 +0000"),
  missingSpaceBeforeDate: ident("A <a@example.com>1 +0000"),
  badDate: ident("A <a@example.com> x +0000"),
  zeroPaddedDate: ident("A <a@example.com> 01 +0000"),
  badDateOverflow: ident(`A <a@example.com> ${"9".repeat(30)} +0000`),
  badTimezone: ident("A <a@example.com> 1 000"),
  missingAuthor: ofCommit((tree) => `tree ${tree}\ncommitter ${WHO}\n\nm\n`),
  multipleAuthors: ofCommit(
    (tree) => `tree ${tree}\nauthor ${WHO}\nauthor ${WHO}\ncommitter ${WHO}\n\nm\n`,
  ),
  missingCommitter: ofCommit((tree) => `tree ${tree}\nauthor ${WHO}\n\nm\n`),
  nulInCommit: ofCommit((tree) => `tree ${tree}\nauthor ${WHO}\ncommitter ${WHO}\n\nm\0\n`),
  zeroPaddedFilemode: ofTree(["0100644", "a"]),
  badFilemode: ofTree(["100664", "a"]),
  fullPathname: ofTree(["100644", "a/b"]),
  gitignoreSymlink: ofTree(["120000", ".gitignore"]),
  mailmapSymlink: ofTree(["120000", ".mailmap"]),
  gitattributesLineLength: ofFile(".gitattributes", `${"a".repeat(2_048)}\n`),
  badTagName: ofTag((commit) => `object ${commit}\ntype commit\ntag v..1\ntagger ${WHO}\n\nm\n`),
  missingTaggerEntry: ofTag((commit) => `object ${commit}\ntype commit\ntag v1\n\nm\n`),
  extraHeaderEntry: ofTag(
    (commit) => `object ${commit}\ntype commit\ntag v1\ntagger ${WHO}\nx y\n\nm\n`,
  ),
  // Protected:
  gitmodulesUrl: ofFile(".gitmodules", '[submodule "a"]\n\tpath = a\n\turl = -u\n'),
  gitmodulesParse: ofFile(".gitmodules", '[submodule "a"\n\turl = x\n'),
  gitmodulesSymlink: ofTree(["120000", ".gitmodules"]),
  hasDot: ofTree(["100644", "."]),
  hasDotgit: ofTree(["40000", ".git"]),
  treeNotSorted: ofTree(["100644", "b"], ["100644", "a"]),
  duplicateEntries: ofTree(["100644", "a"], ["100644", "a"]),
};

export async function makeOdd(t: Pick<Test, "teardown">, id: string): Promise<Odd> {
  const work = join(await tempFolder(t), "odd");
  await git(["init", "-q", work]);
  const writer = new Writer(work);
  const [file, tree] = [await writer.write("blob", "target"), await writer.write("tree", "")];
  const { tip, object, tag = false } = await (ODD[id] as Make)(writer, file, tree);
  const ref = tag ? "refs/tags/odd" : "refs/heads/main";
  await git(["update-ref", ref, tip], { cwd: work });
  return { work, ref, object };
}

export function pushOdd({ work, ref }: Odd, url: string): Promise<GitRun> {
  return tryGit(["push", url, ref], { cwd: work });
}

/** Pushes to stock `git receive-pack`. */
export async function pushToStock(
  t: Pick<Test, "teardown">,
  odd: Odd,
  config: Readonly<Record<string, string>>,
): Promise<GitRun> {
  const bare = join(await tempFolder(t), "bare.git");
  await git(["init", "-q", "--bare", bare]);
  await git(["config", "receive.fsckObjects", "true"], { cwd: bare });
  for (const [name, value] of Object.entries(config))
    await git(["config", `receive.fsck.${name}`, value], { cwd: bare });
  return pushOdd(odd, bare);
}

/** The object as a clone has it. */
export async function fetched(
  t: Pick<Test, "teardown">,
  url: string,
  { ref, object }: Odd,
): Promise<Buffer> {
  const copy = join(await tempFolder(t), "copy.git");
  await git(["init", "-q", "--bare", copy]);
  await git(["fetch", "-q", url, `${ref}:${ref}`], { cwd: copy });
  return (
    await tryGit(["cat-file", await git(["cat-file", "-t", object], { cwd: copy }), object], {
      cwd: copy,
    })
  ).stdoutBytes;
}

export async function original({ work, object }: Odd): Promise<Buffer> {
  return (
    await tryGit(["cat-file", await git(["cat-file", "-t", object], { cwd: work }), object], {
      cwd: work,
    })
  ).stdoutBytes;
}
