// SHA-1 (FIPS 180-4 §6.1.2): four independent messages in four SIMD lanes, and one message alone.
// Messages lie padded in memory: the caller frames them (frame.ts), so that no byte is copied.
//
// Batch: jobs of 16 bytes {message, blocks, where the digest goes, free for the caller}.
const H0: u32 = 0x67452301;
const H1: u32 = 0xefcdab89;
const H2: u32 = 0x98badcfe;
const H3: u32 = 0x10325476;
const H4: u32 = 0xc3d2e1f0;
const K0: u32 = 0x5a827999;
const K1: u32 = 0x6ed9eba1;
const K2: u32 = 0x8f1bbcdc;
const K3: u32 = 0xca62c1d6;

/** Schedule of 80 × 16 bytes; one an instance. */
let schedule: usize = 0;
export const SCHEDULE_BYTES: usize = 80 * 16;

export function setSchedule(at: usize): void {
  schedule = at;
}

// @ts-ignore: decorator
@inline
function left(v: v128, bits: i32): v128 {
  return v128.or(i32x4.shl(v, bits), i32x4.shr_u(v, 32 - bits));
}

// @ts-ignore: decorator
@inline
function choose(b: v128, c: v128, d: v128): v128 {
  return v128.xor(d, v128.and(b, v128.xor(c, d)));
}

// @ts-ignore: decorator
@inline
function parity(b: v128, c: v128, d: v128): v128 {
  return v128.xor(b, v128.xor(c, d));
}

// @ts-ignore: decorator
@inline
function majority(b: v128, c: v128, d: v128): v128 {
  return v128.or(v128.and(b, c), v128.and(d, v128.or(b, c)));
}

// @ts-ignore: decorator
@inline
function next(a: v128, f: v128, e: v128, k: v128, w: usize): v128 {
  return i32x4.add(i32x4.add(i32x4.add(left(a, 5), f), i32x4.add(e, k)), v128.load(w));
}

// @ts-ignore: decorator
@inline
function swap(v: v128): v128 {
  return i8x16.shuffle(v, v, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
}

/** Sixteen words of four messages, turned so that word t of all four lies at schedule + 16 t. */
// @ts-ignore: decorator
@inline
function loadWords(p0: usize, p1: usize, p2: usize, p3: usize): void {
  const w = schedule;
  for (let at: usize = 0; at < 64; at += 16) {
    const r0 = swap(v128.load(p0 + at));
    const r1 = swap(v128.load(p1 + at));
    const r2 = swap(v128.load(p2 + at));
    const r3 = swap(v128.load(p3 + at));
    const a = i8x16.shuffle(r0, r1, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const b = i8x16.shuffle(r2, r3, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const c = i8x16.shuffle(r0, r1, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    const d = i8x16.shuffle(r2, r3, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    const to = w + (at << 2);
    v128.store(to, i8x16.shuffle(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23));
    v128.store(
      to,
      i8x16.shuffle(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31),
      16,
    );
    v128.store(to, i8x16.shuffle(c, d, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23), 32);
    v128.store(
      to,
      i8x16.shuffle(c, d, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31),
      48,
    );
  }
}

/** Word t, t ≥ 16, from those before it. */
// @ts-ignore: decorator
@inline
function expand(w: usize): void {
  const mixed = v128.xor(
    v128.xor(v128.load(w - 48), v128.load(w - 128)),
    v128.xor(v128.load(w - 224), v128.load(w - 256)),
  );
  v128.store(w, left(mixed, 1));
}

let la: v128 = i32x4.splat(0);
let lb: v128 = i32x4.splat(0);
let lc: v128 = i32x4.splat(0);
let ld: v128 = i32x4.splat(0);
let le: v128 = i32x4.splat(0);

/** `blocks` blocks of four messages. */
function compressLanes(p0: usize, p1: usize, p2: usize, p3: usize, blocks: u32): void {
  const w = schedule;
  const k0 = i32x4.splat(K0);
  const k1 = i32x4.splat(K1);
  const k2 = i32x4.splat(K2);
  const k3 = i32x4.splat(K3);
  let ha = la;
  let hb = lb;
  let hc = lc;
  let hd = ld;
  let he = le;
  for (; blocks > 0; blocks--) {
    loadWords(p0, p1, p2, p3);
    p0 += 64;
    p1 += 64;
    p2 += 64;
    p3 += 64;
    let a = ha;
    let b = hb;
    let c = hc;
    let d = hd;
    let e = he;
    let at = w;
    for (const end = w + 15 * 16; at < end; at += 80) {
      e = next(a, choose(b, c, d), e, k0, at);
      b = left(b, 30);
      d = next(e, choose(a, b, c), d, k0, at + 16);
      a = left(a, 30);
      c = next(d, choose(e, a, b), c, k0, at + 32);
      e = left(e, 30);
      b = next(c, choose(d, e, a), b, k0, at + 48);
      d = left(d, 30);
      a = next(b, choose(c, d, e), a, k0, at + 64);
      c = left(c, 30);
    }
    expand(at + 16);
    expand(at + 32);
    expand(at + 48);
    expand(at + 64);
    e = next(a, choose(b, c, d), e, k0, at);
    b = left(b, 30);
    d = next(e, choose(a, b, c), d, k0, at + 16);
    a = left(a, 30);
    c = next(d, choose(e, a, b), c, k0, at + 32);
    e = left(e, 30);
    b = next(c, choose(d, e, a), b, k0, at + 48);
    d = left(d, 30);
    a = next(b, choose(c, d, e), a, k0, at + 64);
    c = left(c, 30);
    at += 80;
    for (const end = w + 40 * 16; at < end; at += 80) {
      expand(at);
      expand(at + 16);
      expand(at + 32);
      expand(at + 48);
      expand(at + 64);
      e = next(a, parity(b, c, d), e, k1, at);
      b = left(b, 30);
      d = next(e, parity(a, b, c), d, k1, at + 16);
      a = left(a, 30);
      c = next(d, parity(e, a, b), c, k1, at + 32);
      e = left(e, 30);
      b = next(c, parity(d, e, a), b, k1, at + 48);
      d = left(d, 30);
      a = next(b, parity(c, d, e), a, k1, at + 64);
      c = left(c, 30);
    }
    for (const end = w + 60 * 16; at < end; at += 80) {
      expand(at);
      expand(at + 16);
      expand(at + 32);
      expand(at + 48);
      expand(at + 64);
      e = next(a, majority(b, c, d), e, k2, at);
      b = left(b, 30);
      d = next(e, majority(a, b, c), d, k2, at + 16);
      a = left(a, 30);
      c = next(d, majority(e, a, b), c, k2, at + 32);
      e = left(e, 30);
      b = next(c, majority(d, e, a), b, k2, at + 48);
      d = left(d, 30);
      a = next(b, majority(c, d, e), a, k2, at + 64);
      c = left(c, 30);
    }
    for (const end = w + 80 * 16; at < end; at += 80) {
      expand(at);
      expand(at + 16);
      expand(at + 32);
      expand(at + 48);
      expand(at + 64);
      e = next(a, parity(b, c, d), e, k3, at);
      b = left(b, 30);
      d = next(e, parity(a, b, c), d, k3, at + 16);
      a = left(a, 30);
      c = next(d, parity(e, a, b), c, k3, at + 32);
      e = left(e, 30);
      b = next(c, parity(d, e, a), b, k3, at + 48);
      d = left(d, 30);
      a = next(b, parity(c, d, e), a, k3, at + 64);
      c = left(c, 30);
    }
    ha = i32x4.add(ha, a);
    hb = i32x4.add(hb, b);
    hc = i32x4.add(hc, c);
    hd = i32x4.add(hd, d);
    he = i32x4.add(he, e);
  }
  la = ha;
  lb = hb;
  lc = hc;
  ld = hd;
  le = he;
}

// One message -------------------------------------------------------------------------------------
let sa: u32 = 0;
let sb: u32 = 0;
let sc: u32 = 0;
let sd: u32 = 0;
let se: u32 = 0;

// @ts-ignore: decorator
@inline
function word(w: usize): u32 {
  const value = rotl<u32>(
    load<u32>(w - 12) ^ load<u32>(w - 32) ^ load<u32>(w - 56) ^ load<u32>(w - 64),
    1,
  );
  store<u32>(w, value);
  return value;
}

/** `blocks` blocks of one message, continuing sa…se. */
function compressOne(message: usize, blocks: u32): void {
  const w = schedule;
  for (; blocks > 0; blocks--) {
    for (let at: usize = 0; at < 64; at += 4)
      store<u32>(w + at, bswap<u32>(load<u32>(message + at)));
    message += 64;
    let a = sa;
    let b = sb;
    let c = sc;
    let d = sd;
    let e = se;
    let at = w;
    for (const end = w + 64; at < end; at += 4) {
      const sum = rotl<u32>(a, 5) + (d ^ (b & (c ^ d))) + e + K0 + load<u32>(at);
      e = d;
      d = c;
      c = rotl<u32>(b, 30);
      b = a;
      a = sum;
    }
    for (const end = w + 80; at < end; at += 4) {
      const sum = rotl<u32>(a, 5) + (d ^ (b & (c ^ d))) + e + K0 + word(at);
      e = d;
      d = c;
      c = rotl<u32>(b, 30);
      b = a;
      a = sum;
    }
    for (const end = w + 160; at < end; at += 20) {
      e = rotl<u32>(a, 5) + (b ^ c ^ d) + e + K1 + word(at);
      b = rotl<u32>(b, 30);
      d = rotl<u32>(e, 5) + (a ^ b ^ c) + d + K1 + word(at + 4);
      a = rotl<u32>(a, 30);
      c = rotl<u32>(d, 5) + (e ^ a ^ b) + c + K1 + word(at + 8);
      e = rotl<u32>(e, 30);
      b = rotl<u32>(c, 5) + (d ^ e ^ a) + b + K1 + word(at + 12);
      d = rotl<u32>(d, 30);
      a = rotl<u32>(b, 5) + (c ^ d ^ e) + a + K1 + word(at + 16);
      c = rotl<u32>(c, 30);
    }
    for (const end = w + 240; at < end; at += 20) {
      e = rotl<u32>(a, 5) + ((b & c) | (d & (b | c))) + e + K2 + word(at);
      b = rotl<u32>(b, 30);
      d = rotl<u32>(e, 5) + ((a & b) | (c & (a | b))) + d + K2 + word(at + 4);
      a = rotl<u32>(a, 30);
      c = rotl<u32>(d, 5) + ((e & a) | (b & (e | a))) + c + K2 + word(at + 8);
      e = rotl<u32>(e, 30);
      b = rotl<u32>(c, 5) + ((d & e) | (a & (d | e))) + b + K2 + word(at + 12);
      d = rotl<u32>(d, 30);
      a = rotl<u32>(b, 5) + ((c & d) | (e & (c | d))) + a + K2 + word(at + 16);
      c = rotl<u32>(c, 30);
    }
    for (const end = w + 320; at < end; at += 20) {
      e = rotl<u32>(a, 5) + (b ^ c ^ d) + e + K3 + word(at);
      b = rotl<u32>(b, 30);
      d = rotl<u32>(e, 5) + (a ^ b ^ c) + d + K3 + word(at + 4);
      a = rotl<u32>(a, 30);
      c = rotl<u32>(d, 5) + (e ^ a ^ b) + c + K3 + word(at + 8);
      e = rotl<u32>(e, 30);
      b = rotl<u32>(c, 5) + (d ^ e ^ a) + b + K3 + word(at + 12);
      d = rotl<u32>(d, 30);
      a = rotl<u32>(b, 5) + (c ^ d ^ e) + a + K3 + word(at + 16);
      c = rotl<u32>(c, 30);
    }
    sa += a;
    sb += b;
    sc += c;
    sd += d;
    se += e;
  }
}

// @ts-ignore: decorator
@inline
function storeDigest(to: usize): void {
  store<u32>(to, bswap<u32>(sa));
  store<u32>(to, bswap<u32>(sb), 4);
  store<u32>(to, bswap<u32>(sc), 8);
  store<u32>(to, bswap<u32>(sd), 12);
  store<u32>(to, bswap<u32>(se), 16);
}

// @ts-ignore: decorator
@inline
function startOne(): void {
  sa = H0;
  sb = H1;
  sc = H2;
  sd = H3;
  se = H4;
}

/** Digest of one padded message. */
export function hashOne(message: usize, blocks: u32, to: usize): void {
  startOne();
  compressOne(message, blocks);
  storeDigest(to);
}

// A stream whose state lies in memory (20 bytes), so that the next thread can go on ---------------
export function startStream(state: usize): void {
  startOne();
  saveStream(state);
}

export function continueStream(state: usize, message: usize, blocks: u32): void {
  sa = load<u32>(state);
  sb = load<u32>(state, 4);
  sc = load<u32>(state, 8);
  sd = load<u32>(state, 12);
  se = load<u32>(state, 16);
  compressOne(message, blocks);
  saveStream(state);
}

function saveStream(state: usize): void {
  store<u32>(state, sa);
  store<u32>(state, sb, 4);
  store<u32>(state, sc, 8);
  store<u32>(state, sd, 12);
  store<u32>(state, se, 16);
}

/** The state as a digest. */
export function endStream(state: usize, to: usize): void {
  for (let at: usize = 0; at < 20; at += 4) store<u32>(to + at, bswap<u32>(load<u32>(state + at)));
}

// Batches -----------------------------------------------------------------------------------------
// @ts-ignore: decorator
@inline
function withLane(v: v128, lane: u32, value: u32): v128 {
  switch (lane) {
    case 0:
      return i32x4.replace_lane(v, 0, value);
    case 1:
      return i32x4.replace_lane(v, 1, value);
    case 2:
      return i32x4.replace_lane(v, 2, value);
    default:
      return i32x4.replace_lane(v, 3, value);
  }
}

// @ts-ignore: decorator
@inline
function laneOf(v: v128, lane: u32): u32 {
  switch (lane) {
    case 0:
      return i32x4.extract_lane(v, 0);
    case 1:
      return i32x4.extract_lane(v, 1);
    case 2:
      return i32x4.extract_lane(v, 2);
    default:
      return i32x4.extract_lane(v, 3);
  }
}

function loadLane(lane: u32): void {
  la = withLane(la, lane, H0);
  lb = withLane(lb, lane, H1);
  lc = withLane(lc, lane, H2);
  ld = withLane(ld, lane, H3);
  le = withLane(le, lane, H4);
}

function takeLane(lane: u32): void {
  sa = laneOf(la, lane);
  sb = laneOf(lb, lane);
  sc = laneOf(lc, lane);
  sd = laneOf(ld, lane);
  se = laneOf(le, lane);
}

/**
 * Hashes `count` jobs. A lane is refilled as soon as its message ends; the last message alone runs
 * without lanes.
 */
export function hashJobs(jobs: usize, count: u32): void {
  if (count == 1) {
    hashOne(load<u32>(jobs), load<u32>(jobs, 4), load<u32>(jobs, 8));
    return;
  }
  let m0: u32 = 0,
    m1: u32 = 0,
    m2: u32 = 0,
    m3: u32 = 0; // next block of each lane
  let n0: u32 = 0,
    n1: u32 = 0,
    n2: u32 = 0,
    n3: u32 = 0; // blocks left, 0: the lane is dead
  let o0: u32 = 0,
    o1: u32 = 0,
    o2: u32 = 0,
    o3: u32 = 0; // where the digest goes
  let at = jobs;
  const end = jobs + ((<usize>count) << 4);
  while (true) {
    if (n0 == 0 && at < end) {
      m0 = load<u32>(at);
      n0 = load<u32>(at, 4);
      o0 = load<u32>(at, 8);
      at += 16;
      loadLane(0);
    }
    if (n1 == 0 && at < end) {
      m1 = load<u32>(at);
      n1 = load<u32>(at, 4);
      o1 = load<u32>(at, 8);
      at += 16;
      loadLane(1);
    }
    if (n2 == 0 && at < end) {
      m2 = load<u32>(at);
      n2 = load<u32>(at, 4);
      o2 = load<u32>(at, 8);
      at += 16;
      loadLane(2);
    }
    if (n3 == 0 && at < end) {
      m3 = load<u32>(at);
      n3 = load<u32>(at, 4);
      o3 = load<u32>(at, 8);
      at += 16;
      loadLane(3);
    }
    const live = u32(n0 != 0) + u32(n1 != 0) + u32(n2 != 0) + u32(n3 != 0);
    if (live == 0) return;
    if (live == 1) {
      const lane: u32 = n0 ? 0 : n1 ? 1 : n2 ? 2 : 3;
      takeLane(lane);
      compressOne(n0 ? m0 : n1 ? m1 : n2 ? m2 : m3, n0 + n1 + n2 + n3);
      storeDigest(n0 ? o0 : n1 ? o1 : n2 ? o2 : o3);
      return;
    }
    let run: u32 = 0xffffffff;
    let shared: u32 = 0; // dead lanes read a live lane's message
    if (n0) {
      run = n0;
      shared = m0;
    }
    if (n1) {
      if (n1 < run) run = n1;
      shared = m1;
    }
    if (n2) {
      if (n2 < run) run = n2;
      shared = m2;
    }
    if (n3) {
      if (n3 < run) run = n3;
      shared = m3;
    }
    compressLanes(n0 ? m0 : shared, n1 ? m1 : shared, n2 ? m2 : shared, n3 ? m3 : shared, run);
    const bytes = run << 6;
    if (n0) {
      n0 -= run;
      m0 += bytes;
      if (n0 == 0) {
        takeLane(0);
        storeDigest(o0);
      }
    }
    if (n1) {
      n1 -= run;
      m1 += bytes;
      if (n1 == 0) {
        takeLane(1);
        storeDigest(o1);
      }
    }
    if (n2) {
      n2 -= run;
      m2 += bytes;
      if (n2 == 0) {
        takeLane(2);
        storeDigest(o2);
      }
    }
    if (n3) {
      n3 -= run;
      m3 += bytes;
      if (n3 == 0) {
        takeLane(3);
        storeDigest(o3);
      }
    }
  }
}
