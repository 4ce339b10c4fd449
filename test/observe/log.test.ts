/** What must not stand in a log does not, even where it came in a place meant for something else. */
import { spawnSync } from "node:child_process";
import t from "tap";

const LOG = new URL("../../src/observe/log.js", import.meta.url).href;

t.test("what looks like a secret is cut", async (t) => {
  const token = `lpk_${"a2".repeat(16)}`;
  const lines = [
    `/${token}/model.git/HEAD`,
    `git:${token}`,
    `https://s3/b?X-Amz-Credential=AKIA%2F2026&X-Amz-Date=2026&X-Amz-Signature=0123abcd&x=1`,
    `https://h/ns/n.git/info/lfs/objects/x?proof=17999-${"ab".repeat(16)}-${"cd".repeat(32)}`,
    "proof of work, lpk_short",
  ];
  const program = `const { createLog } = await import(${JSON.stringify(LOG)}); const log = createLog("info"); for (const path of ${JSON.stringify(lines)}) log.info("request", { path });`;
  const run = spawnSync(process.execPath, ["--input-type=module", "-e", program]);
  const said = run.stderr.toString().trim().split("\n").map((line) => (JSON.parse(line) as { path: string }).path);
  t.same(said, ["/…/model.git/HEAD", "git:…", "https://s3/b?X-Amz-Credential=…&X-Amz-Date=2026&X-Amz-Signature=…&x=1", "https://h/ns/n.git/info/lfs/objects/x?proof=…", "proof of work, lpk_short"]);
});
