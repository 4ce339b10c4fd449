/** The soak at its shortest, so that it cannot rot. Whether memory grows takes longer to tell. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import t from "tap";
import { skipLakefs } from "../support/lakefs-servers.js";

const SOAK = fileURLToPath(new URL("../../bench/soak.js", import.meta.url));
const isLarge = process.env["TEST_LARGE"] !== undefined;

async function soak(args: readonly string[]): Promise<string> {
  const child = spawn(process.execPath, [SOAK, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  child.stdout.on("data", (text: Buffer) => {
    said += text.toString();
  });
  await once(child, "close");
  return said;
}

t.test(
  "beside a lakeFS whose writer never rests nobody fails",
  { skip: isLarge ? skipLakefs : "only with npm run test:large", timeout: 600_000 },
  async (t) => {
    const said = await soak(["lakefs", "0.5"]);
    t.match(
      said,
      /\d\d+ commits in lakeFS, \d+ clones, \d+ fetches, \d+ pushes \(\d+ were late\), 0 failures\n/,
    );
    t.match(said, /at the end: \d+ packs, manifest \d+ KiB, disk \d+ MiB/);
  },
);

t.test(
  "clones, pushes and clients that break off",
  { skip: isLarge ? false : "only with npm run test:large", timeout: 600_000 },
  async (t) => {
    t.match(
      await soak(["0.5"]),
      /\d+ clones, \d+ replies read, \d+ pushes, \d+ broken off;.*0 folders left/,
    );
  },
);
