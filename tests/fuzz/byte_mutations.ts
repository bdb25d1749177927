/**
 * Inputs for decoders: whole messages that were spoilt here and there, and now and then plain noise. A number stands for an input: the
 * same number gives the same bytes.
 */

/** Bytes at which decoders take turns. */
const INTERESTING = [
  0,
  1,
  2,
  3,
  0x10,
  0x13,
  0x20,
  0x2f,
  0x3f,
  0x40,
  0x45,
  0x5a,
  0x60,
  0x7f,
  0x80,
  0xbf,
  0xc0,
  0xed,
  0xf0,
  0xfe,
  0xff,
];

/** Random 32-bit numbers from a seed (mulberry32). */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** 0 to `n` - 1. */
  below(n: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor(((t ^ (t >>> 14)) >>> 0) / 4294967296 * n);
  }
}

/** Writes an input made of `corpus` to `out` from `offset` on and returns its length, at most `maxBytes`. */
export function writeInput(dice: Dice, corpus: readonly Uint8Array[], out: Uint8Array, offset: number, maxBytes: number): number {
  const base = dice.below(16) === 0 ? undefined : corpus[dice.below(corpus.length)];
  let length = base === undefined ? dice.below(Math.min(maxBytes, 96) + 1) : Math.min(base.length, maxBytes);
  if (base === undefined) { for (let i = 0; i < length; i++) out[offset + i] = dice.below(256); }
  else out.set(length === base.length ? base : base.subarray(0, length), offset);
  // One in eight stays whole: what is right must go on being taken.
  for (let left = dice.below(8); left > 0; left -= 1 + dice.below(3)) {
    length = mutate(dice, corpus, out, offset, length, maxBytes);
  }
  return length;
}

function mutate(
  dice: Dice,
  corpus: readonly Uint8Array[],
  out: Uint8Array,
  offset: number,
  length: number,
  maxBytes: number,
): number {
  // The beginning of a message decides more than its end.
  const place = () => offset + (dice.below(2) === 0 ? dice.below(Math.min(length, 24) || 1) : dice.below(length || 1));
  switch (dice.below(8)) {
    case 0:
    case 1: {
      const at = place();
      out[at] = (out[at] ?? 0) ^ 1 << dice.below(8);
      return length;
    }
    case 2:
      out[place()] = INTERESTING[dice.below(INTERESTING.length)] ?? 0;
      return length;
    case 3:
      out[place()] = dice.below(256);
      return length;
    case 4:
      return dice.below(length + 1);
    case 5: {
      const more = Math.min(dice.below(24), maxBytes - length);
      for (let i = 0; i < more; i++) out[offset + length + i] = dice.below(256);
      return length + more;
    }
    case 6: {
      const other = corpus[dice.below(corpus.length)] ?? out.subarray(0, 0);
      const from = dice.below(other.length || 1), at = dice.below(length || 1);
      const count = Math.min(dice.below(32), other.length - from, length - at);
      if (count > 0) out.set(other.subarray(from, from + count), offset + at);
      return length;
    }
    default: {
      const at = dice.below(length || 1), count = Math.min(dice.below(16), length - at);
      out.copyWithin(offset + at, offset + at + count, offset + length);
      return length - count;
    }
  }
}
