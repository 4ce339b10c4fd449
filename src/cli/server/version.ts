/**
 * The version in package.json, which lies beside dist/ in a checkout and in an installed package
 * alike.
 */
import { readFileSync } from "node:fs";

const manifest = JSON.parse(
  readFileSync(new URL("../../../../package.json", import.meta.url), "utf8"),
) as { version: string };
export const VERSION: string = manifest.version;
