// `npm start [-- options of lakepack serve]`: installs and builds if need be, then serves.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { install, root, run } from "./install.mjs";

install();
run("scripts/build.mjs", ["--if-needed"]);
const server = spawn(
  process.execPath,
  [join(root, "dist/src/cli/main.js"), "serve", ...process.argv.slice(2)],
  { stdio: "inherit" },
);
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => server.kill(signal));
server.on("exit", (code, signal) => process.exit(code ?? (signal === null ? 1 : 0)));
