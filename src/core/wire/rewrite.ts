/**
 * Changing one end of a packet in passing: address, port, and every checksum that covers them by RFC 1624, without reading
 * the payload. For a flow table that gives two users of the same inner address different ones. TCP, UDP and ICMP echo; the
 * quotes inside ICMP errors are not touched.
 */
import { foldSum, type PacketMemory, sumWord32 } from "./checksum.ts";
import { type IpHeader, IpProtocol } from "./ip.ts";

/** The address as four words (see `ip.ts`) and the port, or the identifier of an ICMP echo. */
export interface RewrittenEnd {
  readonly word0: number;
  readonly word1: number;
  readonly word2: number;
  readonly word3: number;
  readonly port: number;
}

const V4_CHECKSUM_AT = 10;
const TCP_CHECKSUM_AT = 16, UDP_CHECKSUM_AT = 6, ICMP_CHECKSUM_AT = 2, ICMP_IDENTIFIER_AT = 4;

/**
 * Replaces the source or the destination of the packet that `ip` was decoded from; `ip` itself keeps the old values. False,
 * with nothing changed, when the packet is too short for its protocol or of another protocol than TCP, UDP and ICMP echo.
 */
export function rewriteEnd(memory: PacketMemory, ip: IpHeader, end: "source" | "destination", to: RewrittenEnd): boolean {
  const view = memory.view;
  const checksumAt = checksumPosition(view, ip);
  if (checksumAt < 0) return false;
  const isSource = end === "source";
  const isIcmp = ip.protocol === IpProtocol.icmp || ip.protocol === IpProtocol.icmpv6;
  const portAt = ip.payloadOffset + (isIcmp ? ICMP_IDENTIFIER_AT : isSource ? 0 : 2);
  const addressAt = ip.offset + (ip.isIpv4 ? (isSource ? 12 : 16) : (isSource ? 8 : 24));
  const addressDelta = replaceAddress(view, addressAt, ip.isIpv4, to);
  if (ip.isIpv4) addDelta(view, ip.offset + V4_CHECKSUM_AT, addressDelta);
  const oldPort = view.getUint16(portAt);
  view.setUint16(portAt, to.port);
  // ICMP in IPv4 has no pseudo header, so the address does not count there.
  const delta = (~oldPort & 0xffff) + to.port + (ip.protocol === IpProtocol.icmp ? 0 : addressDelta);
  const isUdp = ip.protocol === IpProtocol.udp;
  if (isUdp && view.getUint16(checksumAt) === 0) return true;
  addDelta(view, checksumAt, delta);
  if (isUdp && view.getUint16(checksumAt) === 0) view.setUint16(checksumAt, 0xffff);
  return true;
}

/** The position of the transport's checksum, or -1. */
function checksumPosition(view: DataView, ip: IpHeader): number {
  const at = ip.payloadOffset;
  if (ip.protocol === IpProtocol.tcp) return ip.payloadBytes < 20 ? -1 : at + TCP_CHECKSUM_AT;
  if (ip.protocol === IpProtocol.udp) return ip.payloadBytes < 8 ? -1 : at + UDP_CHECKSUM_AT;
  if (ip.payloadBytes < 8) return -1;
  const type = view.getUint8(at);
  if (ip.protocol === IpProtocol.icmp) return type === 0 || type === 8 ? at + ICMP_CHECKSUM_AT : -1;
  return ip.protocol === IpProtocol.icmpv6 && (type === 128 || type === 129) ? at + ICMP_CHECKSUM_AT : -1;
}

/** Writes the address and returns ~m + m' over its words, folded. */
function replaceAddress(view: DataView, at: number, isIpv4: boolean, to: RewrittenEnd): number {
  if (isIpv4) return replaceWord(view, at, to.word3);
  const sum = replaceWord(view, at, to.word0) + replaceWord(view, at + 4, to.word1);
  return foldSum(sum + replaceWord(view, at + 8, to.word2) + replaceWord(view, at + 12, to.word3));
}

function replaceWord(view: DataView, at: number, to: number): number {
  const from = view.getInt32(at);
  view.setInt32(at, to);
  return foldSum(sumWord32(~from) + sumWord32(to));
}

/** RFC 1624 §3, eqn. 3, with ~m + m' of all changed words as `delta`. */
function addDelta(view: DataView, at: number, delta: number): void {
  view.setUint16(at, ~foldSum((~view.getUint16(at) & 0xffff) + delta) & 0xffff);
}
