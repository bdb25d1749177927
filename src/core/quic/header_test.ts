import { assertEquals } from "@std/assert";
import { emptyLongHeader, firstPacketBytes } from "./header.ts";

/** An Initial (0), 0-RTT (1) or Handshake (2) packet with IDs of 8 and 4 bytes, and what stands in its length field. */
function longPacket(type: number, length: readonly number[], content: number, token: readonly number[] = []): number[] {
  const head = [0xc0 | type << 4, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 4, 9, 9, 9, 9];
  return [...head, ...(type === 0 ? [token.length, ...token] : []), ...length, ...Array<number>(content).fill(7)];
}

function firstOf(bytes: readonly number[], offset = 0): number {
  const memory = new Uint8Array(offset + bytes.length);
  memory.set(bytes, offset);
  return firstPacketBytes(new DataView(memory.buffer), offset, bytes.length, emptyLongHeader());
}

Deno.test("the first packet of a payload ends where its length says", () => {
  const behind = [0x40, 1, 2, 3];
  for (const [type, token] of [[0, []], [0, [1, 2, 3]], [1, []], [2, []]] as const) {
    for (const length of [[30], [0x40, 30], [0x80, 0, 0, 30]]) {
      const packet = longPacket(type, length, 30, token);
      assertEquals(firstOf([...packet, ...behind], 5), packet.length);
      assertEquals(firstOf(packet), packet.length);
    }
  }
});

Deno.test("where no length is to be believed, all of the payload is one packet", () => {
  const short = [0x40, ...Array<number>(40).fill(1)];
  const retry = longPacket(3, [], 40);
  const other = longPacket(2, [10], 40).with(4, 9);
  const cut = longPacket(2, [0x40], 0);
  const overlong = longPacket(2, [0x40, 41], 40);
  const huge = longPacket(2, [0xc0, 0, 0, 0, 0, 0, 0, 10], 40);
  for (const payload of [short, retry, other, cut, overlong, huge, [0xc0], [0x80, 0, 0, 0, 1]]) {
    assertEquals(firstOf(payload), payload.length);
  }
  assertEquals(firstOf(longPacket(2, [0], 40)), 20, "an empty one still has its header");
});
