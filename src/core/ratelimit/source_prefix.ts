/**
 * Whom a source address stands for when it is counted: one IPv4 address, or the /64 of an IPv6 one, since whoever has a
 * network there has all its addresses.
 */

import { isV4Mapped } from "../../base/mod.ts";

const V4_MAPPED_AT = 12;

/** The key of a source of four or sixteen bytes from `offset`. An IPv4 address mapped into IPv6 has the key of the former. */
export function sourcePrefixKey(bytes: Uint8Array, offset: number, length: 4 | 16): string {
  if (length === 4) return keyOf(bytes, offset, 4);
  return isV4Mapped(bytes, offset) ? keyOf(bytes, offset + V4_MAPPED_AT, 4) : keyOf(bytes, offset, 8);
}

function keyOf(bytes: Uint8Array, offset: number, length: number): string {
  let key = "";
  for (let i = 0; i < length; i++) key += String.fromCharCode(bytes[offset + i] ?? 0);
  return key;
}
