/** The library's face: the names it exports, and what its pure parts stand on. */
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import * as git from "../src/library/git.js";
import * as lakepack from "../src/library/index.js";
import * as wire from "../src/library/wire.js";

const SOURCES = fileURLToPath(new URL("../../src/", import.meta.url));

/** A name goes in or out by a change of this list, and so of docs/library.md. */
const EXPORTED: Readonly<Record<string, readonly [module: object, names: string]>> = {
  lakepack: [lakepack, "Fault VERSION serve"],
  "lakepack/git": [
    git,
    "EntryHead MODE_GITLINK MODE_TREE MODE_TYPE OBJECT_TYPE OID_BYTES PackWriter TreeCursor ZERO_OID checkGitattributes checkGitmodules checkObject formatPointer formatTree isOid isPushableRefName isRefName isTreeMode objectId oidAt oidBytes parseCommit parsePointer parseTag parseTree readEntryHead treeDelta typeName",
  ],
  "lakepack/wire": [
    wire,
    "DELIM FLUSH KEEP_ALIVE LineWriter PackFrame PacketReader PushRequestReader RESPONSE_END bandDataBytesMax banded bandedText capabilityAdvertisement errorPacket formatFilter lineText packet parseFilter readCapabilities readPacket refAdvertisement reportPieces serviceAnnouncement",
  ],
};

t.test("the exported names are these", async (t) => {
  for (const [entry, [module, names]] of Object.entries(EXPORTED))
    t.same(Object.keys(module).sort(), names.split(" "), entry);
});

t.test("package.json exports each entry, and docs/library.md names all it exports", async (t) => {
  const manifest = JSON.parse(await readFile(join(SOURCES, "../package.json"), "utf8")) as {
    readonly exports: Readonly<
      Record<string, { readonly types: string; readonly default: string }>
    >;
  };
  t.same(
    Object.keys(manifest.exports).map((entry) => entry.replace(/^\./, "lakepack")),
    Object.keys(EXPORTED),
  );
  for (const [entry, { types, default: code }] of Object.entries(manifest.exports)) {
    const name = entry === "." ? "index" : entry.slice(2);
    t.equal(code, `./dist/src/library/${name}.js`);
    t.equal(types, `./dist/types/src/library/${name}.d.ts`);
  }
  const document = await readFile(join(SOURCES, "../docs/library.md"), "utf8");
  const missing = Object.values(EXPORTED)
    .flatMap(([, names]) => names.split(" "))
    .filter((name) => !new RegExp(`\`${name}\\b`).test(document));
  t.same(missing, []);
});

t.test("lakepack/git and lakepack/wire stand on the pure rooms alone", async (t) => {
  const seen = new Set([join(SOURCES, "library/git.ts"), join(SOURCES, "library/wire.ts")]);
  for (const file of seen) {
    const text = await readFile(file, "utf8");
    for (const [, target = ""] of text.matchAll(/from\s+"(\.[^"]+)"/g))
      seen.add(join(dirname(file), target.replace(/\.js$/, ".ts")));
  }
  t.ok(seen.size > 15);
  t.same(
    [...seen].filter((file) => !/^(base|git|wire|library)\//.test(file.slice(SOURCES.length))),
    [],
  );
});
