/**
 * Offsets in an arena as native addresses. A foreign call takes a bigint without conversion in 5 ns and a number in 100, so
 * the bigints of all small numbers are made once; an address then costs one addition.
 */
import type { Arena } from "../src/core/quic/engine.ts";

const SMALL = 65_536;

/** `BIGINTS[n]` is `BigInt(n)` for 0 <= n <= 65,536, ready made for lengths. */
export const BIGINTS: readonly bigint[] = Array.from({ length: SMALL + 1 }, (_, n) => BigInt(n));

/** The bigint of a length that is usually small. */
export function big(n: number): bigint {
  return n <= SMALL ? BIGINTS[n] as bigint : BigInt(n);
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
  readonly #pages: bigint[];

  constructor(arena: Arena) {
    const pages = Math.ceil(arena.bytes.length / SMALL) + 1;
    this.#pages = Array.from({ length: pages }, (_, page) => arena.address + BigInt(page) * BigInt(SMALL));
  }

  at(offset: number): bigint {
    return (this.#pages[offset >>> 16] as bigint) + (BIGINTS[offset & 0xffff] as bigint);
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
