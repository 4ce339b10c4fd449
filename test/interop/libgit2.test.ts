/**
 * libgit2, by its Python binding: version 0 only, pushes without Content-Length, and a parser that
 * takes nothing Git does not send.
 */
import { join } from "node:path";
import t from "tap";
import {
  checkFsck,
  commit,
  git,
  makeSample,
  objectSet,
  remoteRefs,
  startLakepack,
} from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { python } from "../support/python.js";

const CLONE = `
import sys, pygit2
pygit2.clone_repository(sys.argv[1], sys.argv[2], bare=True, depth=int(sys.argv[3]))
`;
const FETCH = `
import sys, pygit2
repository = pygit2.Repository(sys.argv[1])
repository.remotes["origin"].fetch(depth=int(sys.argv[2]))
print(repository.references["refs/remotes/origin/main"].target if "refs/remotes/origin/main" in repository.references else repository.references["refs/heads/main"].target)
`;
const PUSH = `
import sys, pygit2
repository = pygit2.Repository(sys.argv[1])
remote = repository.remotes.create_anonymous(sys.argv[2])
remote.push(sys.argv[3:])
`;
/** libgit2's word for "all of it". */
const WHOLE = String(0x7fffffff);

const { missing, run } = await python("pygit2==1.21.0");
if (missing !== undefined) t.pass("libgit2 skipped", { skip: missing });
else {
  t.test(
    "libgit2 clones whole and shallow, deepens, and fetches on",
    { timeout: 90_000 },
    async (t) => {
      const sample = await makeSample(t);
      const lakepack = await startLakepack(t);
      const url = `${lakepack.url}/ns/sample.git`;
      await git(["push", "-q", "--mirror", url], { cwd: sample });
      const copy = join(await tempFolder(t), "copy");
      await run(CLONE, url, copy, "0");
      await checkFsck(t, copy);
      t.equal(
        await git(["rev-parse", "HEAD"], { cwd: copy }),
        await git(["rev-parse", "main"], { cwd: sample }),
      );
      const shallow = join(await tempFolder(t), "shallow");
      await run(CLONE, url, shallow, "1");
      await checkFsck(t, shallow);
      t.equal(await git(["rev-list", "--count", "HEAD"], { cwd: shallow }), "1");
      await run(FETCH, shallow, WHOLE);
      await checkFsck(t, shallow);
      t.equal(
        await git(["rev-list", "--count", "HEAD"], { cwd: shallow }),
        await git(["rev-list", "--count", "main"], { cwd: sample }),
      );
      const next = await commit(sample, "one more", { "new.txt": "new\n" });
      await git(["push", "-q", url, "main"], { cwd: sample });
      t.equal((await run(FETCH, copy, "0")).trim(), next);
      await checkFsck(t, copy);
    },
  );

  t.test(
    "libgit2 pushes: a new repository, a fast-forward, a delete",
    { timeout: 90_000 },
    async (t) => {
      const sample = await makeSample(t);
      const lakepack = await startLakepack(t);
      const url = `${lakepack.url}/ns/from-libgit2.git`;
      await run(
        PUSH,
        sample,
        url,
        "refs/heads/main:refs/heads/main",
        "refs/heads/side:refs/heads/side",
        "refs/tags/v1.0:refs/tags/v1.0",
      );
      await commit(sample, "one more", { "new.txt": "new\n" });
      await run(PUSH, sample, url, "refs/heads/main:refs/heads/main");
      await run(PUSH, sample, url, ":refs/heads/side");
      const heads = (await remoteRefs(url)).filter((line) => /heads/.test(line));
      t.same(heads, [`${await git(["rev-parse", "main"], { cwd: sample })}\trefs/heads/main`]);
      const copy = join(await tempFolder(t), "copy");
      await git(["clone", "-q", "--mirror", url, copy]);
      await checkFsck(t, copy);
      t.ok((await objectSet(copy)).length > 0);
    },
  );
}
