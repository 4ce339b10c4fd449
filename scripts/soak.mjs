// `npm run soak [-- minutes]`, `npm run soak -- lakefs [minutes]`: installs and builds if need be,
// then bench/soak.
import { install, run } from "./install.mjs";

install();
run("scripts/build.mjs", ["--if-needed"]);
run("dist/bench/soak.js", process.argv.slice(2));
