/** HMAC-SHA-256 against the vectors of RFC 4231 and against the runtime's own, for every length about a block. */
import { assertEquals } from "@std/assert";
import { createHmac } from "node:crypto";
import { HmacSha256 } from "./hmac_sha256.ts";

const hex = (bytes: Uint8Array) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const ascii = (text: string) => new TextEncoder().encode(text);

Deno.test("HMAC-SHA-256: the vectors of RFC 4231 whose keys fit in a block", () => {
  const rows: readonly (readonly [key: Uint8Array, data: Uint8Array, code: string])[] = [
    [new Uint8Array(20).fill(0x0b), ascii("Hi There"), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"],
    [ascii("Jefe"), ascii("what do ya want for nothing?"), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"],
    [
      new Uint8Array(20).fill(0xaa),
      new Uint8Array(50).fill(0xdd),
      "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
    ],
  ];
  for (const [key, data, code] of rows) assertEquals(hex(new HmacSha256(key).digest(data)), code);
});

Deno.test("HMAC-SHA-256: every length to three blocks, as the runtime has it, with one object for all", () => {
  const key = crypto.getRandomValues(new Uint8Array(32));
  const hmac = new HmacSha256(key);
  for (let length = 0; length <= 200; length++) {
    const data = crypto.getRandomValues(new Uint8Array(length));
    assertEquals(hex(hmac.digest(data)), createHmac("sha256", key).update(data).digest("hex"), `${length} bytes`);
  }
});
