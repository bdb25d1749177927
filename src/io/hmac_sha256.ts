/**
 * HMAC-SHA-256 (RFC 2104, FIPS 180-4) under one key, for the short texts of which a handshake needs several: the key's part is
 * computed once, and no object of the runtime's is made for each. Everything else hashes with the runtime's library (crypto.ts).
 */
import { assert } from "../base/mod.ts";

const BLOCK_BYTES = 64;
const DIGEST_BYTES = 32;
const LENGTH_AT = BLOCK_BYTES - 8;
const INNER_PAD = 0x36, OUTER_PAD = 0x5c;

/** The fractional parts of the cube roots of the first 64 primes, and of the square roots of the first eight (FIPS 180-4 §4.2.2, §5.3.3). */
const ROUND_WORDS = fractionalWords(64, 1 / 3);
const START_WORDS = fractionalWords(8, 1 / 2);

export class HmacSha256 {
  readonly #inner = Int32Array.from(START_WORDS);
  readonly #outer = Int32Array.from(START_WORDS);
  readonly #state = new Int32Array(8);
  readonly #schedule = new Int32Array(64);
  readonly #block = new Uint8Array(BLOCK_BYTES);
  readonly #view = new DataView(this.#block.buffer);

  /** `key` has at most 64 bytes. */
  constructor(key: Uint8Array) {
    assert(key.length <= BLOCK_BYTES, "the length of an HMAC key");
    for (const [state, pad] of [[this.#inner, INNER_PAD], [this.#outer, OUTER_PAD]] as const) {
      for (let i = 0; i < BLOCK_BYTES; i++) this.#block[i] = (key[i] ?? 0) ^ pad;
      this.#compress(state);
    }
    this.#block.fill(0);
  }

  /** The code of `data`, 32 bytes. */
  digest(data: Uint8Array): Uint8Array<ArrayBuffer> {
    this.#state.set(this.#inner);
    this.#finish(data);
    const inner = this.#words();
    this.#state.set(this.#outer);
    this.#finish(inner);
    return this.#words();
  }

  /** Takes in `data` behind the block of the key, and the padding. */
  #finish(data: Uint8Array): void {
    const block = this.#block;
    let at = 0;
    for (; data.length - at >= BLOCK_BYTES; at += BLOCK_BYTES) {
      block.set(data.subarray(at, at + BLOCK_BYTES));
      this.#compress(this.#state);
    }
    const rest = data.length - at;
    block.fill(0);
    for (let i = 0; i < rest; i++) block[i] = data[at + i] ?? 0;
    block[rest] = 0x80;
    if (rest >= LENGTH_AT) {
      this.#compress(this.#state);
      block.fill(0);
    }
    // In bits; nobody hashes half a gigabyte here.
    this.#view.setUint32(LENGTH_AT + 4, (BLOCK_BYTES + data.length) * 8);
    this.#compress(this.#state);
  }

  #words(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(DIGEST_BYTES);
    for (let i = 0; i < 8; i++) {
      const word = this.#state[i] ?? 0;
      bytes[4 * i] = word >>> 24;
      bytes[4 * i + 1] = word >>> 16;
      bytes[4 * i + 2] = word >>> 8;
      bytes[4 * i + 3] = word;
    }
    return bytes;
  }

  /** FIPS 180-4 §6.2.2 on the block. */
  #compress(state: Int32Array): void {
    const schedule = this.#schedule;
    for (let i = 0; i < 16; i++) schedule[i] = this.#view.getInt32(4 * i);
    for (let i = 16; i < 64; i++) {
      const early = schedule[i - 15] ?? 0, late = schedule[i - 2] ?? 0;
      const first = rotate(early, 7) ^ rotate(early, 18) ^ (early >>> 3);
      const second = rotate(late, 17) ^ rotate(late, 19) ^ (late >>> 10);
      schedule[i] = (schedule[i - 16] ?? 0) + first + (schedule[i - 7] ?? 0) + second;
    }
    let a = state[0] ?? 0, b = state[1] ?? 0, c = state[2] ?? 0, d = state[3] ?? 0;
    let e = state[4] ?? 0, f = state[5] ?? 0, g = state[6] ?? 0, h = state[7] ?? 0;
    for (let i = 0; i < 64; i++) {
      const sum = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
      const choice = (e & f) ^ (~e & g);
      const one = (h + sum + choice + (ROUND_WORDS[i] ?? 0) + (schedule[i] ?? 0)) | 0;
      const two = ((rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + one) | 0;
      d = c;
      c = b;
      b = a;
      a = (one + two) | 0;
    }
    state[0] = (state[0] ?? 0) + a;
    state[1] = (state[1] ?? 0) + b;
    state[2] = (state[2] ?? 0) + c;
    state[3] = (state[3] ?? 0) + d;
    state[4] = (state[4] ?? 0) + e;
    state[5] = (state[5] ?? 0) + f;
    state[6] = (state[6] ?? 0) + g;
    state[7] = (state[7] ?? 0) + h;
  }
}

function rotate(word: number, by: number): number {
  return (word >>> by) | (word << (32 - by));
}

/** The first 32 bits behind the point of the roots of the first primes. */
function fractionalWords(count: number, exponent: number): Int32Array {
  const words = new Int32Array(count);
  for (let number = 2, found = 0; found < count; number++) {
    let isPrime = true;
    for (let divisor = 2; divisor * divisor <= number; divisor++) if (number % divisor === 0) isPrime = false;
    if (isPrime) words[found++] = Math.floor((number ** exponent % 1) * 2 ** 32);
  }
  return words;
}
