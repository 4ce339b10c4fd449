/**
 * Chooses what an ordinary run leaves to the full one (`npm run test:large`): of a matrix it takes
 * one column, of a long walk every so many-th step. Which ones that are changes from day to day and
 * from file to file, so that each has its turn. TEST_DAY=N runs what day N runs.
 */
import { basename } from "node:path";

const DAY_MS = 86_400_000;

export const isFull = process.env["TEST_LARGE"] !== undefined;

const day = Number(process.env["TEST_DAY"] ?? Math.floor(Date.now() / DAY_MS));
const file = [...basename(process.argv[1] ?? "")].reduce(
  (sum, letter) => sum + letter.charCodeAt(0),
  0,
);

/** The front ends that a test runs on whose subject is not a front end. */
export const frontEnds: readonly ("uws" | "node")[] = sampled(["uws", "node"]);

/** The block stores of lakeFS that a test runs on whose subject is not one of them. */
export const blockStores: readonly ("local" | "s3")[] = sampled(["local", "s3"]);

/** Returns a walk's steps from `first` on, `stride` apart. */
export function strideOf(everyday: number): { readonly first: number; readonly stride: number } {
  return isFull ? { first: 0, stride: 1 } : { first: (day + file) % everyday, stride: everyday };
}

/** Returns every so many-th of a list. */
export function someOf<T>(all: readonly T[], everyday: number): readonly T[] {
  const { first, stride } = strideOf(everyday);
  return all.filter((_, at) => at % stride === first);
}

function sampled<T>(all: readonly T[]): readonly T[] {
  return isFull ? all : [all[(day + file) % all.length] as T];
}
