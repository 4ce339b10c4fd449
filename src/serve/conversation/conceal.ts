/**
 * Conceals lakeFS's name of a repository, which is not for everybody who may read it under another
 * name: it is cut from all that such a caller is told.
 */
import { Fault } from "../../base/fault.js";

/** Takes a name out of a text. */
export type Conceal = (text: string) => string;

/** The name where it stands as a word of its own, in a sentence or in an address. */
export function concealing(name: string): Conceal {
  const word = new RegExp(`(?<![a-z0-9-])${name}(?![a-z0-9-])`, "g"); // names of lakeFS are letters, digits and hyphens
  return (text) => text.replace(word, "…");
}

/** The same failure, without the name in its facts. */
export function concealed(fault: Fault, conceal: Conceal | undefined): Fault {
  if (conceal === undefined) return fault;
  const facts = Object.entries(fault.facts).map(
    ([key, value]) => [key, typeof value === "string" ? conceal(value) : value] as const,
  );
  return new Fault(fault.code, Object.fromEntries(facts), fault);
}
