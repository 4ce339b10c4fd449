// Makes src/kernels/abi.ts of the constants in wasm/ that both sides of a kernel call rely on, so
// that they stand in one place. scripts/build.mjs runs it; test/tidy.test.ts holds the result
// against wasm/.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./install.mjs";

const TARGET = join(root, "src/kernels/abi.ts");

/** What is taken from each file: a name for it, and which constants; default: all. */
const PARTS = [
  { name: "ANSWER", file: "errors" },
  { name: "RECORD", file: "records" },
  { name: "LINK", file: "links" },
  { name: "FRAME", file: "frame" },
  { name: "LAYOUT", file: "layout", only: ["RESOLVED"] },
];

/** Exported numbers of a file: literals, and sums or products of those before them. */
function constantsOf(file) {
  const text = readFileSync(join(root, `wasm/${file}.ts`), "utf8");
  const values = new Map();
  for (const [, name, value] of text.matchAll(/^export const (\w+): \w+ = ([^;]+);/gm)) {
    const words = value.replace(/[A-Z]\w+/g, (other) => values.get(other) ?? other);
    if (!/^[\dxa-f\s+*<()]+$/i.test(words))
      throw new Error(`wasm/${file}.ts: ${name} is no number: ${value}`);
    values.set(name, Number(new Function(`return ${words}`)()));
  }
  return values;
}

/** The text of src/kernels/abi.ts. */
export function abiText() {
  const parts = PARTS.map(({ name, file, only }) => {
    const constants = [...constantsOf(file)].filter(([key]) => only?.includes(key) ?? true);
    const lines = constants.map(([key, value]) => `  ${key}: ${value},`);
    const body =
      lines.length === 1 ? `{ ${lines[0].trim().slice(0, -1)} }` : `{\n${lines.join("\n")}\n}`;
    return `/** wasm/${file}.ts */\nexport const ${name} = ${body} as const;\n`;
  });
  const head =
    "/** Constants of wasm/ that its callers know too. Made by scripts/abi.mjs: do not edit. */";
  return `${head}\n\n${parts.join("\n")}`;
}

/** Writes it where it has changed, so that nothing is built again for nothing. */
export function writeAbi() {
  const text = abiText();
  let before = "";
  try {
    before = readFileSync(TARGET, "utf8");
  } catch {
    // the first time
  }
  if (text !== before) writeFileSync(TARGET, text);
}
