import type { FileHandle } from "node:fs/promises";
import t from "tap";
import { readViews } from "../../src/odb/pack-objects/pack-stream.js";

/** A file whose reads bring at most `atMost` bytes each. */
function shortReads(content: Buffer, atMost: number): FileHandle & { calls: number } {
  const file = {
    calls: 0,
    async readv(views: Uint8Array[], position: number): Promise<{ bytesRead: number }> {
      file.calls++;
      let bytesRead = 0;
      for (const view of views) {
        const part = content.subarray(
          position + bytesRead,
          position + bytesRead + Math.min(view.length, atMost - bytesRead),
        );
        view.set(part);
        bytesRead += part.length;
      }
      return { bytesRead };
    },
  };
  return file as unknown as FileHandle & { calls: number };
}

t.test("views are filled however few a read brings", async (t) => {
  const content = Buffer.from("0123456789abcdefghij");
  for (const atMost of [1, 3, 7, 100]) {
    const memory = Buffer.alloc(12, ".");
    const views = [memory.subarray(0, 4), memory.subarray(5, 8), memory.subarray(9, 11)];
    t.equal(await readViews(shortReads(content, atMost), views, 2, 20), 9);
    t.equal(memory.toString(), "2345.678.9a.", `${atMost} at once`);
    memory.fill(".");
    t.equal(
      await readViews(shortReads(content, atMost), views, 2, 8),
      6,
      "not beyond the end that was asked for",
    );
    t.equal(memory.toString(), "2345.67.....");
  }
  const plain = shortReads(content, 100);
  await readViews(plain, [Buffer.alloc(5), Buffer.alloc(5)], 0, 20);
  t.equal(plain.calls, 1, "one read where one is enough");
  await t.rejects(readViews(shortReads(content, 100), [Buffer.alloc(50)], 0, 50), {
    code: "odb/damaged",
  });
});
