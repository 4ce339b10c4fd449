/** Repositories with many small files, each of its own content. */
import type { LakefsClient } from "../../src/lakefs/api/client.js";
import type { LakefsCommit } from "../../src/lakefs/api/types.js";

const UPLOADS_AT_ONCE = 24;

/** "d012/s3/f012.txt": a hundred folders of seven. */
export function manyPath(at: number): string {
  return `d${String(at % 100).padStart(3, "0")}/s${at % 7}/f${String(at).padStart(6, "0")}.txt`;
}

/** Some `bytes` bytes of words, other ones for each `at` and `salt`. */
export function manyContent(at: number, bytes: number, salt = ""): Buffer {
  let state = (at + 1) * 2_654_435_761;
  let text = `file ${at} ${salt}\n`;
  while (text.length < bytes) {
    state = (Math.imul(state ^ (state >>> 15), 2_246_822_519) + 1) >>> 0;
    text += `${state.toString(36)}${state % 11 === 0 ? "\n" : " "}`;
  }
  return Buffer.from(text.slice(0, bytes));
}

/** Uploads files and commits them to main. */
export async function commitMany(
  client: LakefsClient,
  files: {
    readonly from: number;
    readonly to: number;
    readonly bytes: number;
    readonly salt?: string;
  },
): Promise<LakefsCommit> {
  const { signal } = new AbortController();
  let next = files.from;
  const work = async () => {
    for (let at = next++; at < files.to; at = next++) {
      await client.uploadObject(
        "main",
        manyPath(at),
        manyContent(at, files.bytes, files.salt),
        {},
        signal,
      );
    }
  };
  await Promise.all(Array.from({ length: UPLOADS_AT_ONCE }, work));
  return client.commit("main", { message: `${files.to - files.from} files` }, signal);
}
