// `npm run fuzz [-- seconds]`: test/fuzz for so long (an hour) with new seeds. A failure prints its
// seed and its bytes.
import { install, run } from "./install.mjs";

install();
run("scripts/build.mjs");
process.env.FUZZ_SECONDS = process.argv[2] ?? "3600";
run("dist/test/fuzz/parsers.test.js");
