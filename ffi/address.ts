/**
 * Offsets in an arena as native addresses. A foreign call takes a bigint without conversion and a number at many times the cost, so
 * every address and every length has to be one. `BigInt(n)` allocates, and a table of ready-made ones is larger than the processor's
 * caches; what is written as two 32-bit words and read as one 64-bit word never becomes an object when the compiler sees it go
 * straight into a call.
 */
import type { Arena } from "../src/core/quic/engine.ts";

const TWO_POW_32 = 4_294_967_296;

/** One 64-bit word: every machine that we run on keeps its lower half first. */
const HALVES = new Uint32Array(2);
const WHOLE = new BigUint64Array(HALVES.buffer);

/** The bigint of a whole number from 0 to 2^53. */
export function big(n: number): bigint {
  HALVES[0] = n;
  HALVES[1] = n < TWO_POW_32 ? 0 : n / TWO_POW_32;
  return WHOLE[0] as bigint;
}

/** A page-aligned block of memory whose address does not change while the arena is referenced. */
export function createArena(bytes: number): Arena {
  const memory = new Uint8Array(new ArrayBuffer(bytes));
  const address = BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(memory)));
  return { bytes: memory, view: new DataView(memory.buffer), address };
}

/** The address of bytes that the caller keeps alive during the call; never 0, not even for an empty array. */
export function addressOf(bytes: Uint8Array): bigint {
  const named = bytes.length === 0 ? NOTHING : bytes as Uint8Array<ArrayBuffer>;
  return BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(named)));
}

const NOTHING = new Uint8Array(64);

/** Turns offsets of one arena into addresses. */
export class AddressTable {
  /** The halves of the arena's own address. */
  readonly #low: number;
  readonly #high: number;

  constructor(arena: Arena) {
    this.#low = Number(arena.address & 0xffff_ffffn);
    this.#high = Number(arena.address >> 32n);
  }

  at(offset: number): bigint {
    const low = this.#low + offset;
    HALVES[0] = low;
    HALVES[1] = low < TWO_POW_32 ? this.#high : this.#high + 1;
    return WHOLE[0] as bigint;
  }
}

/** The address of an offset that is nearly always the same, without an addition. */
export class AddressMemo {
  readonly #table: AddressTable;
  #offset = -1;
  #address = 0n;

  constructor(table: AddressTable) {
    this.#table = table;
  }

  at(offset: number): bigint {
    if (offset !== this.#offset) {
      this.#offset = offset;
      this.#address = this.#table.at(offset);
    }
    return this.#address;
  }
}
