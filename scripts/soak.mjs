// `npm run soak [-- minutes]`, `npm run soak -- lakefs [minutes]`: installs and builds if need be,
// then bench/soak. `npm run soak -- fleet [minutes]` (10): test/crash/fleet-histories for so long;
// SEED=N runs a history again.
import { install, run } from "./install.mjs";

install();
run("scripts/build.mjs", ["--if-needed"]);
const [what, minutes = "10"] = process.argv.slice(2);
if (what === "fleet") {
  const env = { ...process.env, SECONDS: String(Number(minutes) * 60), TAP_TIMEOUT: "0" };
  run("dist/test/crash/fleet-histories.test.js", [], { env });
} else run("dist/bench/soak.js", process.argv.slice(2));
