// `npm run sbom [-- FILE]`: a software bill of materials of what is installed to run lakepack, from
// package-lock.json, as CycloneDX 1.5 JSON (https://cyclonedx.org/docs/1.5/json/). To FILE, or to
// standard output. The same lock gives the same bytes: there is no time and no random id in it.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./install.mjs";

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));

/** "node_modules/a/node_modules/@b/c" → "@b/c". */
const placeName = (path) => path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
/** Package URL: https://github.com/package-url/purl-spec, type npm. */
const purl = (name, version) => `pkg:npm/${name.replace("@", "%40")}@${version}`;
const reference = (path) => purl(packages[path].name ?? placeName(path), packages[path].version);
const production = Object.keys(packages).filter((path) => path !== "" && !packages[path].dev);

function component(path) {
  const { version, integrity, license, optional, name = placeName(path) } = packages[path];
  const [group, bare] = name.startsWith("@") ? name.split("/") : [undefined, name];
  return {
    type: "library",
    "bom-ref": reference(path),
    ...(group === undefined ? {} : { group }),
    name: bare,
    version,
    scope: optional ? "optional" : "required",
    hashes: [{ alg: "SHA-512", content: hexOf(integrity) }],
    ...(license === undefined ? {} : { licenses: [licenceOf(license)] }),
    purl: purl(name, version),
  };
}

/** "sha512-<base64>" → hex. */
function hexOf(integrity) {
  return Buffer.from(integrity.replace(/^sha512-/, ""), "base64").toString("hex");
}

function licenceOf(license) {
  return / (AND|OR|WITH) /.test(license) ? { expression: license } : { license: { id: license } };
}

/** Where npm finds `name` from the package at `path`: innermost node_modules first. */
function find(path, name) {
  for (let at = path; ; at = at.slice(0, Math.max(at.lastIndexOf("node_modules/") - 1, 0))) {
    const place = `${at === "" ? "" : `${at}/`}node_modules/${name}`;
    if (packages[place] !== undefined) return place;
    if (at === "") return undefined;
  }
}

function dependsOn(path) {
  const { dependencies, optionalDependencies } = packages[path];
  return Object.keys({ ...dependencies, ...optionalDependencies })
    .map((name) => find(path, name))
    .filter((place) => place !== undefined && !packages[place].dev)
    .map(reference)
    .sort();
}

const own = purl(manifest.name, manifest.version);
const components = new Map(production.map((path) => [reference(path), component(path)]));
const dependencies = new Map(production.map((path) => [reference(path), dependsOn(path)]));
const bom = {
  $schema: "http://cyclonedx.org/schema/bom-1.5.schema.json",
  bomFormat: "CycloneDX",
  specVersion: "1.5",
  version: 1,
  metadata: {
    component: {
      type: "application",
      "bom-ref": own,
      name: manifest.name,
      version: manifest.version,
      licenses: [{ license: { id: manifest.license } }],
      purl: own,
    },
  },
  components: [...components.values()],
  dependencies: [
    { ref: own, dependsOn: dependsOn("") },
    ...[...dependencies].map(([ref, on]) => ({ ref, dependsOn: on })),
  ],
};
const text = `${JSON.stringify(bom, null, 2)}\n`;
const [file] = process.argv.slice(2);
if (file === undefined) process.stdout.write(text);
else writeFileSync(file, text);
