import { assert, assertEquals } from "@std/assert";
import { fromHex } from "../../base/mod.ts";
import { classifyP2pPacket, decodeBinding, encodeKeepalive, keepaliveSequence, P2pPacket } from "./control.ts";

Deno.test("over all first bytes and lengths 0 to 60 only exact control packets are taken from QUIC", () => {
  for (let first = 0; first < 256; first++) {
    for (let length = 0; length <= 60; length++) {
      for (const second of [0x00, 0x01, 0x02, 0x10, 0x11, 0x12, 0x3f, 0x40, 0xff]) {
        const bytes = new Uint8Array(70);
        bytes[4] = first;
        bytes[5] = second;
        const packet = classifyP2pPacket(bytes, 4, length);
        const isKeepalive = first === 0x5a && length === 6 && (second === 0x10 || second === 0x11);
        const isBinding = first === 0x5a && (second === 0 && length === 26 || second === 1 && [19, 29, 41].includes(length));
        assertEquals(packet !== P2pPacket.quic, isKeepalive || isBinding, `${first} ${second} in ${length}`);
      }
    }
  }
});

Deno.test("short QUIC packets that begin with 5A, a stateless reset among them, are not swallowed", () => {
  // RFC 9000 §10.3: a stateless reset is at least 21 bytes and looks like any short-header packet.
  for (let length = 1; length <= 50; length++) {
    const bytes = new Uint8Array(length).fill(0x3c);
    bytes[0] = 0x5a;
    assertEquals(classifyP2pPacket(bytes, 0, length), P2pPacket.quic);
  }
});

Deno.test("a packet of a binding message's length with another index is QUIC's", () => {
  for (const at of [2, 3, 4]) {
    const bytes = fromHex("5a000000000102030405060708090a0b0c887766554433221100") ?? new Uint8Array();
    bytes[at] = 1;
    assertEquals(classifyP2pPacket(bytes, 0, bytes.length), P2pPacket.quic);
  }
});

Deno.test("everything that is classified as a binding message has the length that its decoder wants", () => {
  const request = fromHex("5a000000000102030405060708090a0b0c887766554433221100") ?? new Uint8Array();
  assertEquals(classifyP2pPacket(request, 0, request.length), P2pPacket.binding);
  assertEquals(decodeBinding(request, 0, request.length).kind, "binding-request");
  const failed = fromHex("5a010000000102030405060708090a0b0c0000") ?? new Uint8Array();
  assertEquals(classifyP2pPacket(failed, 0, failed.length), P2pPacket.binding);
});

Deno.test("keepalive numbers are unsigned", () => {
  const bytes = new Uint8Array(8);
  for (const sequence of [0, 1, 0x7fffffff, 0x80000000, 0xffffffff]) {
    assertEquals(encodeKeepalive(bytes, 1, "response", sequence), 6);
    assertEquals(keepaliveSequence(bytes, 1), sequence);
    assert(classifyP2pPacket(bytes, 1, 6) === P2pPacket.keepaliveResponse);
  }
});
