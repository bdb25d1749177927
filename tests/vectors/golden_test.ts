/**
 * Golden vectors: the bytes of docs/WIRE.md 11, each with what it means or why it is refused. What is taken is also written
 * again, byte for byte.
 */

import { assert, assertEquals } from "@std/assert";
import { fromHex, toHex } from "../../src/base/mod.ts";
import { classifyFrame, FrameKind } from "../../src/core/wire/mod.ts";
import { CODECS } from "./codecs.ts";
import datagrams from "./datagram.json" with { type: "json" };
import packets from "./ip.json" with { type: "json" };
import kinds from "./kinds.json" with { type: "json" };
import signals from "./signal.json" with { type: "json" };
import streams from "./stream.json" with { type: "json" };

interface Vector {
  readonly name: string;
  readonly wire: string;
  readonly codec: string;
  readonly hex: string;
  readonly value?: unknown;
  readonly malformed?: string;
  readonly need?: number;
  /** A form that is understood and never written. */
  readonly decodeOnly?: boolean;
}

const VECTORS = [...datagrams.vectors, ...streams.vectors, ...signals.vectors] as readonly Vector[];

/** A value as the JSON files have it: a bigint is decimal text. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_key, item) => typeof item === "bigint" ? item.toString() : item));
}

for (const vector of VECTORS) {
  Deno.test(`vector, WIRE ${vector.wire}: ${vector.name}`, () => {
    const codec = CODECS.find((candidate) => candidate.name === vector.codec);
    const bytes = fromHex(vector.hex);
    assert(codec !== undefined && bytes !== null);
    const decoded = codec.decode(bytes, 0, bytes.length);
    if (vector.malformed !== undefined) return assertEquals(decoded, { malformed: vector.malformed });
    if (vector.need !== undefined) return assertEquals(decoded, { need: vector.need });
    assert("value" in decoded, JSON.stringify(plain(decoded)));
    assertEquals(plain(decoded.value), vector.value);
    if (vector.decodeOnly === true) return;
    const written = new Uint8Array(codec.maxBytes + 1100);
    assertEquals(toHex(written.subarray(0, codec.encode(written, 0, decoded.value))), vector.hex);
  });
}

for (const { name, hex, frame } of kinds.vectors) {
  Deno.test(`kind of datagram: ${name}`, () => {
    const bytes = fromHex(hex) ?? new Uint8Array();
    assertEquals(classifyFrame(bytes, 0, bytes.length), FrameKind[frame as keyof typeof FrameKind]);
  });
}

for (const { name, hex } of packets.vectors) {
  Deno.test(`IP packet: ${name}`, () => {
    const bytes = fromHex(hex) ?? new Uint8Array();
    assertEquals(classifyFrame(bytes, 0, bytes.length), FrameKind.ipv4);
    assertEquals((bytes[2] ?? 0) << 8 | (bytes[3] ?? 0), bytes.length);
    let sum = 0;
    for (let at = 0; at < 20; at += 2) sum += (bytes[at] ?? 0) << 8 | (bytes[at + 1] ?? 0);
    assertEquals((sum & 0xffff) + (sum >> 16), 0xffff);
  });
}
