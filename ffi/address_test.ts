/** Addresses and lengths that foreign calls take: exact at every size, also where the lower half overflows. */
import { assertEquals } from "@std/assert";
import { AddressTable, big } from "./address.ts";

const view = new DataView(new ArrayBuffer(8));
const bytes = new Uint8Array(view.buffer);

Deno.test("a length is the same number as a bigint", () => {
  for (const n of [0, 1, 65_535, 65_536, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 40 + 7, Number.MAX_SAFE_INTEGER]) {
    assertEquals(big(n), BigInt(n));
  }
});

Deno.test("an offset is added to the arena's address, also across 4 GiB", () => {
  for (const address of [0n, 4096n, 0xffff_f000n, 0x7f12_ffff_f000n, 0x7f12_8000_0000n]) {
    const table = new AddressTable({ bytes, view, address });
    for (const offset of [0, 1, 4095, 4096, 4097, 65_536, 2 ** 31, 2 ** 32 - 1]) {
      assertEquals(table.at(offset), address + BigInt(offset), `${address} + ${offset}`);
    }
  }
});
