// Writes the table of settings in docs/operating.md from src/cli/server/settings.ts, between its
// two markers. `--check` writes nothing and fails where the table differs. Needs a build.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SETTINGS } from "../dist/src/cli/server/settings.js";
import { root } from "./install.mjs";

const file = join(root, "docs/operating.md");
const BEGIN = "<!-- settings: begin (node scripts/settings-table.mjs) -->";
const END = "<!-- settings: end -->";

const cell = (text) => text.replaceAll("|", "\\|").replaceAll("<", "&lt;");
const rows = Object.entries(SETTINGS).map(
  ([name, { about, allowed, fallback }]) =>
    `| \`${name}\` | ${fallback === "" ? "none" : `\`${fallback}\``} | ${cell(about)} | ${cell(allowed)} |`,
);
const table = ["| Setting | Default | Meaning | Allowed |", "|---|---|---|---|", ...rows].join(
  "\n",
);

const text = readFileSync(file, "utf8");
const from = text.indexOf(BEGIN);
const to = text.indexOf(END);
if (from < 0 || to < from) throw new Error(`docs/operating.md lacks ${BEGIN} … ${END}`);
const wanted = `${text.slice(0, from + BEGIN.length)}\n${table}\n${text.slice(to)}`;
if (!process.argv.includes("--check")) writeFileSync(file, wanted);
else if (wanted !== text) {
  console.error(
    "docs/operating.md: the table of settings is not that of the code: run node scripts/settings-table.mjs",
  );
  process.exit(1);
}
