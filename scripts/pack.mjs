// `npm run pack [-- FOLDER]`: builds the package from the sources and packs it into FOLDER (this
// one): lakepack-<version>.tgz. It is built anew in a folder of its own, so that nothing stale and
// nothing of a developer's dist/ gets into it.
//
// npm runs no script before `npm pack` where install scripts are off (.npmrc), so a bare `npm pack`
// would pack whatever lies in dist/, in a fresh clone nothing. Two things refuse it:
// `pack-destination` in .npmrc names a folder that cannot be there, whose name npm then shows; and
// where scripts are on, `prepack` runs this file with --bare. `npm publish` is refused by
// `private`, which the packed package.json is without.
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { install, root, run } from "./install.mjs";

if (process.argv.includes("--bare")) {
  console.error(
    "lakepack: `npm pack` packs no built package: run `npm run pack`, which builds first",
  );
  process.exit(1);
}
const destination = resolve(process.argv[2] ?? ".");
install();
run("scripts/build.mjs", ["--kernels"]);
const stage = mkdtempSync(join(tmpdir(), "lakepack-pack-"));
try {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  compile();
  keepDeclarations(Object.values(manifest.exports).map(({ types }) => join(stage, types)));
  for (const file of [
    ...manifest.files.filter((name) => !isCompiled(name)),
    "README.md",
    "LICENSE",
  ])
    copy(file);
  copy("dist/wasm");
  const {
    private: _private,
    scripts: _scripts,
    devDependencies: _dev,
    tap: _tap,
    ...published
  } = manifest;
  writeFileSync(join(stage, "package.json"), `${JSON.stringify(published, null, 2)}\n`);
  mkdirSync(destination, { recursive: true });
  const packed = spawnSync(
    "npm",
    ["pack", "--silent", "--ignore-scripts", "--pack-destination", destination],
    { cwd: stage, encoding: "utf8", shell: process.platform === "win32" },
  );
  if (packed.status !== 0) throw new Error(`npm pack: ${packed.stderr}`);
  console.log(join(destination, packed.stdout.trim().split("\n").at(-1)));
} finally {
  rmSync(stage, { recursive: true, force: true });
}

function isCompiled(name) {
  return name.startsWith("dist/");
}

function copy(name) {
  cpSync(join(root, name), join(stage, name), { recursive: true });
}

/** JavaScript with its source maps, and declarations. */
function compile() {
  run("node_modules/typescript/bin/tsc", [
    "--project",
    "tsconfig.package.json",
    "--outDir",
    join(stage, "dist"),
    "--declarationDir",
    join(stage, "dist/types"),
  ]);
}

/** Leaves the declarations that those of the package's entries lead to, and no others. */
function keepDeclarations(entries) {
  const kept = new Set(entries);
  for (const file of kept) {
    const text = readFileSync(file, "utf8");
    for (const [, from, imported] of text.matchAll(/from "(\.[^"]+)"|import\("(\.[^"]+)"\)/g))
      kept.add(join(dirname(file), (from ?? imported).replace(/\.js$/, ".d.ts")));
  }
  const types = join(stage, "dist/types");
  for (const name of readdirSync(types, { recursive: true })) {
    const file = join(types, name);
    if (name.endsWith(".d.ts") && !kept.has(file)) rmSync(file);
  }
  for (const file of kept)
    if (!existsSync(file)) throw new Error(`no declaration: ${relative(stage, file)}`);
}
