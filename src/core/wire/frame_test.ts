import { assertEquals } from "@std/assert";
import { classifyFrame, encodeRoutedHeader, FIRST_BYTES, FrameKind, ROUTED_ID_AT, routedIdLength } from "./frame.ts";

Deno.test("every first byte has one kind, and what no row names is other", () => {
  for (let first = 0; first < 256; first++) {
    const rows = FIRST_BYTES.filter((row) => row.first <= first && first <= row.last);
    const expected = rows.length === 0 || first === 0x5a ? FrameKind.other : rows[0]?.kind;
    for (const length of [1, 2, 20, 1200]) {
      const bytes = new Uint8Array(length + 3);
      bytes[3] = first;
      assertEquals(classifyFrame(bytes, 3, length), expected, `first byte ${first}`);
    }
    assertEquals(rows.length <= 1, true);
  }
});

Deno.test("a keepalive is one only in its exact form", () => {
  for (let length = 1; length <= 50; length++) {
    for (let second = 0; second < 256; second++) {
      const bytes = Uint8Array.of(0x5a, second, ...new Uint8Array(50));
      const expected = length !== 6
        ? FrameKind.other
        : second === 0x10
        ? FrameKind.keepaliveRequest
        : second === 0x11
        ? FrameKind.keepaliveResponse
        : FrameKind.other;
      assertEquals(classifyFrame(bytes, 0, length), expected);
    }
  }
});

Deno.test("a ROUTED frame needs an id and a packet, and its length is believed only inside the frame", () => {
  const bytes = new Uint8Array(600).fill(0x61);
  bytes[5] = 0x2f;
  for (let idLength = 0; idLength < 256; idLength++) {
    bytes[6] = idLength;
    for (const length of [0, 1, 2, 3, idLength + 1, idLength + 2, idLength + 3, 590]) {
      const expected = idLength > 0 && length > ROUTED_ID_AT + idLength ? idLength : 0;
      assertEquals(routedIdLength(bytes, 5, length), expected, `id ${idLength} in ${length}`);
    }
  }
  bytes[5] = 0x2e;
  assertEquals(routedIdLength(bytes, 5, 590), 0);
});

Deno.test("a ROUTED header is put before a packet without touching it", () => {
  const bytes = new Uint8Array(12).fill(0xee);
  const id = new TextEncoder().encode("svc1");
  const length = encodeRoutedHeader(bytes, 2, id);
  assertEquals(length, 6);
  assertEquals([...bytes], [0xee, 0xee, 0x2f, 4, 0x73, 0x76, 0x63, 0x31, 0xee, 0xee, 0xee, 0xee]);
  assertEquals(routedIdLength(bytes, 2, 10), 4);
});
