// Delta instructions. gitformat-pack(5) "Deltified representation".
import { BAD_DELTA, BAD_VARINT, NEED_MORE, OK } from "./errors";

export let deltaBaseSize: u64 = 0;
export let deltaResultSize: u64 = 0;
let instructions: usize = 0;

/**
 * Reads both sizes into deltaBaseSize and deltaResultSize. NEED_MORE: the bytes end inside a size.
 */
export function readDeltaHeader(delta: usize, end: usize): i32 {
  let at = delta;
  for (let turn = 0; turn < 2; turn++) {
    let value: u64 = 0;
    let shift: u64 = 0;
    let byte: u32;
    do {
      if (at >= end) return NEED_MORE;
      if (shift > 56) return BAD_VARINT;
      byte = load<u8>(at++);
      value |= (<u64>(byte & 0x7f)) << shift;
      shift += 7;
    } while (byte & 0x80);
    if (turn == 0) deltaBaseSize = value;
    else deltaResultSize = value;
  }
  instructions = at;
  return OK;
}

// @ts-ignore: decorator
@inline
function copy(to: usize, from: usize, size: usize): void {
  if (size > 1024) {
    memory.copy(to, from, size);
    return;
  }
  const end = to + size;
  do {
    v128.store(to, v128.load(from));
    to += 16;
    from += 16;
  } while (to < end);
}

/**
 * Applies the delta whose header was just read. `out` has room for deltaResultSize and 32 bytes
 * more; base and delta are readable 16 bytes past their ends.
 */
export function applyDelta(base: usize, baseSize: usize, end: usize, target: usize): i32 {
  if (deltaBaseSize != <u64>baseSize) return BAD_DELTA;
  let at = instructions;
  let out = target;
  let room = <usize>deltaResultSize;
  while (at < end) {
    const op: u32 = load<u8>(at++);
    if (op & 0x80) {
      let from: usize = 0;
      let size: usize = 0;
      if (op & 0x01) from = load<u8>(at++);
      if (op & 0x02) from |= (<usize>load<u8>(at++)) << 8;
      if (op & 0x04) from |= (<usize>load<u8>(at++)) << 16;
      if (op & 0x08) from |= (<usize>load<u8>(at++)) << 24;
      if (op & 0x10) size = load<u8>(at++);
      if (op & 0x20) size |= (<usize>load<u8>(at++)) << 8;
      if (op & 0x40) size |= (<usize>load<u8>(at++)) << 16;
      if (size == 0) size = 0x10000;
      if (at > end) return BAD_DELTA; // the arguments ran past the delta
      if (from > baseSize || size > baseSize - from) return BAD_DELTA;
      if (size > room) return BAD_DELTA;
      copy(out, base + from, size);
      out += size;
      room -= size;
    } else {
      const size: usize = op;
      if (size == 0 || size > end - at || size > room) return BAD_DELTA;
      copy(out, at, size);
      at += size;
      out += size;
      room -= size;
    }
  }
  return room == 0 ? OK : BAD_DELTA;
}
