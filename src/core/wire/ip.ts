/**
 * IPv4 (RFC 791) and IPv6 (RFC 8200) headers. A decoder fills a header object that the caller keeps, so that a packet costs
 * no allocation, and says in one word what is wrong; nothing is believed of a packet whose lengths or checksum do not hold.
 *
 * Both versions have one form: an address is four 32-bit words (signed, as JavaScript's bit operators give them), an IPv4
 * address a.b.c.d is the words of ::ffff:a.b.c.d. On the wire that IPv6 form is refused, so the two can never be confused.
 * Not here: reassembly (fragments are refused), extension headers (refused), IPv4 options (skipped).
 */
import { formatIp, parseIp } from "../../base/mod.ts";
import { checksumOf, foldSum, type PacketMemory, sumWord32, sumWords } from "./checksum.ts";

export const IPV4_HEADER_BYTES = 20;
export const IPV6_HEADER_BYTES = 40;
export const IpProtocol = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 } as const;

// RFC 791 §3.1
const V4_TRAFFIC_AT = 1, V4_TOTAL_LENGTH_AT = 2, V4_ID_AT = 4, V4_FRAGMENT_AT = 6, V4_TTL_AT = 8, V4_PROTOCOL_AT = 9;
const V4_CHECKSUM_AT = 10, V4_SOURCE_AT = 12, V4_DESTINATION_AT = 16;
// RFC 8200 §3; in front of the length stand version, traffic class and flow label.
const V6_LENGTH_AT = 4, V6_NEXT_AT = 6, V6_HOPS_AT = 7;
const V6_SOURCE_AT = 8, V6_DESTINATION_AT = 24;
const DONT_FRAGMENT = 0x4000;
/** More fragments, or an offset. */
const FRAGMENT_MASK = 0x3fff;
const OFFSET_MASK = 0x1fff;
const V4_MAPPED_WORD = 0xffff;
/** Hop-by-hop, routing, fragment, ESP, AH, none, destination options, mobility, HIP, shim6 (RFC 7045 §4, IANA). */
const EXTENSION_HEADERS: readonly number[] = [0, 43, 44, 50, 51, 59, 60, 135, 139, 140, 253, 254];
const FRAGMENT_HEADER = 44;
export const HOP_LIMIT = 64;

/** What a packet is found to be: "ok", or why not. */
export type IpVerdict =
  | "ok"
  /** Shorter than its header, or than its length field says. */
  | "truncated"
  /** Neither 4 nor 6. */
  | "version"
  /** IHL below 20 bytes, or over the packet. */
  | "header-length"
  /** The datagram carries more bytes than the packet has. */
  | "length-mismatch"
  | "header-checksum"
  | "fragment"
  | "extension-header"
  /** An IPv6 packet with a v4-mapped address. */
  | "mapped-address";

/** The two addresses of a packet, with the version that they are written in. */
export interface IpEnds {
  isIpv4: boolean;
  source0: number;
  source1: number;
  source2: number;
  source3: number;
  destination0: number;
  destination1: number;
  destination2: number;
  destination3: number;
}

/** A decoded header; kept by the caller and filled again for each packet. Offsets count from the memory's start. */
export class IpHeader implements IpEnds {
  isIpv4 = true;
  source0 = 0;
  source1 = 0;
  source2 = 0;
  source3 = 0;
  destination0 = 0;
  destination1 = 0;
  destination2 = 0;
  destination3 = 0;
  /** The protocol (IPv4) or next header (IPv6). */
  protocol = 0;
  hopLimit = 0;
  identification = 0;
  dontFragment = false;
  /** Of a packet with the verdict `fragment`: whether it is the first one, which alone may be answered by ICMP. */
  isFirstFragment = false;
  /** Where the packet begins, and its length by its own length field. */
  offset = 0;
  totalBytes = 0;
  payloadOffset = 0;
  payloadBytes = 0;
}

/** Reads the packet of exactly `length` bytes at `offset`. After another verdict than "ok" or "fragment" `out` is undefined. */
export function decodeIp(memory: PacketMemory, offset: number, length: number, out: IpHeader): IpVerdict {
  if (length < 1) return "truncated";
  const version = memory.view.getUint8(offset) >> 4;
  if (version === 4) return decodeIpv4(memory.view, offset, length, out);
  if (version === 6) return decodeIpv6(memory.view, offset, length, out);
  return "version";
}

function decodeIpv4(view: DataView, offset: number, length: number, out: IpHeader): IpVerdict {
  if (length < IPV4_HEADER_BYTES) return "truncated";
  const headerBytes = (view.getUint8(offset) & 15) * 4;
  if (headerBytes < IPV4_HEADER_BYTES) return "header-length";
  const totalBytes = view.getUint16(offset + V4_TOTAL_LENGTH_AT);
  if (totalBytes < headerBytes) return "header-length";
  if (totalBytes > length) return "truncated";
  if (totalBytes < length) return "length-mismatch";
  if (foldSum(sumWords(view, offset, headerBytes, 0)) !== 0xffff) return "header-checksum";
  const fragment = view.getUint16(offset + V4_FRAGMENT_AT);
  out.isIpv4 = true;
  out.source0 =
    out.source1 =
    out.destination0 =
    out.destination1 =
      0;
  out.source2 = out.destination2 = V4_MAPPED_WORD;
  out.source3 = view.getInt32(offset + V4_SOURCE_AT);
  out.destination3 = view.getInt32(offset + V4_DESTINATION_AT);
  out.protocol = view.getUint8(offset + V4_PROTOCOL_AT);
  out.hopLimit = view.getUint8(offset + V4_TTL_AT);
  out.identification = view.getUint16(offset + V4_ID_AT);
  out.dontFragment = (fragment & DONT_FRAGMENT) !== 0;
  out.isFirstFragment = (fragment & OFFSET_MASK) === 0;
  out.offset = offset;
  out.totalBytes = totalBytes;
  out.payloadOffset = offset + headerBytes;
  out.payloadBytes = totalBytes - headerBytes;
  return (fragment & FRAGMENT_MASK) === 0 ? "ok" : "fragment";
}

function decodeIpv6(view: DataView, offset: number, length: number, out: IpHeader): IpVerdict {
  if (length < IPV6_HEADER_BYTES) return "truncated";
  const totalBytes = IPV6_HEADER_BYTES + view.getUint16(offset + V6_LENGTH_AT);
  if (totalBytes > length) return "truncated";
  if (totalBytes < length) return "length-mismatch";
  const next = view.getUint8(offset + V6_NEXT_AT);
  out.isIpv4 = false;
  out.source0 = view.getInt32(offset + V6_SOURCE_AT);
  out.source1 = view.getInt32(offset + V6_SOURCE_AT + 4);
  out.source2 = view.getInt32(offset + V6_SOURCE_AT + 8);
  out.source3 = view.getInt32(offset + V6_SOURCE_AT + 12);
  out.destination0 = view.getInt32(offset + V6_DESTINATION_AT);
  out.destination1 = view.getInt32(offset + V6_DESTINATION_AT + 4);
  out.destination2 = view.getInt32(offset + V6_DESTINATION_AT + 8);
  out.destination3 = view.getInt32(offset + V6_DESTINATION_AT + 12);
  if (isMapped(out.source0, out.source1, out.source2)) return "mapped-address";
  if (isMapped(out.destination0, out.destination1, out.destination2)) return "mapped-address";
  out.protocol = next;
  out.hopLimit = view.getUint8(offset + V6_HOPS_AT);
  out.identification = 0;
  out.dontFragment = true;
  out.offset = offset;
  out.totalBytes = totalBytes;
  out.payloadOffset = offset + IPV6_HEADER_BYTES;
  out.payloadBytes = totalBytes - IPV6_HEADER_BYTES;
  if (next === FRAGMENT_HEADER) {
    // RFC 8200 §4.5: next header, reserved, offset (13 bits) and flags.
    out.isFirstFragment = out.payloadBytes >= 8 && (view.getUint16(out.payloadOffset + 2) & 0xfff8) === 0;
    return "fragment";
  }
  return EXTENSION_HEADERS.includes(next) ? "extension-header" : "ok";
}

function isMapped(word0: number, word1: number, word2: number): boolean {
  return word0 === 0 && word1 === 0 && word2 === V4_MAPPED_WORD;
}

/** The length of the header that {@linkcode encodeIp} writes. */
export function ipHeaderBytes(isIpv4: boolean): number {
  return isIpv4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
}

/**
 * Writes the header of a packet with `payloadBytes` behind it and returns the packet's length. IPv4: 20 bytes, id 0, DF, with
 * checksum; both with hop limit 64, no flow label.
 */
export function encodeIp(memory: PacketMemory, offset: number, ends: IpEnds, protocol: number, payloadBytes: number): number {
  const view = memory.view;
  if (!ends.isIpv4) return encodeIpv6(view, offset, ends, protocol, payloadBytes);
  const totalBytes = IPV4_HEADER_BYTES + payloadBytes;
  view.setUint8(offset, 0x45);
  view.setUint8(offset + V4_TRAFFIC_AT, 0);
  view.setUint16(offset + V4_TOTAL_LENGTH_AT, totalBytes);
  view.setUint16(offset + V4_ID_AT, 0);
  view.setUint16(offset + V4_FRAGMENT_AT, DONT_FRAGMENT);
  view.setUint8(offset + V4_TTL_AT, HOP_LIMIT);
  view.setUint8(offset + V4_PROTOCOL_AT, protocol);
  view.setUint16(offset + V4_CHECKSUM_AT, 0);
  view.setInt32(offset + V4_SOURCE_AT, ends.source3);
  view.setInt32(offset + V4_DESTINATION_AT, ends.destination3);
  view.setUint16(offset + V4_CHECKSUM_AT, checksumOf(view, offset, IPV4_HEADER_BYTES));
  return totalBytes;
}

function encodeIpv6(view: DataView, offset: number, ends: IpEnds, protocol: number, payloadBytes: number): number {
  view.setInt32(offset, 0x60000000);
  view.setUint16(offset + V6_LENGTH_AT, payloadBytes);
  view.setUint8(offset + V6_NEXT_AT, protocol);
  view.setUint8(offset + V6_HOPS_AT, HOP_LIMIT);
  view.setInt32(offset + V6_SOURCE_AT, ends.source0);
  view.setInt32(offset + V6_SOURCE_AT + 4, ends.source1);
  view.setInt32(offset + V6_SOURCE_AT + 8, ends.source2);
  view.setInt32(offset + V6_SOURCE_AT + 12, ends.source3);
  view.setInt32(offset + V6_DESTINATION_AT, ends.destination0);
  view.setInt32(offset + V6_DESTINATION_AT + 4, ends.destination1);
  view.setInt32(offset + V6_DESTINATION_AT + 8, ends.destination2);
  view.setInt32(offset + V6_DESTINATION_AT + 12, ends.destination3);
  return IPV6_HEADER_BYTES + payloadBytes;
}

/** The sum of the pseudo header (RFC 9293 §3.1, RFC 8200 §8.1) for a payload of `payloadBytes`. */
export function pseudoHeaderSum(ends: IpEnds, protocol: number, payloadBytes: number): number {
  let sum = sumWord32(ends.source3) + sumWord32(ends.destination3) + protocol + payloadBytes;
  if (!ends.isIpv4) {
    sum += sumWord32(ends.source0) + sumWord32(ends.source1) + sumWord32(ends.source2);
    sum += sumWord32(ends.destination0) + sumWord32(ends.destination1) + sumWord32(ends.destination2);
  }
  return sum;
}

/** Reads the ends of the way back from the whole packet at `offset`, of which nothing else is looked at. */
export function readReversedEnds(view: DataView, offset: number, out: IpEnds): void {
  out.isIpv4 = view.getUint8(offset) >> 4 === 4;
  const source = offset + (out.isIpv4 ? V4_SOURCE_AT : V6_SOURCE_AT);
  const destination = offset + (out.isIpv4 ? V4_DESTINATION_AT : V6_DESTINATION_AT);
  out.source0 = out.isIpv4 ? 0 : view.getInt32(destination);
  out.source1 = out.isIpv4 ? 0 : view.getInt32(destination + 4);
  out.source2 = out.isIpv4 ? V4_MAPPED_WORD : view.getInt32(destination + 8);
  out.source3 = view.getInt32(out.isIpv4 ? destination : destination + 12);
  out.destination0 = out.isIpv4 ? 0 : view.getInt32(source);
  out.destination1 = out.isIpv4 ? 0 : view.getInt32(source + 4);
  out.destination2 = out.isIpv4 ? V4_MAPPED_WORD : view.getInt32(source + 8);
  out.destination3 = view.getInt32(out.isIpv4 ? source : source + 12);
}

/** Copies the ends; with `reversed` the way back. `to` may not be `from` then. */
export function copyEnds(from: IpEnds, to: IpEnds, reversed: boolean): void {
  to.isIpv4 = from.isIpv4;
  to.source0 = reversed ? from.destination0 : from.source0;
  to.source1 = reversed ? from.destination1 : from.source1;
  to.source2 = reversed ? from.destination2 : from.source2;
  to.source3 = reversed ? from.destination3 : from.source3;
  to.destination0 = reversed ? from.source0 : from.destination0;
  to.destination1 = reversed ? from.source1 : from.destination1;
  to.destination2 = reversed ? from.source2 : from.destination2;
  to.destination3 = reversed ? from.source3 : from.destination3;
}

/** Whether the source may be answered: neither unspecified, multicast nor broadcast (RFC 1122 §3.2.1.3, RFC 4443 §2.4). */
export function isUnicastSource(ends: IpEnds): boolean {
  if (ends.isIpv4) return (ends.source3 >>> 24) !== 0 && (ends.source3 >>> 24) < 224;
  const isUnspecified = (ends.source0 | ends.source1 | ends.source2 | ends.source3) === 0;
  return (ends.source0 >>> 24) !== 0xff && !isUnspecified;
}

/** The canonical text of the source or the destination, for records and for whoever dials it. */
export function endText(ends: IpEnds, end: "source" | "destination"): string {
  const isSource = end === "source";
  const { bytes, view } = textScratch;
  view.setInt32(0, isSource ? ends.source0 : ends.destination0);
  view.setInt32(4, isSource ? ends.source1 : ends.destination1);
  view.setInt32(8, isSource ? ends.source2 : ends.destination2);
  view.setInt32(12, isSource ? ends.source3 : ends.destination3);
  return ends.isIpv4 ? formatIp(bytes, 12, 4) : formatIp(bytes, 0, 16);
}

const textScratchBytes = new Uint8Array(16);
const textScratch = { bytes: textScratchBytes, view: new DataView(textScratchBytes.buffer) };

/** The ends of a packet between two addresses in text of one version; null when they are not that. */
export function parseEnds(source: string, destination: string): IpEnds | null {
  const from = parseIp(source), to = parseIp(destination);
  if (from === null || to === null || from.length !== to.length) return null;
  const ends = new IpHeader();
  ends.isIpv4 = from.length === 4;
  const fromView = new DataView(from.buffer), toView = new DataView(to.buffer);
  ends.source2 = ends.destination2 = V4_MAPPED_WORD;
  ends.source3 = fromView.getInt32(from.length - 4);
  ends.destination3 = toView.getInt32(to.length - 4);
  if (ends.isIpv4) return ends;
  ends.source0 = fromView.getInt32(0);
  ends.source1 = fromView.getInt32(4);
  ends.source2 = fromView.getInt32(8);
  ends.destination0 = toView.getInt32(0);
  ends.destination1 = toView.getInt32(4);
  ends.destination2 = toView.getInt32(8);
  return ends;
}
