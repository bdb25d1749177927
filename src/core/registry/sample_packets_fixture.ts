/** Inner packets for this folder's tests, with every checksum computed the long way, and a check of all checksums. */

import { assertEquals } from "@std/assert";

export interface Sample {
  readonly family?: 4 | 6;
  readonly protocol: "tcp" | "udp" | "icmp";
  /** Last bytes of the addresses: 100.64.0.x or fd00::x. */
  readonly source: number;
  readonly destination: number;
  /** For ICMP the echo id is `sourcePort`. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly payload?: Uint8Array;
  /** Of TCP; by default SYN, and SYN with ACK in a reply. */
  readonly flags?: number;
  /** The UDP checksum is left out (IPv4 only). */
  readonly noChecksum?: boolean;
  /** An echo reply rather than a request. */
  readonly isReply?: boolean;
}

/** The packet that answers `sample`. */
export function answerTo(sample: Sample): Sample {
  const { source, destination, sourcePort, destinationPort, protocol } = sample;
  const ports = protocol === "icmp" ? {} : { sourcePort: destinationPort, destinationPort: sourcePort };
  return { ...sample, source: destination, destination: source, ...ports, isReply: !sample.isReply };
}

export function buildPacket(sample: Sample): Uint8Array<ArrayBuffer> {
  const family = sample.family ?? 4;
  const payload = sample.payload ?? new Uint8Array([1, 2, 3]);
  const protocol = sample.protocol === "tcp" ? 6 : sample.protocol === "udp" ? 17 : family === 4 ? 1 : 58;
  const transport = new Uint8Array((sample.protocol === "tcp" ? 20 : 8) + payload.length);
  transport.set(payload, transport.length - payload.length);
  const view = new DataView(transport.buffer);
  if (sample.protocol === "icmp") {
    transport[0] = family === 4 ? (sample.isReply ? 0 : 8) : (sample.isReply ? 129 : 128);
    view.setUint16(4, sample.sourcePort);
  } else {
    view.setUint16(0, sample.sourcePort);
    view.setUint16(2, sample.destinationPort);
    if (sample.protocol === "tcp") transport.set([0x50, sample.flags ?? (sample.isReply ? 0x12 : 0x02)], 12);
    else view.setUint16(4, transport.length);
  }
  return wrap(family, protocol, address(family, sample.source), address(family, sample.destination), transport, sample.noChecksum);
}

/** An ICMP error (port unreachable) from `source` about `quoted`, sent to who sent that. `quotedBytes` cuts it. */
export function buildError(
  quoted: Uint8Array,
  quotedBytes = quoted.length,
  source = addressesOf(quoted).destination,
): Uint8Array<ArrayBuffer> {
  const family = quoted[0] === 0x45 ? 4 : 6;
  const transport = new Uint8Array(8 + quotedBytes);
  transport.set([family === 4 ? 3 : 1, family === 4 ? 3 : 4]);
  transport.set(quoted.subarray(0, quotedBytes), 8);
  return wrap(family, family === 4 ? 1 : 58, source, addressesOf(quoted).source, transport);
}

export function addressesOf(packet: Uint8Array): { source: Uint8Array; destination: Uint8Array } {
  return packet[0] === 0x45
    ? { source: packet.slice(12, 16), destination: packet.slice(16, 20) }
    : { source: packet.slice(8, 24), destination: packet.slice(24, 40) };
}

/** Asserts that every checksum in the packet is right: the headers', and those of what an ICMP error quotes in full. */
export function assertChecksums(packet: Uint8Array): void {
  const family = packet[0] === 0x45 ? 4 : 6;
  const at = family === 4 ? 20 : 40;
  if (family === 4) assertEquals(sum(packet.subarray(0, 20)), 0xffff, "IPv4 header");
  const protocol = packet[family === 4 ? 9 : 6];
  const transport = packet.subarray(at);
  if (protocol === 17 && transport[6] === 0 && transport[7] === 0) return;
  const { source, destination } = addressesOf(packet);
  const pseudo = protocol === 1 ? new Uint8Array() : pseudoHeader(source, destination, protocol ?? 0, transport.length);
  assertEquals(sum(pseudo) + sum(transport) > 0 ? fold(sum(pseudo) + sum(transport)) : 0, 0xffff, "transport");
  const type = transport[0] ?? 0;
  const isError = protocol === 1 ? type === 3 || type === 11 : protocol === 58 && type < 128;
  if (!isError) return;
  const quoted = transport.subarray(8);
  const length = family === 4 ? (quoted[2] ?? 0) * 256 + (quoted[3] ?? 0) : 40 + (quoted[4] ?? 0) * 256 + (quoted[5] ?? 0);
  if (length === quoted.length) assertChecksums(quoted);
  else if (family === 4) assertEquals(sum(quoted.subarray(0, 20)), 0xffff, "quoted IPv4 header");
}

function wrap(
  family: 4 | 6,
  protocol: number,
  source: Uint8Array,
  destination: Uint8Array,
  transport: Uint8Array,
  noChecksum = false,
): Uint8Array<ArrayBuffer> {
  const at = family === 4 ? 20 : 40;
  const packet = new Uint8Array(at + transport.length);
  const view = new DataView(packet.buffer);
  packet[0] = family === 4 ? 0x45 : 0x60;
  view.setUint16(family === 4 ? 2 : 4, family === 4 ? packet.length : transport.length);
  packet[family === 4 ? 9 : 6] = protocol;
  packet[family === 4 ? 8 : 7] = 64;
  packet.set(source, family === 4 ? 12 : 8);
  packet.set(destination, family === 4 ? 16 : 24);
  packet.set(transport, at);
  if (family === 4) view.setUint16(10, 0xffff ^ sum(packet.subarray(0, 20)));
  if (noChecksum) return packet;
  const pseudo = protocol === 1 ? new Uint8Array() : pseudoHeader(source, destination, protocol, transport.length);
  const checksum = 0xffff ^ fold(sum(pseudo) + sum(transport));
  view.setUint16(at + (protocol === 6 ? 16 : protocol === 17 ? 6 : 2), protocol === 17 && checksum === 0 ? 0xffff : checksum);
  return packet;
}

function address(family: 4 | 6, last: number): Uint8Array {
  if (family === 4) return Uint8Array.of(100, 64, last >> 8, last & 255);
  const bytes = new Uint8Array(16);
  bytes.set([0xfd, 0]);
  bytes.set([last >> 8, last & 255], 14);
  return bytes;
}

function pseudoHeader(source: Uint8Array, destination: Uint8Array, protocol: number, length: number): Uint8Array {
  return Uint8Array.of(...source, ...destination, length >> 8, length & 255, 0, protocol);
}

function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let i = 0; i < bytes.length; i += 2) total += (bytes[i] ?? 0) * 256 + (bytes[i + 1] ?? 0);
  return fold(total);
}

function fold(total: number): number {
  while (total > 0xffff) total = (total & 0xffff) + Math.floor(total / 0x10000);
  return total;
}
