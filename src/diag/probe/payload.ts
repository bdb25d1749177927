/** What a probe sends: patterns of a size, as they are or in a UDP packet between two inner addresses. */
import { assert, type SocketAddress } from "../../base/mod.ts";
import {
  decodeIp,
  decodeUdp,
  encodeUdp,
  IpHeader,
  packetMemory,
  parseEnds,
  UdpHeader,
  udpHeadroomBytes,
} from "../../core/wire/mod.ts";

export const PAYLOAD_PATTERNS = ["zeros", "ones", "sequential", "random"] as const;
export type PayloadPattern = typeof PAYLOAD_PATTERNS[number];

/** A number of bytes, or what the connection carries at most, one less, or one more than that. */
export type PayloadSize = number | "max" | "max-1" | "max+1";

/** The IPv4 and UDP headers of a packet. */
export const UDP_PACKET_OVERHEAD_BYTES = udpHeadroomBytes(true);

export function sizeInBytes(size: PayloadSize, maxBytes: number): number {
  if (typeof size === "number") return size;
  return maxBytes + (size === "max" ? 0 : size === "max-1" ? -1 : 1);
}

export function patternOf(pattern: PayloadPattern, bytes: number, entropy: (bytes: Uint8Array) => void): Uint8Array {
  const payload = new Uint8Array(bytes);
  if (pattern === "ones") payload.fill(0xff);
  if (pattern === "sequential") payload.forEach((_, i) => payload[i] = i);
  if (pattern === "random") { for (let at = 0; at < bytes; at += 65_536) entropy(payload.subarray(at, at + 65_536)); }
  return payload;
}

/** The payload in a UDP packet. Both addresses are IPv4. */
export function udpPacketOf(payload: Uint8Array, from: SocketAddress, to: SocketAddress): Uint8Array {
  const ends = parseEnds(from.ip, to.ip);
  assert(ends !== null, "two addresses of one version");
  const memory = packetMemory(UDP_PACKET_OVERHEAD_BYTES + payload.length);
  memory.bytes.set(payload, UDP_PACKET_OVERHEAD_BYTES);
  const length = encodeUdp(memory, 0, ends, from.port, to.port, payload.length);
  return memory.bytes.subarray(0, length);
}

/** The payload of a UDP packet; null when it is none. */
export function udpPayloadOf(packet: Uint8Array): Uint8Array | null {
  const memory = packetMemory(Math.max(64, packet.length));
  memory.bytes.set(packet);
  const ip = new IpHeader(), udp = new UdpHeader();
  if (decodeIp(memory, 0, packet.length, ip) !== "ok" || decodeUdp(memory, ip, udp) !== "ok") return null;
  return memory.bytes.slice(udp.payloadOffset, udp.payloadOffset + udp.payloadBytes);
}
