/**
 * What one QUIC DATAGRAM is, told by its first byte. The relay asks {@linkcode classifyFrame} once per packet and forwards
 * raw and routed ones by offset, without copies, allocation or exceptions. The rare kinds have decoders of their own:
 * `registration.ts`, `qad.ts`, `control.ts`. Whether the sender may send that kind is decided elsewhere (WIRE 3.2).
 */

import { assert } from "../../base/mod.ts";

/** Small numbers, so that a kind costs nothing on the packet path. */
export const FrameKind = {
  /** No bytes at all: ignored. */
  empty: 0,
  qad4: 1,
  qad6: 2,
  registerAgent: 3,
  registerConnector: 4,
  ack: 5,
  nack: 6,
  routed: 7,
  ipv4: 8,
  ipv6: 9,
  keepaliveRequest: 10,
  keepaliveResponse: 11,
  /** Everything else: relayed like a raw packet, never interpreted. */
  other: 12,
  withdraw: 13,
} as const;
export type FrameKind = typeof FrameKind[keyof typeof FrameKind];

/** The one table of first bytes, WIRE 3.1. Bytes that no row names are `other`. */
export const FIRST_BYTES: readonly {
  readonly first: number;
  readonly last: number;
  readonly kind: FrameKind;
  readonly name: string;
}[] = [
  { first: 0x01, last: 0x01, kind: FrameKind.qad4, name: "QAD4" },
  { first: 0x02, last: 0x02, kind: FrameKind.qad6, name: "QAD6" },
  { first: 0x10, last: 0x10, kind: FrameKind.registerAgent, name: "REGISTER-AGENT" },
  { first: 0x11, last: 0x11, kind: FrameKind.registerConnector, name: "REGISTER-CONNECTOR" },
  { first: 0x12, last: 0x12, kind: FrameKind.ack, name: "ACK" },
  { first: 0x13, last: 0x13, kind: FrameKind.nack, name: "NACK" },
  { first: 0x14, last: 0x14, kind: FrameKind.withdraw, name: "WITHDRAW" },
  { first: 0x2f, last: 0x2f, kind: FrameKind.routed, name: "ROUTED" },
  { first: 0x45, last: 0x4f, kind: FrameKind.ipv4, name: "raw IPv4" },
  { first: 0x5a, last: 0x5a, kind: FrameKind.keepaliveRequest, name: "KEEPALIVE" },
  { first: 0x60, last: 0x6f, kind: FrameKind.ipv6, name: "raw IPv6" },
];

const KIND_OF_FIRST_BYTE = new Uint8Array(256).fill(FrameKind.other);
for (const row of FIRST_BYTES) KIND_OF_FIRST_BYTE.fill(row.kind, row.first, row.last + 1);

/** `5A 10|11 seq[4]`, WIRE 6.8. */
export const KEEPALIVE_LENGTH = 6;
export const KEEPALIVE_REQUEST = 0x10;
export const KEEPALIVE_RESPONSE = 0x11;

/**
 * The kind of the DATAGRAM in `length` bytes from `offset`. By the first byte alone, but for the keepalive, which is one only
 * in its exact form. The kind promises nothing about what follows: the kind's decoder checks that.
 */
export function classifyFrame(bytes: Uint8Array, offset: number, length: number): FrameKind {
  if (length === 0) return FrameKind.empty;
  const kind = KIND_OF_FIRST_BYTE[bytes[offset] ?? 0] as FrameKind;
  if (kind !== FrameKind.keepaliveRequest) return kind;
  if (length !== KEEPALIVE_LENGTH) return FrameKind.other;
  const second = bytes[offset + 1];
  return second === KEEPALIVE_REQUEST
    ? FrameKind.keepaliveRequest
    : second === KEEPALIVE_RESPONSE
    ? FrameKind.keepaliveResponse
    : FrameKind.other;
}

// ROUTED, WIRE 3.4: kind u8 | id length u8 | id | packet (the rest)
const ROUTED_FIRST_BYTE = 0x2f;
const ROUTED_ID_LENGTH_AT = 1;
/** Where the id of a ROUTED frame begins, counted from the frame's first byte. */
export const ROUTED_ID_AT = 2;

/**
 * The length in bytes of a ROUTED frame's service id, or 0 when the frame is malformed (empty id, id over the end, no packet
 * behind it). The id stands at `offset + ROUTED_ID_AT`, the packet right behind it and takes the rest of the frame. Whether
 * the id is one of the sender's is for the caller: it compares the bytes, which also settles their grammar.
 */
export function routedIdLength(bytes: Uint8Array, offset: number, length: number): number {
  if (length <= ROUTED_ID_AT || bytes[offset] !== ROUTED_FIRST_BYTE) return 0;
  const idLength = bytes[offset + ROUTED_ID_LENGTH_AT] ?? 0;
  return ROUTED_ID_AT + idLength < length ? idLength : 0;
}

/**
 * Writes what stands before the packet in a ROUTED frame and returns its length, 2 + the id's. `id` is the service id's UTF-8,
 * 1 to 255 bytes.
 */
export function encodeRoutedHeader(bytes: Uint8Array, offset: number, id: Uint8Array): number {
  assert(id.length > 0 && id.length <= 255 && offset + ROUTED_ID_AT + id.length <= bytes.length, "a ROUTED header that fits");
  bytes[offset] = ROUTED_FIRST_BYTE;
  bytes[offset + ROUTED_ID_LENGTH_AT] = id.length;
  for (let i = 0; i < id.length; i++) bytes[offset + ROUTED_ID_AT + i] = id[i] ?? 0;
  return ROUTED_ID_AT + id.length;
}
