// An object as Git hashes it: "<type> <size>\0", the data, SHA-1's padding (FIPS 180-4 §5.1.1);
// written around data that lies in memory with FRAME_BEFORE free bytes before it and FRAME_AFTER
// behind.
//
//   … free … b l o b ␣ 1 2 3 \0 | data | 80 00 … length in bits, big-endian, 64-bit |
export const FRAME_BEFORE: usize = 32;
export const FRAME_AFTER: usize = 96; // 1 + 63 + 8 of padding, and room for kernels that overshoot

/**
 * Writes "<type> <size>\0" so that it ends at `end`; answers where it starts. Types as
 * gitformat-pack(5) numbers them.
 */
export function writeHeader(end: usize, type: u32, size: u64): usize {
  let at = end - 1;
  store<u8>(at, 0);
  do {
    store<u8>(--at, <u8>(0x30 + (size % 10)));
    size /= 10;
  } while (size != 0);
  store<u8>(--at, 0x20);
  if (type == 1) {
    at -= 6;
    store<u32>(at, 0x6d6d6f63); // "comm"
    store<u16>(at, 0x7469, 4); // "it"
  } else if (type == 2) {
    at -= 4;
    store<u32>(at, 0x65657274); // "tree"
  } else if (type == 3) {
    at -= 4;
    store<u32>(at, 0x626f6c62); // "blob"
  } else {
    at -= 3;
    store<u16>(at, 0x6174); // "ta"
    store<u8>(at, 0x67, 2); // "g"
  }
  return at;
}

/**
 * Pads `length` bytes at `start`, the last of `total` bytes of a message; answers blocks to hash
 * from `start` on.
 */
export function pad(start: usize, length: usize, total: u64): u32 {
  const blocks = <u32>((length + 9 + 63) >> 6);
  const end = start + ((<usize>blocks) << 6);
  store<u8>(start + length, 0x80);
  memory.fill(start + length + 1, 0, end - 8 - (start + length + 1));
  store<u64>(end - 8, bswap<u64>(total << 3));
  return blocks;
}

/** Frames `size` bytes at `data` and writes a job of sha1.ts. */
export function frame(
  job: usize,
  type: u32,
  data: usize,
  size: usize,
  digest: usize,
  mark: u32,
): void {
  const start = writeHeader(data, type, size);
  const length = data + size - start;
  store<u32>(job, <u32>start);
  store<u32>(job, pad(start, length, length), 4);
  store<u32>(job, <u32>digest, 8);
  store<u32>(job, mark, 12);
}
