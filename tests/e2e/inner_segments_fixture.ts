/** TCP segments in inner packets, as a test makes them and as it reads those that come. */
import { assert } from "@std/assert";
import {
  decodeIp,
  decodeTcp,
  encodeTcp,
  IpHeader,
  ipHeaderBytes,
  packetMemory,
  packetMemoryOf,
  parseEnds,
  TCP_HEADER_BYTES,
  TcpFlag,
  TcpHeader,
} from "../../src/core/wire/mod.ts";
import type { PacketEnds } from "./inner_packets_fixture.ts";

export interface Segment {
  /** Such as `SYN` or `RST ACK`. */
  readonly flags: string;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly text: string;
}

const NAMES = { FIN: TcpFlag.fin, SYN: TcpFlag.syn, RST: TcpFlag.rst, ACK: TcpFlag.ack } as const;

/** A segment with these flags, numbers and payload. */
export function tcpPacket(
  { from, to }: PacketEnds,
  { flags, sequence = 0, acknowledgement = 0, text = "" }: Partial<Segment>,
): Uint8Array {
  const ends = parseEnds(from[0], to[0]);
  assert(ends !== null, "two addresses of one family");
  const payload = new TextEncoder().encode(text);
  const headroom = ipHeaderBytes(ends.isIpv4) + TCP_HEADER_BYTES;
  const memory = packetMemory(headroom + payload.length);
  memory.bytes.set(payload, headroom);
  const header = new TcpHeader();
  header.sourcePort = from[1];
  header.destinationPort = to[1];
  header.sequence = sequence | 0;
  header.acknowledgement = acknowledgement | 0;
  header.window = 65_535;
  header.payloadBytes = payload.length;
  for (const [name, bit] of Object.entries(NAMES)) if ((flags ?? "").includes(name)) header.flags |= bit;
  return memory.bytes.slice(0, encodeTcp(memory, 0, ends, header));
}

/** The segment in a packet whose checksums hold; null for anything else. */
export function readTcp(packet: Uint8Array): Segment | null {
  const memory = packetMemoryOf(packet.slice());
  const ip = new IpHeader(), tcp = new TcpHeader();
  if (decodeIp(memory, 0, packet.length, ip) !== "ok" || ip.protocol !== 6 || decodeTcp(memory, ip, tcp) !== "ok") return null;
  const flags = Object.entries(NAMES).filter(([, bit]) => (tcp.flags & bit) !== 0).map(([name]) => name).join(" ");
  const text = new TextDecoder().decode(memory.bytes.subarray(tcp.payloadOffset, tcp.payloadOffset + tcp.payloadBytes));
  return { flags, sequence: tcp.sequence >>> 0, acknowledgement: tcp.acknowledgement >>> 0, text };
}
