import { assertEquals } from "@std/assert";
import { bytesEqual, bytesEqualAt, compareBytes, concatBytes, constantTimeEqual, fromHex, toHex, writeUtf8 } from "./bytes.ts";

Deno.test("hexadecimal goes both ways and refuses what is not hexadecimal", () => {
  assertEquals(toHex(Uint8Array.of(0, 0x0f, 0xf0, 0xff)), "000ff0ff");
  assertEquals(fromHex("000FF0ff"), Uint8Array.of(0, 0x0f, 0xf0, 0xff));
  assertEquals(fromHex(""), new Uint8Array());
  for (const bad of ["0", "0g", "0x00", " 00", "00\n", "é0"]) assertEquals(fromHex(bad), null, bad);
});

Deno.test("equality sees length, content and ranges that leave their array", () => {
  const bytes = Uint8Array.of(1, 2, 3, 4);
  for (const equal of [bytesEqual, constantTimeEqual]) {
    assertEquals(equal(bytes, Uint8Array.of(1, 2, 3, 4)), true);
    assertEquals(equal(bytes, Uint8Array.of(1, 2, 3, 5)), false);
    assertEquals(equal(bytes, Uint8Array.of(1, 2, 3)), false);
    assertEquals(equal(new Uint8Array(), new Uint8Array()), true);
  }
  assertEquals(bytesEqualAt(bytes, 1, Uint8Array.of(9, 2, 3), 1, 2), true);
  assertEquals(bytesEqualAt(bytes, 3, Uint8Array.of(4), 0, 2), false);
  assertEquals(bytesEqualAt(bytes, 0, Uint8Array.of(1), 0, 2), false);
});

Deno.test("the order of bytes is lexical and unsigned", () => {
  const sorted = [
    Uint8Array.of(),
    Uint8Array.of(1),
    Uint8Array.of(1, 0),
    Uint8Array.of(2),
    Uint8Array.of(0x80),
    Uint8Array.of(0xff),
  ];
  for (const [i, a] of sorted.entries()) {
    for (const [j, b] of sorted.entries()) assertEquals(Math.sign(compareBytes(a, b)), Math.sign(i - j));
  }
});

Deno.test("parts are joined in order", () => {
  assertEquals(concatBytes(Uint8Array.of(1), new Uint8Array(), Uint8Array.of(2, 3)), Uint8Array.of(1, 2, 3));
  assertEquals(concatBytes(), new Uint8Array());
});

Deno.test("text is written only when all of it fits", () => {
  const bytes = new Uint8Array(6);
  assertEquals(writeUtf8("né", bytes, 1, 3), 3);
  assertEquals(toHex(bytes), "006ec3a90000");
  assertEquals(writeUtf8("né", bytes, 1, 2), -1);
  assertEquals(writeUtf8("né", bytes, 4, 3), -1);
  assertEquals(writeUtf8("", bytes, 6, 3), 0);
});

Deno.test("text of Latin letters is written alike however often", () => {
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 200_000; i++) {
    if (writeUtf8("gr\u00fc\u00df", bytes, 0, 6) !== 6) throw new Error(`refused at call ${i}`);
  }
});
