/**
 * Bytes for the bulk transfers: made from a seed, so that both ends can make them and neither must keep them. A block of random
 * bytes repeats, each time with its number in front; what is lost, doubled or moved changes the digest.
 */
import { createHash } from "node:crypto";

/** Also what is handed to one write: large, so that writing costs little. */
const BLOCK_BYTES = 1024 * 1024;
/** Digested at once. */
const TURN_BYTES = 32 * BLOCK_BYTES;

export class Pattern {
  readonly sizeBytes: number;
  readonly #block: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;

  /** `seed` is any 32-bit number. */
  constructor(seed: number, sizeBytes: number) {
    this.sizeBytes = sizeBytes;
    const words = new Uint32Array(BLOCK_BYTES / 4);
    // Xorshift: fast, and no two blocks of a run look alike. Zero would stay zero.
    let state = seed >>> 0 || 1;
    for (let i = 0; i < words.length; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      words[i] = state;
    }
    this.#block = new Uint8Array(words.buffer);
    this.#view = new DataView(words.buffer);
  }

  /** The bytes in order, in pieces. Each is valid until the next is asked for. */
  *pieces(): Generator<Uint8Array<ArrayBuffer>> {
    for (let at = 0, number = 0; at < this.sizeBytes; at += BLOCK_BYTES, number++) {
      this.#view.setUint32(0, number);
      const left = this.sizeBytes - at;
      yield left < BLOCK_BYTES ? this.#block.subarray(0, left) : this.#block;
    }
  }

  /** SHA-256 of all of it, in hexadecimal: half a second for 256 MiB. Others have their turn meanwhile, and are told how far it is. */
  async digest(onBytes: (total: number) => void = () => {}): Promise<string> {
    const hash = createHash("sha256");
    let total = 0;
    for (const piece of this.pieces()) {
      hash.update(piece);
      onBytes(total += piece.length);
      if (total % TURN_BYTES === 0) await new Promise((resolve) => setTimeout(resolve, 0));
    }
    return hash.digest("hex");
  }
}
