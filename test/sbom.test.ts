/** `npm run sbom`: shape by CycloneDX 1.5's JSON schema as far as it is used, and completeness. */
import { spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import t from "tap";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

interface Component {
  readonly type: string;
  readonly "bom-ref": string;
  readonly group?: string;
  readonly name: string;
  readonly version: string;
  readonly scope: string;
  readonly hashes: readonly { readonly alg: string; readonly content: string }[];
  readonly purl: string;
}

interface Bom {
  readonly bomFormat: string;
  readonly specVersion: string;
  readonly version: number;
  readonly metadata: { readonly component: { readonly purl: string } };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

function sbom(): string {
  const made = spawnSync(process.execPath, [`${ROOT}scripts/sbom.mjs`], { encoding: "utf8" });
  if (made.status !== 0) throw new Error(made.stderr);
  return made.stdout;
}

t.test("it lists every production package with version, purl and hash, and no other", async (t) => {
  const text = sbom();
  t.equal(sbom(), text, "the same bytes each time");
  const bom = JSON.parse(text) as Bom;
  t.match(bom, { bomFormat: "CycloneDX", specVersion: "1.5", version: 1 });
  const { packages } = JSON.parse(await readFile(`${ROOT}package-lock.json`, "utf8")) as {
    readonly packages: Readonly<
      Record<string, { name?: string; version: string; integrity: string; dev?: boolean }>
    >;
  };
  const expected = Object.entries(packages)
    .filter(([path, { dev }]) => path !== "" && dev !== true)
    .map(([path, { name, version, integrity }]) => ({
      purl: `pkg:npm/${(name ?? path.replace(/^.*node_modules\//, "")).replace("@", "%40")}@${version}`,
      version,
      hash: Buffer.from(integrity.slice("sha512-".length), "base64").toString("hex"),
    }));
  t.ok(expected.length > 20);
  const byPurl = (one: { purl: string }, other: { purl: string }) =>
    one.purl < other.purl ? -1 : 1;
  t.same(
    bom.components
      .map(({ purl, version, hashes }) => ({ purl, version, hash: hashes[0]?.content }))
      .sort(byPurl),
    [...new Map(expected.map((each) => [each.purl, each])).values()].sort(byPurl),
  );
  for (const { type, name, scope, hashes, purl, "bom-ref": ref } of bom.components) {
    t.equal(type, "library", name);
    t.match(scope, /^(required|optional)$/);
    t.match(hashes, [{ alg: "SHA-512", content: /^[0-9a-f]{128}$/ }]);
    t.equal(ref, purl);
  }
});

t.test("its dependencies name components, and all components are reached", async (t) => {
  const { components, dependencies, metadata } = JSON.parse(sbom()) as Bom;
  const known = new Set(components.map(({ "bom-ref": ref }) => ref));
  t.equal(known.size, components.length, "each once");
  const edges = new Map(dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]));
  const reached = new Set([metadata.component.purl]);
  for (const ref of reached) for (const next of edges.get(ref) ?? []) reached.add(next);
  t.same(
    [...known].filter((ref) => !reached.has(ref)),
    [],
  );
});
