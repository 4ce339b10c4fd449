/** Content that never changes, whole or a range of it. RFC 9110, 13.1.5 and 14. */
import type { HttpReply, HttpRequest } from "./contract.js";
import { type ByteRange, readRangeHeader } from "./range.js";

export interface Content {
  /** Tells it apart: the same tag, the same bytes. */
  readonly tag: string;
  readonly size: number;
  /** Returns exactly the bytes of a range, or throws. */
  readonly read: (range: ByteRange) => AsyncIterable<Uint8Array>;
}

export async function contentReply(
  request: HttpRequest,
  { tag: name, size, read }: Content,
): Promise<HttpReply> {
  const tag = `"${name}"`;
  const condition = request.header("if-range");
  const range =
    condition === undefined || condition === tag
      ? readRangeHeader(request.header("range"), size)
      : undefined;
  const common = [
    ["Content-Type", "application/octet-stream"],
    ["Content-Disposition", "attachment"],
    ["X-Content-Type-Options", "nosniff"],
    ["Cache-Control", "private, max-age=0"],
    ["Accept-Ranges", "bytes"],
    ["ETag", tag],
  ] as const;
  if (range === "unsatisfiable")
    return {
      status: 416,
      headers: [...common, ["Content-Range", `bytes */${size}`]],
      body: new Uint8Array(0),
    };
  const { start, end } = range ?? { start: 0, end: size };
  const headers =
    range === undefined
      ? common
      : [...common, ["Content-Range", `bytes ${start}-${end - 1}/${size}`] as const];
  // What cannot be read is found out while it can still be said with a status, and in words that
  // clients show.
  const content = read({ start, end })[Symbol.asyncIterator]();
  const first = await content.next();
  return {
    status: range === undefined ? 200 : 206,
    headers,
    body: async (sink) => {
      sink.expect?.(end - start);
      try {
        for (let next = first; next.done !== true; next = await content.next())
          await sink.write(next.value);
      } finally {
        await content.return?.();
      }
    },
  };
}
