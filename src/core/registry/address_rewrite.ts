/**
 * Replacing one address of an inner packet in place, and every checksum that covers it, without summing the packet again
 * (RFC 1624). In an ICMP error the quoted packet holds the same address on its other side; it is replaced there as well.
 *
 * A *delta* is the sum of `~old + new` over the 16-bit words that changed; deltas of several changes add up.
 */

import { addressOffset, type InnerPacket, Protocol, readUint16 } from "./inner_packet.ts";

const CHECKSUM_AT = { ipv4: 10, tcp: 16, udp: 6, icmp: 2 } as const;
/** From the beginning of an ICMP error to the packet that it quotes (RFC 792, RFC 4443). */
export const ICMP_QUOTE_OFFSET = 8;

/**
 * Writes the address in `words` from `wordAt` as the address of `side` of the packet that begins at `offset` and was read
 * into `packet`. The transport checksum is left alone if it lies beyond `end` (a quoted packet may be cut). Returns the
 * delta of all bytes changed.
 */
export function rewriteAddress(
  bytes: Uint8Array,
  offset: number,
  end: number,
  packet: InnerPacket,
  side: "source" | "destination",
  words: Uint32Array,
  wordAt: number,
): number {
  const { family, protocol, transportAt } = packet;
  const addressDelta = writeAddress(bytes, offset + addressOffset(family, side), family, words, wordAt);
  let delta = addressDelta;
  if (family === 4) delta += patchChecksum(bytes, offset + CHECKSUM_AT.ipv4, addressDelta);
  // ICMP for IPv4 has no pseudo header: its checksum does not cover addresses.
  if (protocol === Protocol.icmp) return delta;
  const field = transportAt +
    (protocol === Protocol.tcp ? CHECKSUM_AT.tcp : protocol === Protocol.udp ? CHECKSUM_AT.udp : CHECKSUM_AT.icmp);
  if (field + 2 > end) return delta;
  if (protocol !== Protocol.udp) return delta + patchChecksum(bytes, field, addressDelta);
  // RFC 768: zero means that there is no checksum, and a sum of zero is sent as all ones.
  if (readUint16(bytes, field) === 0) return delta;
  return delta + patchChecksum(bytes, field, addressDelta, 0xffff);
}

/** The same for an ICMP error: the outer packet's address of `side`, and the address of the other side in what it quotes. */
export function rewriteIcmpError(
  bytes: Uint8Array,
  offset: number,
  end: number,
  packet: InnerPacket,
  quoted: InnerPacket,
  side: "source" | "destination",
  words: Uint32Array,
  wordAt: number,
): void {
  const other = side === "source" ? "destination" : "source";
  const quotedAt = packet.transportAt + ICMP_QUOTE_OFFSET;
  const delta = rewriteAddress(bytes, quotedAt, end, quoted, other, words, wordAt);
  patchChecksum(bytes, packet.transportAt + CHECKSUM_AT.icmp, delta);
  rewriteAddress(bytes, offset, end, packet, side, words, wordAt);
}

function writeAddress(bytes: Uint8Array, at: number, family: number, words: Uint32Array, wordAt: number): number {
  const count = family === 4 ? 1 : 4;
  let delta = 0;
  for (let i = 0; i < count; i++) {
    const word = words[wordAt + i] ?? 0;
    delta += writeUint16(bytes, at + 4 * i, word >>> 16);
    delta += writeUint16(bytes, at + 4 * i + 2, word & 0xffff);
  }
  return delta;
}

/** RFC 1624 eqn. 3: HC' = ~(~HC + ~m + m'). Returns the delta of the checksum field itself. */
function patchChecksum(bytes: Uint8Array, at: number, delta: number, forZero = 0): number {
  let sum = (~readUint16(bytes, at) & 0xffff) + delta;
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = (sum & 0xffff) + (sum >>> 16);
  const checksum = ~sum & 0xffff;
  return writeUint16(bytes, at, checksum === 0 ? forZero : checksum);
}

/** Writes and returns `~old + new`. */
function writeUint16(bytes: Uint8Array, at: number, value: number): number {
  const old = readUint16(bytes, at);
  bytes[at] = value >>> 8;
  bytes[at + 1] = value & 0xff;
  return (~old & 0xffff) + value;
}
