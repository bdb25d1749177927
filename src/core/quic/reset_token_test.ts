/** Stateless resets: the token follows from the ID, and the packet looks like any other. */
import { createHmac } from "node:crypto";
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { fromHex, toHex } from "../../base/mod.ts";
import { type ResetHmac, resetToken, writeStatelessReset } from "./reset_token.ts";

const hmacOf = (key: Uint8Array): ResetHmac => (data) => new Uint8Array(createHmac("sha256", key).update(data).digest());
const entropy = (bytes: Uint8Array) => void crypto.getRandomValues(bytes);

Deno.test("the token is the first half of HMAC-SHA-256 over the ID", () => {
  // RFC 4231 test case 2: key "Jefe".
  const hmac = hmacOf(new TextEncoder().encode("Jefe"));
  const id = new TextEncoder().encode("what do ya want for nothing?");
  assertEquals(toHex(resetToken(hmac, id)), "5bdcc146bf60754e6a042426089575c7");
});

Deno.test("another ID or another key has another token, and the same after a restart", () => {
  const id = fromHex("00112233445566778899aabbccddeeff") ?? new Uint8Array();
  const token = resetToken(hmacOf(Uint8Array.of(1)), id);
  assertEquals(resetToken(hmacOf(Uint8Array.of(1)), id.slice()), token);
  assertNotEquals(resetToken(hmacOf(Uint8Array.of(2)), id), token);
  assertNotEquals(resetToken(hmacOf(Uint8Array.of(1)), id.subarray(1)), token);
});

Deno.test("a reset is shorter than what it answers, looks like a short header and ends with the token", () => {
  const token = new Uint8Array(16).fill(9);
  for (let received = 0; received <= 1500; received++) {
    const bytes = new Uint8Array(100).fill(0xee);
    const length = writeStatelessReset(bytes, 3, received, token, entropy);
    if (received < 22) {
      assertEquals([length, bytes], [0, new Uint8Array(100).fill(0xee)]);
      continue;
    }
    assert(length >= 21 && length < received && length <= 42);
    assertEquals((bytes[3] ?? 0) >> 6, 1);
    assertEquals(bytes.subarray(3 + length - 16, 3 + length), token);
    assertEquals([bytes[2], bytes[3 + length]], [0xee, 0xee]);
  }
});
