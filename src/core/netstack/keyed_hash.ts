/**
 * HalfSipHash-2-4 with a 32-bit result over 32-bit words: the keyed function F of RFC 6528 §3, out of which initial sequence
 * numbers come that nobody off the path can guess. Fast, and far stronger than what it protects; not for anything else.
 */

export interface HashKey {
  readonly low: number;
  readonly high: number;
}

/** The hash of `count` words of `words`, taken as their little-endian bytes. */
export function keyedHash(key: HashKey, words: Int32Array, count: number): number {
  let v0 = key.low, v1 = key.high;
  let v2 = 0x6c796765 ^ key.low, v3 = 0x74656462 ^ key.high;
  for (let i = 0; i <= count; i++) {
    // The last word is the length in bytes, in its top byte: our inputs have no odd bytes.
    const word = i < count ? words[i] as number : (4 * count) << 24;
    const isLast = i === count;
    v3 ^= word;
    // Two rounds a word; behind the last one four more.
    for (let round = isLast ? -4 : 0; round < 2; round++) {
      if (isLast && round === -2) {
        v0 ^= word;
        v2 ^= 0xff;
      }
      v0 = (v0 + v1) | 0;
      v1 = (v1 << 5 | v1 >>> 27) ^ v0;
      v0 = v0 << 16 | v0 >>> 16;
      v2 = (v2 + v3) | 0;
      v3 = (v3 << 8 | v3 >>> 24) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = (v3 << 7 | v3 >>> 25) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = (v1 << 13 | v1 >>> 19) ^ v2;
      v2 = v2 << 16 | v2 >>> 16;
    }
    if (!isLast) v0 ^= word;
  }
  return v1 ^ v3;
}
