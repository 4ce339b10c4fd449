// Reads what V8 wrote to NODE_V8_COVERAGE and says how many lines of code of each room ran. Files
// that no test loaded count with all their lines.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { root } from "./install.mjs";

const SOURCES = ["dist/src", "dist/workers"];

/** Compiled sources as "src/base/bytes.js". */
function compiledFiles() {
  return SOURCES.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true })
      .filter((name) => name.endsWith(".js"))
      .map((name) => join(folder, name)),
  );
}

/**
 * One byte a character of the text: 1 where it ran. V8 lists the ranges from the outermost to the
 * innermost, so a later one overrides.
 */
function ranCharacters(functions, length) {
  const ran = new Uint8Array(length).fill(1);
  for (const { ranges } of functions)
    for (const { startOffset, endOffset, count } of ranges)
      ran.fill(count > 0 ? 1 : 0, startOffset, endOffset);
  return ran;
}

/** Ran in one process or another. */
function mergeInto(total, ran) {
  for (let at = 0; at < ran.length; at++) total[at] |= ran[at];
}

/** Neither blank, nor comment, nor only closing brackets, nor an import that the types erased. */
const isCode = (line) => !/^\s*($|\/\/|\/?\*|[\])};,]+$|export \{\};)/.test(line);

function countLines(text, ran) {
  let [lines, covered, start] = [0, 0, 0];
  for (const line of text.split("\n")) {
    if (isCode(line)) {
      lines++;
      if (ran !== undefined && ran[start + line.search(/\S/)] === 1) covered++;
    }
    start += line.length + 1;
  }
  return { lines, covered };
}

/** Lines and covered lines of each room, and of all. */
export function coverageOf(folder) {
  const texts = new Map(
    compiledFiles().map((file) => [file, readFileSync(join(root, file), "utf8")]),
  );
  const totals = new Map();
  for (const name of readdirSync(folder).filter((name) => name.endsWith(".json"))) {
    const { result } = JSON.parse(readFileSync(join(folder, name), "utf8"));
    for (const { url, functions } of result) {
      if (!url.startsWith("file:")) continue;
      const file = relative(root, fileURLToPath(url));
      const text = texts.get(file);
      if (text === undefined) continue;
      const total = totals.get(file) ?? new Uint8Array(text.length);
      totals.set(file, total);
      mergeInto(total, ranCharacters(functions, text.length));
    }
  }
  const rooms = new Map();
  for (const [file, text] of texts) {
    const [, top, room] = file.split("/");
    const name = top === "workers" || room?.endsWith(".js") ? top : room;
    const sum = rooms.get(name) ?? { room: name, lines: 0, covered: 0 };
    const { lines, covered } = countLines(text, totals.get(file));
    rooms.set(name, { room: name, lines: sum.lines + lines, covered: sum.covered + covered });
  }
  const all = { room: "all", lines: 0, covered: 0 };
  for (const { lines, covered } of rooms.values()) {
    all.lines += lines;
    all.covered += covered;
  }
  return [...[...rooms.values()].sort((a, b) => (a.room < b.room ? -1 : 1)), all];
}
