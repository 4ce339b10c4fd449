// `npm run bench [-- row …] [--tiny]`: installs and builds if need be, then measures.
import { install, run } from "./install.mjs";

install();
run("scripts/build.mjs", ["--if-needed"]);
run("dist/bench/main.js", process.argv.slice(2));
