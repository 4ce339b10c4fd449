import t from "tap";
import { Fault } from "../../src/base/fault.js";
import { readPath } from "../../src/transport/http/path.js";

function outcome(path: string): string {
  try {
    const target = readPath(path);
    if (target.kind !== "repository" && target.kind !== "api") return target.kind;
    const { type, namespace, name } = target.name;
    return `${target.kind === "api" ? "api " : ""}${type} ${namespace} ${name} ${target.file}`.trim();
  } catch (error) {
    if (error instanceof Fault) return error.code;
    throw error;
  }
}

t.test("paths lead where they say", async (t) => {
  const expected = {
    "/": "home",
    "/healthz": "health",
    "/readyz": "ready",
    "/ns/name": "untyped ns name",
    "/ns/name/": "untyped ns name",
    "/ns/name.git": "untyped ns name",
    "/ns/name.git/info/refs": "untyped ns name info/refs",
    "/ns/name/info/refs": "untyped ns name info/refs",
    "/ns/name.git/git-upload-pack": "untyped ns name git-upload-pack",
    "/ns/name/git-receive-pack": "untyped ns name git-receive-pack",
    "/ns/name.git/HEAD": "untyped ns name HEAD",
    "/models/ns/name/HEAD": "models ns name HEAD",
    "/datasets/ns/name.git/info/refs": "datasets ns name info/refs",
    "/spaces/ns/name": "spaces ns name",
    "/lakefs/name.git/HEAD": "lakefs lakefs name HEAD",
    "/api/repos/ns/name": "api untyped ns name",
    "/api/repos/datasets/ns/name.git/commits/x": "api datasets ns name commits/x",
    "/api/repos/lakefs/name/": "api lakefs lakefs name",
    "/n%73/n%61me/HEAD": "untyped ns name HEAD",
    "/ns/a.b-c_d/HEAD": "untyped ns a.b-c_d HEAD",
  };
  for (const [path, target] of Object.entries(expected)) t.equal(outcome(path), target, path);
});

t.test("what could mean something else to somebody is refused", async (t) => {
  for (const path of [
    "/ns%2fname/x/HEAD",
    "/ns/..%2f..%2fetc/HEAD",
    "/ns/%2e%2e/HEAD",
    "/ns/../x/HEAD",
    "/./ns/name",
    "/ns/na%00me/HEAD",
    "/ns/na%5cme/HEAD",
    "/ns/na\\me/HEAD",
    "/ns/na%0ame",
    "/ns/%",
    "/ns/%zz/HEAD",
    "/ns/%ff/HEAD",
    "/ns/name/%2e%2e/HEAD",
  ])
    t.equal(outcome(path), "http/bad-request", path);
  for (const path of [
    "//ns/name/HEAD",
    "/ns//name/HEAD",
    "/ns/name//info/refs",
    "/ns",
    "/models/ns",
    "/api/repos",
    "/api/repos/ns",
    "/api/ns/name",
    "",
    "ns/name/HEAD",
    "/healthz/x",
    "/%C3%BC",
  ])
    t.match(outcome(path), /^(http\/not-found|repository\/bad-name|http\/bad-request)$/, path);
  for (const path of [
    "/ns/.git/HEAD",
    "/.ns/name/HEAD",
    "/ns/%C3%BC/HEAD",
    "/ns/a%20b/HEAD",
    `/ns/${"a".repeat(200)}/HEAD`,
  ])
    t.equal(outcome(path), "repository/bad-name", path);
});
