/**
 * ICMPv4 (RFC 792) and ICMPv6 (RFC 4443), as much as an end of TCP and UDP needs: echo, destination unreachable, and "too
 * big" (type 3 code 4 with an MTU, RFC 1191; packet too big in IPv6). Both versions have one form here; an error carries the
 * beginning of the packet that it is about, the quote, and is believed only as far as that names a flow of ours.
 */
import { checksumOf, foldSum, type PacketMemory, sumWords } from "./checksum.ts";
import { encodeIp, type IpEnds, IpHeader, ipHeaderBytes, IpProtocol, pseudoHeaderSum } from "./ip.ts";

export const ICMP_HEADER_BYTES = 8;
const TYPE_AT = 0, CODE_AT = 1, CHECKSUM_AT = 2, REST_AT = 4, BODY_AT = 8;
/** Of an error in IPv4: MTU of the next hop in the low half of the second word (RFC 1191 §4). */
const V4_MTU_AT = 6;

const V4_ECHO_REPLY = 0, V4_UNREACHABLE = 3, V4_ECHO_REQUEST = 8;
const V6_UNREACHABLE = 1, V6_TOO_BIG = 2, V6_ECHO_REQUEST = 128, V6_ECHO_REPLY = 129;
const V4_CODE_FRAGMENTATION_NEEDED = 4;

/** Why a destination is unreachable, with the codes of both versions. */
const UNREACHABLE_CODES = {
  "network": { v4: 0, v6: 0 },
  "host": { v4: 1, v6: 3 },
  "port": { v4: 3, v6: 4 },
  "prohibited": { v4: 13, v6: 1 },
} as const;
export type UnreachableWhy = keyof typeof UNREACHABLE_CODES;

/** An error quotes at most this much, so that it fits in what every path carries: RFC 1812 §4.3.2.3, RFC 4443 §2.4. */
const V4_ERROR_MAX_BYTES = 576, V6_ERROR_MAX_BYTES = 1280;

export type IcmpVerdict = "ok" | "truncated" | "checksum";
/** `other` is every type that is not named here: ignored. */
export type IcmpKind = "echo-request" | "echo-reply" | "unreachable" | "too-big" | "other";

/** A decoded message; kept by the caller and filled again for each packet. */
export class IcmpHeader {
  kind: IcmpKind = "other";
  type = 0;
  code = 0;
  /** Of an echo. */
  identifier = 0;
  sequence = 0;
  /** Of `too-big`: the largest packet that passes, in bytes; 0 when the router did not say. */
  mtuBytes = 0;
  /** Of `unreachable`: whether it says that nobody listens at that port or protocol, rather than that the way is blocked. */
  isPortUnreachable = false;
  /** What follows the header: the echo's data, the error's quote. */
  bodyOffset = 0;
  bodyBytes = 0;
}

/** Reads the payload of the decoded packet `ip`, of protocol ICMP or ICMPv6. */
export function decodeIcmp(memory: PacketMemory, ip: IpHeader, out: IcmpHeader): IcmpVerdict {
  const view = memory.view;
  const at = ip.payloadOffset;
  if (ip.payloadBytes < ICMP_HEADER_BYTES) return "truncated";
  const pseudo = ip.isIpv4 ? 0 : pseudoHeaderSum(ip, IpProtocol.icmpv6, ip.payloadBytes);
  if (foldSum(sumWords(view, at, ip.payloadBytes, pseudo)) !== 0xffff) return "checksum";
  out.type = view.getUint8(at + TYPE_AT);
  out.code = view.getUint8(at + CODE_AT);
  out.identifier = view.getUint16(at + REST_AT);
  out.sequence = view.getUint16(at + REST_AT + 2);
  out.bodyOffset = at + BODY_AT;
  out.bodyBytes = ip.payloadBytes - BODY_AT;
  out.kind = ip.isIpv4 ? kindOfV4(out.type, out.code) : kindOfV6(out.type, out.code);
  out.mtuBytes = out.kind !== "too-big" ? 0 : ip.isIpv4 ? view.getUint16(at + V4_MTU_AT) : view.getUint32(at + REST_AT);
  const isPortCode = ip.isIpv4 ? out.code === 2 || out.code === 3 : out.code === 4;
  out.isPortUnreachable = out.kind === "unreachable" && isPortCode;
  return "ok";
}

function kindOfV4(type: number, code: number): IcmpKind {
  if (type === V4_ECHO_REQUEST && code === 0) return "echo-request";
  if (type === V4_ECHO_REPLY && code === 0) return "echo-reply";
  if (type !== V4_UNREACHABLE) return "other";
  return code === V4_CODE_FRAGMENTATION_NEEDED ? "too-big" : "unreachable";
}

function kindOfV6(type: number, code: number): IcmpKind {
  if (type === V6_ECHO_REQUEST && code === 0) return "echo-request";
  if (type === V6_ECHO_REPLY && code === 0) return "echo-reply";
  if (type === V6_TOO_BIG) return "too-big";
  return type === V6_UNREACHABLE ? "unreachable" : "other";
}

/** The packet that an error is about, as far as it is quoted. Its ends are those of that packet: the source sent it. */
export class IcmpQuote {
  readonly ends: IpHeader = new IpHeader();
  protocol = 0;
  sourcePort = 0;
  destinationPort = 0;
  /** Of TCP. */
  sequence = 0;
}

/** Reads an error's quote: the IP header and eight bytes behind it. False when it is shorter, a later fragment, or no packet. */
export function decodeQuote(memory: PacketMemory, offset: number, length: number, out: IcmpQuote): boolean {
  const view = memory.view;
  const ends = out.ends;
  if (length < 1) return false;
  const version = view.getUint8(offset) >> 4;
  ends.isIpv4 = version === 4;
  const headerBytes = ends.isIpv4 ? (view.getUint8(offset) & 15) * 4 : 40;
  if ((version !== 4 && version !== 6) || headerBytes < 20 || length < headerBytes + 8) return false;
  if (ends.isIpv4 && (view.getUint16(offset + 6) & 0x1fff) !== 0) return false;
  out.protocol = view.getUint8(offset + (ends.isIpv4 ? 9 : 6));
  ends.source0 = ends.isIpv4 ? 0 : view.getInt32(offset + 8);
  ends.source1 = ends.isIpv4 ? 0 : view.getInt32(offset + 12);
  ends.source2 = ends.isIpv4 ? 0xffff : view.getInt32(offset + 16);
  ends.source3 = view.getInt32(offset + (ends.isIpv4 ? 12 : 20));
  ends.destination0 = ends.isIpv4 ? 0 : view.getInt32(offset + 24);
  ends.destination1 = ends.isIpv4 ? 0 : view.getInt32(offset + 28);
  ends.destination2 = ends.isIpv4 ? 0xffff : view.getInt32(offset + 32);
  ends.destination3 = view.getInt32(offset + (ends.isIpv4 ? 16 : 36));
  out.sourcePort = view.getUint16(offset + headerBytes);
  out.destinationPort = view.getUint16(offset + headerBytes + 2);
  out.sequence = view.getInt32(offset + headerBytes + 4);
  return true;
}

/**
 * Writes an echo request or reply at `offset` in front of `dataBytes` that lie already behind its headers, and returns the
 * packet's length. A reply repeats identifier, sequence and data of its request.
 */
export function encodeEcho(
  memory: PacketMemory,
  offset: number,
  ends: IpEnds,
  kind: "echo-request" | "echo-reply",
  identifier: number,
  sequence: number,
  dataBytes: number,
): number {
  const isRequest = kind === "echo-request";
  const at = offset + ipHeaderBytes(ends.isIpv4);
  memory.view.setUint16(at + REST_AT, identifier);
  memory.view.setUint16(at + REST_AT + 2, sequence);
  const type = ends.isIpv4 ? (isRequest ? V4_ECHO_REQUEST : V4_ECHO_REPLY) : (isRequest ? V6_ECHO_REQUEST : V6_ECHO_REPLY);
  return encodeIcmp(memory, offset, ends, type, 0, BODY_AT + dataBytes);
}

/** Where the data of an echo packet, or the quote of an error, begins in the packet. */
export function icmpHeadroomBytes(isIpv4: boolean): number {
  return ipHeaderBytes(isIpv4) + BODY_AT;
}

/**
 * Writes "destination unreachable" about the packet of `quotedBytes` at `quotedOffset` of `quoted`, of the same IP version as
 * `ends`, and returns the packet's length. The quote is cut so that the error passes everywhere.
 */
export function encodeUnreachable(
  memory: PacketMemory,
  offset: number,
  ends: IpEnds,
  why: UnreachableWhy,
  quoted: PacketMemory,
  quotedOffset: number,
  quotedBytes: number,
): number {
  const length = placeQuote(memory, offset, ends, quoted, quotedOffset, quotedBytes);
  memory.view.setUint32(offset + ipHeaderBytes(ends.isIpv4) + REST_AT, 0);
  const code = UNREACHABLE_CODES[why];
  return ends.isIpv4
    ? encodeIcmp(memory, offset, ends, V4_UNREACHABLE, code.v4, length)
    : encodeIcmp(memory, offset, ends, V6_UNREACHABLE, code.v6, length);
}

/** Writes "fragmentation needed" or "packet too big": packets of at most `mtuBytes` pass. Otherwise as {@linkcode encodeUnreachable}. */
export function encodeTooBig(
  memory: PacketMemory,
  offset: number,
  ends: IpEnds,
  mtuBytes: number,
  quoted: PacketMemory,
  quotedOffset: number,
  quotedBytes: number,
): number {
  const length = placeQuote(memory, offset, ends, quoted, quotedOffset, quotedBytes);
  // In IPv4 the upper half is unused, so one word serves both.
  memory.view.setUint32(offset + ipHeaderBytes(ends.isIpv4) + REST_AT, mtuBytes);
  return ends.isIpv4
    ? encodeIcmp(memory, offset, ends, V4_UNREACHABLE, V4_CODE_FRAGMENTATION_NEEDED, length)
    : encodeIcmp(memory, offset, ends, V6_TOO_BIG, 0, length);
}

/** The largest packet that {@linkcode encodeUnreachable} and {@linkcode encodeTooBig} write. */
export function icmpErrorMaxBytes(isIpv4: boolean): number {
  return isIpv4 ? V4_ERROR_MAX_BYTES : V6_ERROR_MAX_BYTES;
}

function placeQuote(
  memory: PacketMemory,
  offset: number,
  ends: IpEnds,
  quoted: PacketMemory,
  quotedOffset: number,
  quotedBytes: number,
): number {
  const headroom = icmpHeadroomBytes(ends.isIpv4);
  const kept = Math.min(quotedBytes, icmpErrorMaxBytes(ends.isIpv4) - headroom);
  memory.bytes.set(quoted.bytes.subarray(quotedOffset, quotedOffset + kept), offset + headroom);
  return BODY_AT + kept;
}

function encodeIcmp(memory: PacketMemory, offset: number, ends: IpEnds, type: number, code: number, length: number): number {
  const view = memory.view;
  const at = offset + ipHeaderBytes(ends.isIpv4);
  view.setUint8(at + TYPE_AT, type);
  view.setUint8(at + CODE_AT, code);
  view.setUint16(at + CHECKSUM_AT, 0);
  if (ends.isIpv4) {
    view.setUint16(at + CHECKSUM_AT, checksumOf(view, at, length));
    return encodeIp(memory, offset, ends, IpProtocol.icmp, length);
  }
  const sum = sumWords(view, at, length, pseudoHeaderSum(ends, IpProtocol.icmpv6, length));
  view.setUint16(at + CHECKSUM_AT, ~foldSum(sum) & 0xffff);
  return encodeIp(memory, offset, ends, IpProtocol.icmpv6, length);
}
