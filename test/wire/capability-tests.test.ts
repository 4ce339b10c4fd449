/**
 * No capability is advertised without a test against a real client or server that shows it
 * honoured.
 */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import t from "tap";
import { CAPABILITIES, SYMREF_ROW } from "../../src/wire/capabilities.js";

/**
 * Sources of the tests, not what they were compiled to: a deleted test leaves its output behind.
 */
const TESTS = fileURLToPath(new URL("../../../test/", import.meta.url));

/** Returns the reason why a row's test cannot be found; undefined: it is there. */
function complaint(test: string): string | undefined {
  const [file = "", name = ""] = test.split(" › ");
  if (!existsSync(`${TESTS}${file}`)) return `${test}: no such file`;
  const text = readFileSync(`${TESTS}${file}`, "utf8");
  // Titles stand in a call, or in the table a loop of calls runs over.
  return text.includes(`"${name}"`) ? undefined : `${test}: no such test`;
}

t.test("every advertised capability has its test", async (t) => {
  t.same([...CAPABILITIES, SYMREF_ROW].map((row) => complaint(row.test)).filter(Boolean), []);
});

t.test("the check sees a row without one", async (t) => {
  t.ok(complaint("interop/none.test.ts › multi_ack"));
  t.ok(complaint("interop/push.test.ts › push-cert"));
  t.notOk(complaint("interop/push.test.ts › atomic"));
});
