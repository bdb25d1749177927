/**
 * Answers that belong to no session: RST for what has none (RFC 9293 §3.5.2), ICMP errors and echo replies. Each goes into
 * its path's bounded queue; ICMP errors have a rate as well.
 */
import {
  clearTcpOptions,
  copyEnds,
  encodeEcho,
  encodeIp,
  encodeTcp,
  encodeTooBig,
  encodeUnreachable,
  icmpErrorMaxBytes,
  type IcmpHeader,
  icmpHeadroomBytes,
  type IpEnds,
  IpHeader,
  ipHeaderBytes,
  IpProtocol,
  type PacketMemory,
  packetMemory,
  TCP_HEADER_BYTES,
  TcpFlag,
  type TcpHeader,
  UDP_HEADER_BYTES,
  type UnreachableWhy,
} from "../wire/mod.ts";
import type { TcpEnvironment } from "./environment.ts";
import type { PacketPath } from "./path.ts";
import type { UdpFlow } from "./udp_flows.ts";

const RATE_WINDOW_MS = 1_000;

export class ControlAnswers {
  readonly #environment: TcpEnvironment;
  readonly #ends: IpEnds = new IpHeader();
  readonly #quote = packetMemory(64);
  #windowMs = -Infinity;
  #errorsInWindow = 0;

  constructor(environment: TcpEnvironment) {
    this.#environment = environment;
  }

  /** RST for a segment that came with the ends `packet`: RFC 9293 §3.10.7.1. Never in answer to RST. */
  reset(path: PacketPath, packet: IpEnds, segment: TcpHeader): void {
    if ((segment.flags & TcpFlag.rst) !== 0) return;
    const memory = this.#reserve(path, ipHeaderBytes(packet.isIpv4) + TCP_HEADER_BYTES);
    if (memory === null) return;
    const { outTcp, counters } = this.#environment;
    const hasAck = (segment.flags & TcpFlag.ack) !== 0;
    const length = segment.payloadBytes + ((segment.flags & TcpFlag.syn) !== 0 ? 1 : 0) +
      ((segment.flags & TcpFlag.fin) !== 0 ? 1 : 0);
    clearTcpOptions(outTcp);
    outTcp.sourcePort = segment.destinationPort;
    outTcp.destinationPort = segment.sourcePort;
    outTcp.sequence = hasAck ? segment.acknowledgement : 0;
    outTcp.acknowledgement = hasAck ? 0 : (segment.sequence + length) | 0;
    outTcp.flags = hasAck ? TcpFlag.rst : TcpFlag.rst | TcpFlag.ack;
    outTcp.window = 0;
    outTcp.payloadBytes = 0;
    copyEnds(packet, this.#ends, true);
    counters.resetsSent++;
    this.#commit(path, encodeTcp(memory, 0, this.#ends, outTcp));
  }

  /** The reply to an echo request: the same identifier, number and data, back. */
  echo(path: PacketPath, packet: IpEnds, request: IcmpHeader, from: PacketMemory): void {
    const { counters } = this.#environment;
    const bytes = icmpHeadroomBytes(packet.isIpv4) + request.bodyBytes;
    if (bytes > path.maxBytes) {
      counters.echoTooBig++;
      return;
    }
    const memory = this.#reserve(path, bytes);
    if (memory === null) return;
    memory.bytes.set(
      from.bytes.subarray(request.bodyOffset, request.bodyOffset + request.bodyBytes),
      icmpHeadroomBytes(packet.isIpv4),
    );
    copyEnds(packet, this.#ends, true);
    counters.echoReplies++;
    const length = encodeEcho(memory, 0, this.#ends, "echo-reply", request.identifier, request.sequence, request.bodyBytes);
    this.#commit(path, length);
  }

  /** "Destination unreachable" to the sender of the packet of `length` bytes at `offset`. */
  unreachable(path: PacketPath, packet: IpEnds, why: UnreachableWhy, from: PacketMemory, offset: number, length: number): void {
    const memory = this.#reserveError(path, packet.isIpv4);
    if (memory === null) return;
    copyEnds(packet, this.#ends, true);
    const quoted = Math.min(length, path.maxBytes - icmpHeadroomBytes(packet.isIpv4));
    this.#commit(path, encodeUnreachable(memory, 0, this.#ends, why, from, offset, quoted));
  }

  /** The same about the last datagram of a flow, of which only the headers are quoted. */
  flowUnreachable(flow: UdpFlow, why: UnreachableWhy): void {
    const memory = this.#reserveError(flow.path, flow.ends.isIpv4);
    if (memory === null) return;
    this.#commit(flow.path, encodeUnreachable(memory, 0, flow.ends, why, this.#quote, 0, this.#quoteFlow(flow)));
  }

  /** "Too big": what the flow's agent sends may have `mtuBytes` at most, as an IP packet. */
  flowTooBig(flow: UdpFlow, mtuBytes: number): void {
    const memory = this.#reserveError(flow.path, flow.ends.isIpv4);
    if (memory === null) return;
    this.#commit(flow.path, encodeTooBig(memory, 0, flow.ends, mtuBytes, this.#quote, 0, this.#quoteFlow(flow)));
  }

  /** Rebuilds the headers of the flow's last datagram as they came, but for the checksum, and returns their length. */
  #quoteFlow(flow: UdpFlow): number {
    copyEnds(flow.ends, this.#ends, true);
    const at = ipHeaderBytes(flow.ends.isIpv4);
    const length = UDP_HEADER_BYTES + flow.lastPayloadBytes;
    encodeIp(this.#quote, 0, this.#ends, IpProtocol.udp, length);
    this.#quote.view.setUint16(at, flow.remotePort);
    this.#quote.view.setUint16(at + 2, flow.localPort);
    this.#quote.view.setUint16(at + 4, length);
    this.#quote.view.setUint16(at + 6, 0);
    return at + UDP_HEADER_BYTES;
  }

  #reserveError(path: PacketPath, isIpv4: boolean): PacketMemory | null {
    const { nowMs, limits, counters } = this.#environment;
    if (nowMs - this.#windowMs >= RATE_WINDOW_MS) {
      this.#windowMs = nowMs;
      this.#errorsInWindow = 0;
    }
    if (this.#errorsInWindow >= limits.icmpErrorsPerSecondMax) {
      counters.icmpErrorsSuppressed++;
      return null;
    }
    const memory = this.#reserve(path, icmpErrorMaxBytes(isIpv4));
    if (memory === null) return null;
    this.#errorsInWindow++;
    counters.icmpErrorsSent++;
    return memory;
  }

  #reserve(path: PacketPath, bytes: number): PacketMemory | null {
    const memory = path.isClosed ? null : path.control.reserve(bytes);
    if (memory === null) this.#environment.counters.controlDropped++;
    return memory;
  }

  #commit(path: PacketPath, length: number): void {
    const wasReady = path.isReady;
    path.control.commit(length);
    if (!wasReady) this.#environment.hooks.onPathReady(path);
  }
}
