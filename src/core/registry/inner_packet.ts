/**
 * The few fields of an inner IP packet by which the flow table knows a flow. One {@linkcode InnerPacket} is reused for
 * every packet, so that reading allocates nothing. This is not a full decoder: the ends of the flow check the rest.
 *
 * What is refused: anything but IPv4 and IPv6, a length field that is not the datagram's, fragments, extension headers,
 * protocols other than TCP, UDP, ICMP, and ICMP messages other than echo and errors (RFC 791, 792, 8200, 4443).
 */

/** Why a packet is dropped by the flow table: negative results of its functions, each a label of a counter. */
export const FlowDrop = {
  notIp: -1,
  badLength: -2,
  fragment: -3,
  protocol: -4,
  icmpType: -5,
  unknownFlow: -6,
  noConnector: -7,
  otherConnector: -8,
  ambiguous: -9,
  icmpMismatch: -10,
  tableFull: -11,
  agentFull: -12,
  noAddress: -13,
  identityFull: -14,
  anonymousFull: -15,
  /** An agent's TCP segment that belongs to no flow and does not begin one. */
  midstream: -16,
  /** A TCP segment of a flow whose SYN the connector has not answered. */
  unanswered: -17,
} as const;
export type FlowDropName = keyof typeof FlowDrop;

const DROP_NAMES = Object.keys(FlowDrop) as FlowDropName[];

/** The name of a negative result; null for a result that is none. */
export function flowDropName(result: number): FlowDropName | null {
  return DROP_NAMES[-result - 1] ?? null;
}

/** Non-negative results of {@linkcode InnerPacket.read}. */
export const PacketClass = { flow: 0, icmpError: 1 } as const;

export const Protocol = { icmp: 1, tcp: 6, udp: 17, icmp6: 58 } as const;

/** Offsets in {@linkcode InnerPacket.words}. Addresses take four words; an IPv4 address is the first, the others are zero. */
export const Word = { kind: 0, source: 1, destination: 5, ports: 9, count: 10 } as const;

// RFC 791 §3.1, RFC 8200 §3: offsets from the first byte of the header.
const IPV4 = { totalLength: 2, fragment: 6, protocol: 9, source: 12, destination: 16, headerMin: 20 } as const;
const IPV6 = { payloadLength: 4, nextHeader: 6, source: 8, destination: 24, header: 40 } as const;
/** More Fragments and the fragment offset; Don't Fragment and the reserved bit are of no concern. */
const FRAGMENT_MASK = 0x3fff;

/** Bytes of the transport header that must be there; an ICMP error quotes at least eight (RFC 792). */
const QUOTED_TRANSPORT_BYTES = 8;

/** Flags of a TCP header (RFC 9293 §3.1) that begin, answer or end something. */
export const TcpBit = { fin: 0x01, syn: 0x02, rst: 0x04, ack: 0x10 } as const;
const TCP_FLAGS_AT = 13;

export class InnerPacket {
  /** `family << 8 | protocol`, source, destination, `source port << 16 | destination port` (ICMP echo: the id twice). */
  readonly words = new Uint32Array(Word.count);
  /** 4 or 6. */
  family = 0;
  protocol = 0;
  /** The flags of a whole TCP segment; 0 for everything else. */
  tcpFlags = 0;
  /** Where the transport header begins in the bytes given to {@linkcode read}. */
  transportAt = 0;

  /**
   * Reads `length` bytes from `offset`. `isUpward` tells that the packet travels from an agent to a connector (its echo
   * messages are requests, the other way replies); `isQuoted` that it stands in an ICMP error, cut off somewhere.
   * Returns a {@linkcode PacketClass}, or a {@linkcode FlowDrop}.
   */
  read(bytes: Uint8Array, offset: number, length: number, isUpward: boolean, isQuoted: boolean): number {
    if (length < 1) return FlowDrop.notIp;
    const version = at(bytes, offset) >> 4;
    const problem = version === 4
      ? this.#readIpv4(bytes, offset, length, isQuoted)
      : version === 6
      ? this.#readIpv6(bytes, offset, length, isQuoted)
      : FlowDrop.notIp;
    if (problem < 0) return problem;
    return this.#readTransport(bytes, offset + length, isUpward, isQuoted);
  }

  #readIpv4(bytes: Uint8Array, offset: number, length: number, isQuoted: boolean): number {
    const headerBytes = (at(bytes, offset) & 15) * 4;
    if (length < IPV4.headerMin || headerBytes < IPV4.headerMin || headerBytes > length) return FlowDrop.badLength;
    const totalLength = readUint16(bytes, offset + IPV4.totalLength);
    if (isQuoted ? totalLength < headerBytes : totalLength !== length) return FlowDrop.badLength;
    if ((readUint16(bytes, offset + IPV4.fragment) & FRAGMENT_MASK) !== 0) return FlowDrop.fragment;
    // The words beyond an IPv4 address are zero already, unless an IPv6 packet was read before.
    if (this.family !== 4) this.words.fill(0, Word.source, Word.ports);
    this.family = 4;
    this.protocol = at(bytes, offset + IPV4.protocol);
    this.transportAt = offset + headerBytes;
    this.words[Word.source] = readUint32(bytes, offset + IPV4.source);
    this.words[Word.destination] = readUint32(bytes, offset + IPV4.destination);
    return 0;
  }

  #readIpv6(bytes: Uint8Array, offset: number, length: number, isQuoted: boolean): number {
    if (length < IPV6.header) return FlowDrop.badLength;
    const payloadLength = readUint16(bytes, offset + IPV6.payloadLength);
    if (!isQuoted && payloadLength !== length - IPV6.header) return FlowDrop.badLength;
    this.family = 6;
    this.protocol = at(bytes, offset + IPV6.nextHeader);
    if (this.protocol === 44) return FlowDrop.fragment;
    this.transportAt = offset + IPV6.header;
    for (let word = 0; word < 4; word++) {
      this.words[Word.source + word] = readUint32(bytes, offset + IPV6.source + 4 * word);
      this.words[Word.destination + word] = readUint32(bytes, offset + IPV6.destination + 4 * word);
    }
    return 0;
  }

  #readTransport(bytes: Uint8Array, end: number, isUpward: boolean, isQuoted: boolean): number {
    const { protocol, transportAt } = this;
    this.words[Word.kind] = this.family << 8 | protocol;
    const isIcmp = protocol === (this.family === 4 ? Protocol.icmp : Protocol.icmp6);
    if (!isIcmp && protocol !== Protocol.tcp && protocol !== Protocol.udp) return FlowDrop.protocol;
    const needed = protocol === Protocol.tcp && !isQuoted ? 20 : QUOTED_TRANSPORT_BYTES;
    if (end - transportAt < needed) return FlowDrop.badLength;
    this.tcpFlags = protocol === Protocol.tcp && !isQuoted ? at(bytes, transportAt + TCP_FLAGS_AT) : 0;
    if (!isIcmp) {
      this.words[Word.ports] = readUint32(bytes, transportAt);
      return PacketClass.flow;
    }
    const type = at(bytes, transportAt);
    if (isIcmpError(this.family, type)) {
      this.words[Word.ports] = 0;
      return isQuoted ? FlowDrop.icmpType : PacketClass.icmpError;
    }
    const echo = this.family === 4 ? (isUpward ? 8 : 0) : (isUpward ? 128 : 129);
    if (type !== echo) return FlowDrop.icmpType;
    const id = readUint16(bytes, transportAt + 4);
    this.words[Word.ports] = id << 16 | id;
    return PacketClass.flow;
  }
}

/** Destination unreachable, time exceeded, parameter problem; for IPv6 also packet too big. Never redirects. */
function isIcmpError(family: number, type: number): boolean {
  return family === 4 ? type === 3 || type === 11 || type === 12 : type >= 1 && type <= 4;
}

/** Where the address of one side stands, from the first byte of the header. */
export function addressOffset(family: number, side: "source" | "destination"): number {
  return family === 4 ? IPV4[side] : IPV6[side];
}

function at(bytes: Uint8Array, offset: number): number {
  return bytes[offset] ?? 0;
}

export function readUint16(bytes: Uint8Array, offset: number): number {
  return at(bytes, offset) << 8 | at(bytes, offset + 1);
}

export function readUint32(bytes: Uint8Array, offset: number): number {
  return (readUint16(bytes, offset) << 16 | readUint16(bytes, offset + 2)) >>> 0;
}
