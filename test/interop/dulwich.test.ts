/**
 * dulwich: another implementation, in Python. It asks for both side bands, sends credentials at
 * once and wants no compression.
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
import sys
from dulwich import porcelain
options = dict(depth=int(sys.argv[3])) if len(sys.argv) > 3 else {}
porcelain.clone(sys.argv[1], sys.argv[2], bare=True, errstream=sys.stderr.buffer, **options)
`;
const FETCH = `
import sys
from dulwich.repo import Repo
from dulwich.client import get_transport_and_path
client, path = get_transport_and_path(sys.argv[1])
result = client.fetch(path, Repo(sys.argv[2]))
print(result.refs[b"refs/heads/main"].decode())
`;
const PUSH = `
import sys
from dulwich import porcelain
for spec in sys.argv[3:]:
    porcelain.push(sys.argv[1], sys.argv[2], spec.encode(), outstream=sys.stderr.buffer, errstream=sys.stderr.buffer)
`;

const { missing, run } = await python("dulwich==0.22.8", "urllib3==2.2.3");
if (missing !== undefined) t.pass("dulwich skipped", { skip: missing });
else {
  t.test("dulwich clones whole and shallow, and fetches on", { timeout: 90_000 }, async (t) => {
    const sample = await makeSample(t);
    const lakepack = await startLakepack(t);
    const url = `${lakepack.url}/ns/sample.git`;
    await git(["push", "-q", "--mirror", url], { cwd: sample });
    const copy = join(await tempFolder(t), "copy");
    await run(CLONE, url, copy);
    await checkFsck(t, copy);
    t.same(await objectSet(copy), await objectSet(sample));
    const shallow = join(await tempFolder(t), "shallow");
    await run(CLONE, url, shallow, "1");
    t.ok((await objectSet(shallow)).length < (await objectSet(sample)).length);
    const next = await commit(sample, "one more", { "new.txt": "new\n" });
    await git(["push", "-q", url, "main"], { cwd: sample });
    t.equal((await run(FETCH, url, copy)).trim(), next);
    await checkFsck(t, copy);
  });

  t.test(
    "dulwich pushes: a new repository, a fast-forward, a delete",
    { timeout: 90_000 },
    async (t) => {
      const sample = await makeSample(t);
      const lakepack = await startLakepack(t);
      const url = `${lakepack.url}/ns/from-dulwich.git`;
      await run(
        PUSH,
        sample,
        url,
        "refs/heads/main:refs/heads/main",
        "refs/heads/side:refs/heads/side",
        "refs/tags/v1.0:refs/tags/v1.0",
      );
      await commit(sample, "one more", { "new.txt": "new\n" });
      await run(PUSH, sample, url, "refs/heads/main:refs/heads/main", ":refs/heads/side");
      t.same(
        (await remoteRefs(url)).filter((line) => /heads/.test(line)),
        [`${await git(["rev-parse", "main"], { cwd: sample })}\trefs/heads/main`],
      );
      const copy = join(await tempFolder(t), "copy");
      await git(["clone", "-q", "--mirror", url, copy]);
      await checkFsck(t, copy);
    },
  );
}
