/** Packets of a direct connection in parts: what goes in comes out, in whatever order, and nothing else does. */
import { assertEquals } from "@std/assert";
import {
  DETOUR_HEADER_BYTES,
  DETOUR_PACKET_MAX_BYTES,
  DETOUR_PARTS_MAX,
  DetourAssembly,
  detourPartBytes,
  encodeDetourHeader,
} from "./detour.ts";

/** The parts of a packet, as they travel. */
function partsOf(packet: Uint8Array, count: number, sequence = 7): Uint8Array[] {
  const partBytes = detourPartBytes(packet.length, count);
  return Array.from({ length: count }, (_, index) => {
    const payload = packet.subarray(index * partBytes, (index + 1) * partBytes);
    const part = new Uint8Array(DETOUR_HEADER_BYTES + payload.length);
    encodeDetourHeader(new DataView(part.buffer), 0, sequence, index, count, packet.length);
    part.set(payload, DETOUR_HEADER_BYTES);
    return part;
  });
}

function packetOf(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => i * 31 + (i >> 8));
}

Deno.test("a packet comes whole out of its parts, in whatever order they come", () => {
  const assembly = new DetourAssembly();
  for (const [length, count] of [[1, 1], [1_200, 1], [1_452, 2], [8_952, DETOUR_PARTS_MAX], [1_201, 3]] as const) {
    const packet = packetOf(length);
    for (const parts of [partsOf(packet, count), partsOf(packet, count).reverse()]) {
      const results = parts.map((part) => assembly.take(part, 0, part.length));
      assertEquals(results, [...new Array<number>(count - 1).fill(0), length]);
      assertEquals(assembly.bytes.slice(0, length), packet);
    }
  }
});

Deno.test("of two packets whose parts are mixed only whole ones come out, and a part that comes twice counts once", () => {
  const assembly = new DetourAssembly();
  const [a0, a1] = partsOf(packetOf(2_000), 2, 1), [b0, b1] = partsOf(packetOf(2_100), 2, 2);
  const take = (part: Uint8Array = new Uint8Array()) => assembly.take(part, 0, part.length);
  assertEquals([take(a0), take(b0), take(a1)], [0, 0, 0]);
  assertEquals([take(a1), take(a0), take(a0)], [0, 2_000, 0]);
  assertEquals([take(b1), take(b0)], [0, 2_100]);
});

Deno.test("what is no part is refused: cut short, too long, of too many parts, or of none", () => {
  const assembly = new DetourAssembly();
  const [part] = partsOf(packetOf(1_452), 2) as [Uint8Array];
  const changed = (at: number, byte: number) => {
    const copy = part.slice();
    copy[at] = byte;
    return copy;
  };
  const wrong = [
    new Uint8Array(0),
    part.subarray(0, DETOUR_HEADER_BYTES),
    part.subarray(0, part.length - 1),
    Uint8Array.of(...part, 0),
    // Its index beyond its count, more parts than there may be, and another length of the whole.
    changed(1, 0x21),
    changed(1, DETOUR_PARTS_MAX),
    changed(2, (DETOUR_PACKET_MAX_BYTES >> 8) + 1),
    changed(3, 0),
  ];
  assertEquals(wrong.map((bytes) => assembly.take(bytes, 0, bytes.length)), wrong.map(() => -1));
});
