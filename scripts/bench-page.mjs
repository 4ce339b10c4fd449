// Makes the tables of bench/README.md, the three ratios of README.md and their chart from
// bench/results/*.json, which `npm run bench` writes. `--check` writes nothing and fails where one
// of them differs. `--against FOLDER` prints each figure beside that of another run's results.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./install.mjs";

const RESULTS = join(root, "bench/results");
/** README's three: the row, its figure, what it is called there, and for which command. */
const RATIOS = [
  ["index", "index code, 2 threads, wall", "index a pack of 110,000 objects, wall clock"],
  ["serve", "repeated clone of code, server CPU", "repeated clone of it, server CPU"],
  ["push", "push of the blobs, wall", "push of 16 × 64 MiB, wall clock"],
];
const END = "<!-- bench: end -->";

function readResults(folder) {
  return new Map(
    readdirSync(folder)
      .filter((name) => name.endsWith(".json"))
      .map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")))
      .map((result) => [result.row, result]),
  );
}

function show(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

const table = (head, rows) =>
  [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
const ratioOf = ({ ours, peer }) => (peer === undefined ? undefined : ours / peer);
const nameOf = (row) => (row.startsWith("  ") ? `– ${row.trim()}` : row);

function figureCells(figure) {
  const { row, ours, peer, peerName = "git", unit, bar } = figure;
  const ratio = ratioOf(figure);
  const met =
    bar === undefined ? "" : `${show(bar)} ${(ratio ?? ours) <= bar ? "met" : "**missed**"}`;
  return [
    nameOf(row),
    `${show(ours)} ${unit}`.trim(),
    peer === undefined ? "" : `${show(peer)} ${unit}${peerName === "git" ? "" : ` (${peerName})`}`,
    ratio === undefined ? "" : show(ratio),
    met,
  ];
}

function costCells({
  objects,
  operation,
  seconds,
  calls,
  listing,
  contents,
  bytes,
  cpu,
  rssGrowth,
}) {
  const mib = (count) => (count / 2 ** 20).toFixed(count < 2 ** 30 && count % 2 ** 20 ? 2 : 0);
  return [
    objects.toLocaleString("en"),
    operation,
    seconds.toFixed(2),
    String(calls),
    String(listing),
    String(contents),
    mib(bytes),
    cpu.toFixed(2),
    mib(rssGrowth),
  ];
}

/** What one row measured: a line of where and when, then its tables. */
function section({ command, date, commit, machine, comment, entries }) {
  const pick = (kind) => entries.filter((entry) => kind in entry).map((entry) => entry[kind]);
  const parts = [
    `\`${command}\`, ${date}${commit === "" ? "" : `, commit ${commit.slice(0, 12)}`}; ${machine}${comment ? `; ${comment}` : ""}.`,
  ];
  const costs = pick("cost");
  const costHead = "Objects,Operation,s,Calls,listing,contents,MiB,CPU s,RSS MiB".split(",");
  if (costs.length > 0) parts.push(table(costHead, costs.map(costCells)));
  const figures = pick("figure");
  if (figures.length > 0)
    parts.push(table(["Figure", "lakepack", "Beside", "Ratio", "Bar"], figures.map(figureCells)));
  for (const { row, reason } of pick("failed")) parts.push(`${row}: FAILED: ${reason}`);
  for (const note of pick("note")) parts.push(note);
  return parts.join("\n\n");
}

function ratioFigures(results) {
  return RATIOS.map(([row, name, title]) => {
    const found = results.get(row)?.entries.find(({ figure }) => figure?.row === name)?.figure;
    if (found === undefined) throw new Error(`bench/results/${row}.json has no "${name}"`);
    return { ...found, title, command: `npm run bench -- ${row}` };
  });
}

function ratioTable(figures) {
  return table(
    ["Figure", "lakepack", "Git", "Ratio", "Command"],
    figures.map((figure) => [
      figure.title,
      `${show(figure.ours)} ${figure.unit}`,
      `${show(figure.peer)} ${figure.unit}`,
      ratioOf(figure).toFixed(2),
      `\`${figure.command}\``,
    ]),
  );
}

/** Bars, Git's always as long: what is left of it is lakepack's. */
function ratioChart(figures) {
  const [width, left, long, high] = [720, 300, 320, 46];
  const bars = figures.map((figure, at) => {
    const y = 30 + at * high;
    const ours = ratioOf(figure) * long;
    return [
      `<text x="${left - 12}" y="${y + 20}" text-anchor="end">${figure.title}</text>`,
      `<rect class="git" x="${left}" y="${y + 17}" width="${long}" height="13" rx="2"/>`,
      `<rect class="ours" x="${left}" y="${y + 2}" width="${ours.toFixed(1)}" height="13" rx="2"/>`,
      `<text x="${(left + ours + 6).toFixed(1)}" y="${y + 13}">${show(figure.ours)} ${figure.unit}</text>`,
      `<text x="${left + long + 6}" y="${y + 28}">${show(figure.peer)} ${figure.unit}</text>`,
    ].join("\n");
  });
  const height = 30 + figures.length * high + 8;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="lakepack beside Git, shorter is better">
<title>lakepack beside Git, shorter is better</title>
<style>
  text { font: 12px system-ui, sans-serif; fill: #1f2328 } .git { fill: #afb8c1 } .ours { fill: #0969da }
  @media (prefers-color-scheme: dark) { text { fill: #f0f6fc } .git { fill: #656c76 } .ours { fill: #4493f8 } }
</style>
<rect class="ours" x="${left}" y="8" width="12" height="12" rx="2"/><text x="${left + 18}" y="18">lakepack</text>
<rect class="git" x="${left + 90}" y="8" width="12" height="12" rx="2"/><text x="${left + 108}" y="18">Git; shorter is better</text>
${bars.join("\n")}
</svg>
`;
}

/** `text` with the tables between its markers made anew. */
function filled(text, make) {
  return text.replaceAll(
    new RegExp(`<!-- bench: ((?!end)\\w+) -->\n[\\s\\S]*?${END}`, "g"),
    (_, name) => `<!-- bench: ${name} -->\n\n${make(name)}\n\n${END}`,
  );
}

function pages(results) {
  const figures = ratioFigures(results);
  const named = new Set();
  const make = (name) => {
    named.add(name);
    if (name === "ratios") return ratioTable(figures);
    const result = results.get(name);
    if (result === undefined) throw new Error(`there is no bench/results/${name}.json`);
    return section(result);
  };
  const made = ["bench/README.md", "README.md"].map((file) => [
    file,
    filled(readFileSync(join(root, file), "utf8"), make),
  ]);
  for (const row of results.keys())
    if (!named.has(row))
      throw new Error(`bench/README.md shows nothing of bench/results/${row}.json`);
  return [...made, ["bench/ratios.svg", ratioChart(figures)]];
}

function compare(before, after) {
  for (const [row, { entries }] of after) {
    const old = before.get(row)?.entries ?? [];
    for (const { figure } of entries) {
      const same = old.find(
        (entry) => figure !== undefined && entry.figure?.row === figure.row,
      )?.figure;
      if (same === undefined) continue;
      const [was, is] = [ratioOf(same) ?? same.ours, ratioOf(figure) ?? figure.ours];
      const kind = figure.peer === undefined ? figure.unit : "ratio";
      console.log(
        `${`${row}: ${figure.row}`.padEnd(60)} ${show(was)} → ${show(is)} ${kind}  ×${show(is / was)}`,
      );
    }
  }
}

const results = readResults(RESULTS);
const against = process.argv.indexOf("--against");
if (against > 0) compare(readResults(process.argv[against + 1]), results);
else {
  const differing = pages(results).filter(
    ([file, text]) =>
      !existsSync(join(root, file)) || readFileSync(join(root, file), "utf8") !== text,
  );
  if (!process.argv.includes("--check"))
    for (const [file, text] of differing) writeFileSync(join(root, file), text);
  else if (differing.length > 0) {
    console.error(
      `not what bench/results says: ${differing.map(([file]) => file).join(", ")}: run node scripts/bench-page.mjs`,
    );
    process.exit(1);
  }
}
