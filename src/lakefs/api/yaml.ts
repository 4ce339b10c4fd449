/**
 * YAML, loaded when the first text is read: most starts of the program read none, and loading the
 * package costs 40 ms.
 */
import { createRequire } from "node:module";
import type { DocumentOptions, ParseOptions, SchemaOptions, ToJSOptions } from "yaml";

type YamlOptions = ParseOptions & DocumentOptions & SchemaOptions & ToJSOptions;

const require = createRequire(import.meta.url);

/** Parses YAML as the package `yaml` does. Throws what that throws. */
export function parseYaml(text: string, options: YamlOptions = {}): unknown {
  return (require("yaml") as typeof import("yaml")).parse(text, options);
}
