/** package-lock.json: what npm installs is exactly what was tried. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { spawnSync } from "node:child_process";
import t from "tap";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

interface Locked {
  readonly integrity?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const { packages } = JSON.parse(await readFile(`${ROOT}package-lock.json`, "utf8")) as {
  readonly packages: Readonly<Record<string, Locked>>;
};

t.test("every package has its SHA-512", async (t) => {
  t.ok(Object.keys(packages).length > 100);
  const faults = Object.entries(packages).filter(
    ([path, { integrity }]) => path !== "" && !/^sha512-[\w+/]{86}==$/.test(integrity ?? ""),
  );
  t.same(
    faults.map(([path]) => path),
    [],
  );
});

t.test("every optional platform package that the lock lists is in it", async (t) => {
  const check = spawnSync(process.execPath, [`${ROOT}scripts/lock.mjs`, "--check"], {
    encoding: "utf8",
  });
  t.equal(check.status, 0, check.stderr);
});
