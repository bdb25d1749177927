/** Inner packets as agents and connectors send them, and what is read of those that come. */
import { assert } from "@std/assert";
import {
  decodeIcmp,
  decodeIp,
  decodeUdp,
  encodeRoutedHeader,
  encodeUdp,
  endText,
  IcmpHeader,
  IpHeader,
  packetMemory,
  packetMemoryOf,
  parseEnds,
  ROUTED_ID_AT,
  UdpHeader,
  udpHeadroomBytes,
} from "../../src/core/wire/mod.ts";

/** `address:port` on both sides. */
export interface PacketEnds {
  readonly from: readonly [address: string, port: number];
  readonly to: readonly [address: string, port: number];
}

/** A UDP packet with this payload. */
export function udpPacket({ from, to }: PacketEnds, payload: string | Uint8Array): Uint8Array {
  const bytes = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
  const ends = parseEnds(from[0], to[0]);
  assert(ends !== null, "two addresses of one family");
  const headroom = udpHeadroomBytes(ends.isIpv4);
  const memory = packetMemory(headroom + bytes.length);
  memory.bytes.set(bytes, headroom);
  return memory.bytes.slice(0, encodeUdp(memory, 0, ends, from[1], to[1], bytes.length));
}

/** What of a UDP packet matters to a test. Checksums must hold. */
export function readUdp(packet: Uint8Array): PacketEnds & { readonly text: string; readonly bytes: number } {
  const memory = packetMemoryOf(packet.slice());
  const ip = new IpHeader(), udp = new UdpHeader();
  const verdicts = [decodeIp(memory, 0, packet.length, ip), decodeUdp(memory, ip, udp)];
  assert(verdicts.every((verdict) => verdict === "ok"), `a whole UDP packet: ${verdicts}`);
  const text = new TextDecoder().decode(memory.bytes.subarray(udp.payloadOffset, udp.payloadOffset + udp.payloadBytes));
  const ends: PacketEnds = { from: [endText(ip, "source"), udp.sourcePort], to: [endText(ip, "destination"), udp.destinationPort] };
  return { ...ends, text, bytes: udp.payloadBytes };
}

/** An ICMP "too big": who says it to whom, the size that passes, and the packet that it is about as far as it is quoted. */
export function readTooBig(packet: Uint8Array) {
  const memory = packetMemoryOf(packet.slice());
  const ip = new IpHeader(), icmp = new IcmpHeader();
  const verdicts = [decodeIp(memory, 0, packet.length, ip), decodeIcmp(memory, ip, icmp)];
  assert(verdicts.every((verdict) => verdict === "ok"), `a whole ICMP packet: ${verdicts}`);
  const quote = memory.bytes.slice(icmp.bodyOffset, icmp.bodyOffset + icmp.bodyBytes);
  return { kind: icmp.kind, from: endText(ip, "source"), to: endText(ip, "destination"), mtu: icmp.mtuBytes, quote };
}

/** The packet as ROUTED for the service. */
export function routed(service: string, packet: Uint8Array): Uint8Array {
  const id = new TextEncoder().encode(service);
  const bytes = new Uint8Array(ROUTED_ID_AT + id.length + packet.length);
  bytes.set(packet, encodeRoutedHeader(bytes, 0, id));
  return bytes;
}

/** The service and the packet of a ROUTED datagram. */
export function unrouted(datagram: Uint8Array): { readonly service: string; readonly packet: Uint8Array } {
  assert(datagram[0] === 0x2f, "a ROUTED datagram");
  const end = ROUTED_ID_AT + (datagram[1] ?? 0);
  return { service: new TextDecoder().decode(datagram.subarray(ROUTED_ID_AT, end)), packet: datagram.slice(end) };
}
