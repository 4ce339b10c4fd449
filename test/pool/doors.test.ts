/** Every task that a room declares has a function behind a door of workers/. */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import t from "tap";

const SRC = fileURLToPath(new URL("../../src/", import.meta.url));
const DOORS = fileURLToPath(new URL("../../workers/", import.meta.url));
const KERNELS = fileURLToPath(new URL("../../wasm/kernels.wasm", import.meta.url));

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".js"))
    .map((entry) => join(entry.parentPath, entry.name));
}

/** Names given to `task(…)` anywhere in the sources. */
const declared = filesBelow(SRC).flatMap((file) =>
  [...readFileSync(file, "utf8").matchAll(/= task\("([a-z-]+\/\w+)"\)/g)].map((match) => ({
    name: match[1] as string,
    file: relative(SRC, file),
  })),
);

/** Asks the doors for their exports, in a thread, as they expect one. */
function exportsOfDoors(): Promise<Readonly<Record<string, readonly string[]>>> {
  const code = `
    const { parentPort, workerData } = require("node:worker_threads");
    (async () => {
      const found = {};
      for (const [name, url] of workerData.doors) {
        const door = await import(url);
        found[name] = Object.keys(door).filter((key) => typeof door[key] === "function");
      }
      parentPort.postMessage(found);
    })();`;
  const doors = filesBelow(DOORS).map((file) => [
    relative(DOORS, file).replace(/\.js$/, ""),
    `file://${file}`,
  ]);
  const worker = new Worker(code, {
    eval: true,
    workerData: { kernelsModule: new WebAssembly.Module(readFileSync(KERNELS)), doors },
  });
  return new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
}

t.test("each task has its door, and each door's function its task", async (t) => {
  t.ok(declared.length > 25, `${declared.length} tasks were found`);
  const doors = await exportsOfDoors();
  const behind = Object.entries(doors).flatMap(([door, names]) =>
    names.map((name) => `${door}/${name}`),
  );
  t.same(declared.map(({ name }) => name).sort(), behind.sort());
});

t.test("the pool declares no task of the layers above it", async (t) => {
  t.same(
    declared.filter(({ file }) => file.startsWith("pool/")).map(({ name }) => name),
    ["hash/calibrate"],
  );
});
