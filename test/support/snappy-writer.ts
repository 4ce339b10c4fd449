/** Snappy for tests: literals only, in every length form. */
export function snappyOf(data: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [];
  const head: number[] = [];
  let rest = data.length;
  do {
    head.push(rest > 127 ? (rest & 127) | 128 : rest);
    rest >>>= 7;
  } while (rest > 0);
  parts.push(Uint8Array.from(head));
  if (data.length > 0) {
    const length = data.length - 1;
    if (length < 60) parts.push(Uint8Array.of(length << 2));
    else if (length < 256) parts.push(Uint8Array.of(60 << 2, length));
    else if (length < 65_536) parts.push(Uint8Array.of(61 << 2, length & 255, length >> 8));
    else parts.push(Uint8Array.of(62 << 2, length & 255, (length >> 8) & 255, length >> 16));
    parts.push(data);
  }
  return Buffer.concat(parts);
}
