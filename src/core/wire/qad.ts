/**
 * QAD, the report of the address under which the server sees a client, WIRE 3.6. The server sends it when a connection is
 * established and whenever the source address changes; the client uses it as its server-reflexive candidate.
 */

import { assert, formatIp, isV4Mapped, type SocketAddress } from "../../base/mod.ts";
import { type Malformed, malformed } from "./malformed.ts";

// QAD4: kind u8 | ip[4] | port u16 BE          QAD6: kind u8 | ip[16] | port u16 BE
const QAD4_FIRST_BYTE = 0x01;
const QAD6_FIRST_BYTE = 0x02;
const IP_AT = 1;
export const QAD4_LENGTH = 7;
export const QAD6_LENGTH = 19;

export type Qad = { readonly kind: "qad"; readonly address: SocketAddress } | Malformed;

/** A QAD4 or QAD6 frame. Unspecified addresses, port 0 and v4-mapped IPv6 are malformed: no correct server writes them. */
export function decodeQad(bytes: Uint8Array, offset: number, length: number): Qad {
  const first = length > 0 ? bytes[offset] : undefined;
  if (first !== QAD4_FIRST_BYTE && first !== QAD6_FIRST_BYTE) return malformed(length === 0 ? "truncated" : "first-byte");
  const ipLength = first === QAD4_FIRST_BYTE ? 4 : 16;
  const portAt = offset + IP_AT + ipLength;
  if (length !== IP_AT + ipLength + 2) return malformed(length < IP_AT + ipLength + 2 ? "truncated" : "trailing");
  if (ipLength === 16 && isV4Mapped(bytes, offset + IP_AT)) return malformed("not-canonical");
  const port = (bytes[portAt] ?? 0) << 8 | (bytes[portAt + 1] ?? 0);
  if (port === 0 || isUnspecified(bytes, offset + IP_AT, ipLength)) return malformed("address");
  return { kind: "qad", address: { ip: formatIp(bytes, offset + IP_AT, ipLength), port } };
}

/**
 * Writes a QAD for the address of 4 or 16 bytes at `ipOffset` of `source` and returns its length: 7, or 19 for IPv6. A
 * v4-mapped IPv6 address is reported as IPv4. Returns 0 and writes nothing for an address that names nobody.
 */
export function encodeQad(
  bytes: Uint8Array,
  offset: number,
  source: Uint8Array,
  ipOffset: number,
  ipLength: 4 | 16,
  port: number,
): number {
  const isV4 = ipLength === 4 || isV4Mapped(source, ipOffset);
  const from = ipLength === 16 && isV4 ? ipOffset + 12 : ipOffset;
  const size = isV4 ? 4 : 16;
  if (port < 1 || port > 65535 || isUnspecified(source, from, size)) return 0;
  assert(offset + IP_AT + size + 2 <= bytes.length, "room for a QAD");
  bytes[offset] = isV4 ? QAD4_FIRST_BYTE : QAD6_FIRST_BYTE;
  for (let i = 0; i < size; i++) bytes[offset + IP_AT + i] = source[from + i] ?? 0;
  bytes[offset + IP_AT + size] = port >> 8;
  bytes[offset + IP_AT + size + 1] = port & 255;
  return IP_AT + size + 2;
}

function isUnspecified(bytes: Uint8Array, offset: number, length: number): boolean {
  for (let i = 0; i < length; i++) {
    if (bytes[offset + i] !== 0) return false;
  }
  return true;
}
