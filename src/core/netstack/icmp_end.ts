/**
 * ICMP that comes from an agent: echo requests, answered here, and errors about packets of ours. An error is believed only
 * when it quotes a packet that we may have sent: a flow of ours, and of TCP a number that is on the way (RFC 5927 §4.1); it
 * never ends an established session (RFC 5461).
 */
import {
  copyEnds,
  decodeIcmp,
  decodeQuote,
  IcmpQuote,
  IpHeader,
  ipHeaderBytes,
  IpProtocol,
  type PacketMemory,
  TCP_HEADER_BYTES,
} from "../wire/mod.ts";
import type { ControlAnswers } from "./control_answers.ts";
import { ICMP_COUNTERS } from "./counters.ts";
import type { TcpEnvironment } from "./environment.ts";
import { MSS_MIN_BYTES, PATH_MTU_MIN_IPV4_BYTES, PATH_MTU_MIN_IPV6_BYTES } from "./limits.ts";
import type { PacketPath } from "./path.ts";
import { isAtOrBefore, isBefore } from "./sequence.ts";
import { endSession } from "./tcp_end.ts";
import type { TcpSession } from "./tcp_session.ts";
import type { UdpFlow } from "./udp_flows.ts";

/** What the stack knows that this needs. The ends are those of a packet that came. */
export interface IcmpPeers {
  findSession(path: PacketPath, packet: IpHeader, localPort: number, remotePort: number): TcpSession | null;
  findFlow(path: PacketPath, packet: IpHeader, localPort: number, remotePort: number): UdpFlow | null;
  answersEcho(path: PacketPath, packet: IpHeader): boolean;
}

export class IcmpEnd {
  readonly #environment: TcpEnvironment;
  readonly #answers: ControlAnswers;
  readonly #peers: IcmpPeers;
  readonly #quote = new IcmpQuote();
  readonly #reversed = new IpHeader();

  constructor(environment: TcpEnvironment, answers: ControlAnswers, peers: IcmpPeers) {
    this.#environment = environment;
    this.#answers = answers;
    this.#peers = peers;
  }

  /** Takes in the decoded packet `ip`. Returns the session that may have something to send now, or null. */
  handle(path: PacketPath, memory: PacketMemory, ip: IpHeader): TcpSession | null {
    const { inIcmp: icmp, counters } = this.#environment;
    const verdict = decodeIcmp(memory, ip, icmp);
    if (verdict !== "ok") {
      counters[ICMP_COUNTERS[verdict]]++;
      return null;
    }
    if (icmp.kind === "echo-request") {
      if (this.#peers.answersEcho(path, ip)) this.#answers.echo(path, ip, icmp, memory);
      else counters.echoRefused++;
      return null;
    }
    const isError = icmp.kind === "unreachable" || icmp.kind === "too-big";
    if (!isError || !decodeQuote(memory, icmp.bodyOffset, icmp.bodyBytes, this.#quote)) {
      counters.icmpIgnored++;
      return null;
    }
    // What we sent, turned round: as if the other end had answered it.
    copyEnds(this.#quote.ends, this.#reversed, true);
    if (this.#quote.protocol === IpProtocol.tcp) return this.#handleTcpError(path);
    if (this.#quote.protocol === IpProtocol.udp) this.#handleUdpError(path);
    else counters.icmpIgnored++;
    return null;
  }

  #handleTcpError(path: PacketPath): TcpSession | null {
    const { inIcmp: icmp, counters } = this.#environment;
    const session = this.#peers.findSession(path, this.#reversed, this.#quote.sourcePort, this.#quote.destinationPort);
    const { sequence } = this.#quote;
    if (session === null || isBefore(sequence, session.send.una) || !isBefore(sequence, session.send.next)) {
      counters.icmpIgnored++;
      return null;
    }
    if (icmp.kind === "too-big") return reducePathMtu(session, icmp.mtuBytes) ? session : null;
    if (session.state === "synSent" && icmp.isPortUnreachable) endSession(session, "unreachable");
    else counters.icmpIgnored++;
    return null;
  }

  #handleUdpError(path: PacketPath): void {
    const { inIcmp: icmp, counters } = this.#environment;
    const flow = this.#peers.findFlow(path, this.#reversed, this.#quote.sourcePort, this.#quote.destinationPort);
    if (flow === null || icmp.kind !== "unreachable") counters.icmpIgnored++;
    else flow.handler?.onUnreachable(flow);
  }
}

/** RFC 8201 §4, RFC 5927 §7.2: only ever smaller, and not below what IP guarantees. What was too big is sent again. */
function reducePathMtu(session: TcpSession, mtuBytes: number): boolean {
  const { send, environment, congestion } = session;
  const leastBytes = session.ends.isIpv4 ? PATH_MTU_MIN_IPV4_BYTES : PATH_MTU_MIN_IPV6_BYTES;
  const headerBytes = ipHeaderBytes(session.ends.isIpv4) + TCP_HEADER_BYTES;
  const boundBytes = Math.max(mtuBytes, leastBytes, headerBytes + MSS_MIN_BYTES);
  if (boundBytes >= session.segmentMaxBytes + headerBytes) {
    environment.counters.icmpIgnored++;
    return false;
  }
  session.pathMtuBytes = boundBytes;
  environment.counters.pathMtuReduced++;
  if (isAtOrBefore(send.next, send.una)) return false;
  congestion.resendAll(send.una, send.next);
  send.timedAtMs = Infinity;
  return true;
}
