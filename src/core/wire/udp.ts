/**
 * UDP (RFC 768) in IPv4 and IPv6. The payload stays where it is: an encoder writes the headers in front of a payload that
 * already lies at its place. An empty payload is a datagram like any other.
 */
import { foldSum, type PacketMemory, sumWords } from "./checksum.ts";
import { encodeIp, type IpEnds, type IpHeader, ipHeaderBytes, IpProtocol, pseudoHeaderSum } from "./ip.ts";

export const UDP_HEADER_BYTES = 8;
const SOURCE_PORT_AT = 0, DESTINATION_PORT_AT = 2, LENGTH_AT = 4, CHECKSUM_AT = 6;

export type UdpVerdict =
  | "ok"
  | "truncated"
  /** The length field is below 8 or leaves bytes of the packet over. */
  | "length-mismatch"
  /** Wrong, or absent where IPv6 requires it (RFC 8200 §8.1). */
  | "checksum"
  /** A destination port of 0. */
  | "port";

/** A decoded header; kept by the caller and filled again for each packet. */
export class UdpHeader {
  sourcePort = 0;
  destinationPort = 0;
  payloadOffset = 0;
  payloadBytes = 0;
}

/** Reads the payload of the decoded packet `ip` as UDP. A checksum of 0 means "none" in IPv4 (RFC 768). */
export function decodeUdp(memory: PacketMemory, ip: IpHeader, out: UdpHeader): UdpVerdict {
  const view = memory.view;
  const at = ip.payloadOffset;
  if (ip.payloadBytes < UDP_HEADER_BYTES) return "truncated";
  const length = view.getUint16(at + LENGTH_AT);
  if (length > ip.payloadBytes) return "truncated";
  if (length !== ip.payloadBytes) return "length-mismatch";
  if (view.getUint16(at + CHECKSUM_AT) !== 0) {
    const sum = pseudoHeaderSum(ip, IpProtocol.udp, length);
    if (foldSum(sumWords(view, at, length, sum)) !== 0xffff) return "checksum";
  } else if (!ip.isIpv4) return "checksum";
  out.sourcePort = view.getUint16(at + SOURCE_PORT_AT);
  out.destinationPort = view.getUint16(at + DESTINATION_PORT_AT);
  out.payloadOffset = at + UDP_HEADER_BYTES;
  out.payloadBytes = length - UDP_HEADER_BYTES;
  return out.destinationPort === 0 ? "port" : "ok";
}

/** Where the payload of a packet at offset 0 begins: what stands in front of it is the room for {@linkcode encodeUdp}. */
export function udpHeadroomBytes(isIpv4: boolean): number {
  return ipHeaderBytes(isIpv4) + UDP_HEADER_BYTES;
}

/**
 * Writes the IP and UDP headers at `offset` in front of `payloadBytes` that lie {@linkcode udpHeadroomBytes} behind it, and
 * returns the packet's length. `checksum` "none" is possible in IPv4 only; IPv6 packets always carry one.
 */
export function encodeUdp(
  memory: PacketMemory,
  offset: number,
  ends: IpEnds,
  sourcePort: number,
  destinationPort: number,
  payloadBytes: number,
  checksum: "computed" | "none" = "computed",
): number {
  const view = memory.view;
  const length = UDP_HEADER_BYTES + payloadBytes;
  const at = offset + ipHeaderBytes(ends.isIpv4);
  view.setUint16(at + SOURCE_PORT_AT, sourcePort);
  view.setUint16(at + DESTINATION_PORT_AT, destinationPort);
  view.setUint16(at + LENGTH_AT, length);
  view.setUint16(at + CHECKSUM_AT, 0);
  if (checksum === "computed" || !ends.isIpv4) {
    const sum = ~foldSum(sumWords(view, at, length, pseudoHeaderSum(ends, IpProtocol.udp, length))) & 0xffff;
    // 0 says "no checksum"; its other representation says the same sum (RFC 768).
    view.setUint16(at + CHECKSUM_AT, sum === 0 ? 0xffff : sum);
  }
  return encodeIp(memory, offset, ends, IpProtocol.udp, length);
}
