/**
 * bundle-uri: bundles that a clone may read before it fetches what they have not.
 *
 *   (no arguments)   →   bundle.version=1, bundle.mode=all, bundle.heuristic=creationToken,
 *                        bundle.<id>.uri=<uri>, bundle.<id>.creationToken=<number> …, flush
 *
 * Mode `all`: each holds what the others have not. The token grows from one to the next: a client
 * reads from the largest down, until it has the prerequisites of what it has read. None leave the
 * list's three lines, which Git takes as nothing to read.
 * Source: gitprotocol-v2(5) "bundle-uri"; git-config(1) "bundle.*".
 */
import { badLine } from "./arguments.js";
import { LineWriter } from "./pkt-line.js";

export interface BundleOffer {
  /** Letters and digits. */
  readonly id: string;
  readonly uri: string;
  /** Larger than that of every bundle which this one builds on. */
  readonly creationToken: number;
}

/** Takes the argument lines of one bundle-uri command: there are none. */
export class BundleUriArguments {
  /** Throws "wire/bad-request". */
  take(line: string): void {
    throw badLine("no argument of bundle-uri", line);
  }

  finish(): Record<string, never> {
    return {};
  }
}

/** The answer, flush included. */
export function bundleUriAnswer(bundles: readonly BundleOffer[]): Uint8Array {
  const writer = new LineWriter();
  writer.bare("bundle.version=1").bare("bundle.mode=all").bare("bundle.heuristic=creationToken");
  for (const { id, uri, creationToken } of bundles)
    writer.bare(`bundle.${id}.uri=${uri}`).bare(`bundle.${id}.creationToken=${creationToken}`);
  return writer.flush().take();
}
