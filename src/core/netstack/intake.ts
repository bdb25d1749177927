/**
 * A packet's way in: its form is checked layer by layer and refused with a counted reason, then it goes to its session, its
 * flow, or to whoever decides about a new one. Every refusal of a limit or of the owner is answered here.
 */
import {
  copyEnds,
  decodeIp,
  decodeTcp,
  decodeUdp,
  IpHeader,
  IpProtocol,
  isUnicastSource,
  type PacketMemory,
  TcpFlag,
  UdpHeader,
} from "../wire/mod.ts";
import type { ControlAnswers } from "./control_answers.ts";
import { IP_COUNTERS, TCP_COUNTERS, UDP_COUNTERS } from "./counters.ts";
import type { TcpEnvironment } from "./environment.ts";
import { IcmpEnd } from "./icmp_end.ts";
import type { NetStackOwner } from "./owner.ts";
import type { PacketPath } from "./path.ts";
import type { SessionTable } from "./session_table.ts";
import { refuseSession } from "./tcp_owner.ts";
import { receiveSegment } from "./tcp_receive.ts";
import type { TcpSession } from "./tcp_session.ts";
import type { UdpFlows } from "./udp_flows.ts";

export class PacketIntake {
  readonly #environment: TcpEnvironment;
  readonly #owner: NetStackOwner;
  readonly #sessions: SessionTable;
  readonly #flows: UdpFlows;
  readonly #answers: ControlAnswers;
  readonly #icmp: IcmpEnd;
  readonly #udp = new UdpHeader();
  readonly #flowEnds = new IpHeader();

  constructor(environment: TcpEnvironment, owner: NetStackOwner, sessions: SessionTable, flows: UdpFlows, answers: ControlAnswers) {
    this.#environment = environment;
    this.#owner = owner;
    this.#sessions = sessions;
    this.#flows = flows;
    this.#answers = answers;
    this.#icmp = new IcmpEnd(environment, answers, {
      findSession: (path, packet, localPort, remotePort) => sessions.find(path, packet, localPort, remotePort),
      findFlow: (path, packet, localPort, remotePort) => flows.find(path, packet, localPort, remotePort),
      answersEcho: (path, packet) => owner.answersEcho(path, packet),
    });
  }

  /** Takes in one packet. Returns the session that it was for, which may have something to send now; null when none. */
  handle(path: PacketPath, memory: PacketMemory, offset: number, length: number): TcpSession | null {
    const { inIp: ip, counters } = this.#environment;
    counters.packetsReceived++;
    const verdict = decodeIp(memory, offset, length, ip);
    if (verdict !== "ok") {
      counters[IP_COUNTERS[verdict]]++;
      if (verdict === "fragment" && ip.isFirstFragment && isUnicastSource(ip)) {
        this.#answers.unreachable(path, ip, "prohibited", memory, offset, length);
      }
      return null;
    }
    if (!isUnicastSource(ip)) {
      counters.ipSourceAddress++;
      return null;
    }
    if (ip.protocol === IpProtocol.tcp) return this.#handleTcp(path, memory);
    if (ip.protocol === IpProtocol.udp) this.#handleUdp(path, memory, length);
    else if (ip.protocol === (ip.isIpv4 ? IpProtocol.icmp : IpProtocol.icmpv6)) return this.#icmp.handle(path, memory, ip);
    else counters.ipProtocol++;
    return null;
  }

  #handleTcp(path: PacketPath, memory: PacketMemory): TcpSession | null {
    const { inIp: ip, inTcp: tcp, counters } = this.#environment;
    const verdict = decodeTcp(memory, ip, tcp);
    if (verdict !== "ok") {
      counters[TCP_COUNTERS[verdict]]++;
      return null;
    }
    const kind = tcp.flags & (TcpFlag.syn | TcpFlag.ack | TcpFlag.rst | TcpFlag.fin);
    if ((kind & TcpFlag.syn) !== 0 && (kind & (TcpFlag.rst | TcpFlag.fin)) !== 0) {
      counters.tcpFlags++;
      return null;
    }
    let session = this.#sessions.find(path, ip, tcp.destinationPort, tcp.sourcePort);
    if (session !== null && kind === TcpFlag.syn && this.#sessions.recycle(session, tcp.sequence)) session = null;
    if (session !== null) {
      if (receiveSegment(session, memory) === "reset") this.#answers.reset(path, ip, tcp);
      return session;
    }
    if (kind === TcpFlag.syn) return this.#handleSyn(path);
    if ((kind & TcpFlag.rst) !== 0) counters.resetsIgnored++;
    else this.#answers.reset(path, ip, tcp);
    return null;
  }

  /** A SYN of a new flow: the limits first, then the owner. */
  #handleSyn(path: PacketPath): TcpSession | null {
    const { inIp: ip, inTcp: tcp, counters } = this.#environment;
    const opened = this.#sessions.openPassive(path, ip, tcp);
    if (typeof opened === "string") {
      this.#answers.reset(path, ip, tcp);
      this.#owner.onSynRefused(path, ip, tcp.destinationPort, opened);
      return null;
    }
    const handler = this.#owner.onSyn(opened);
    if (handler === null) {
      counters.synRefusedByOwner++;
      refuseSession(opened);
      return null;
    }
    opened.handler = handler;
    return opened;
  }

  #handleUdp(path: PacketPath, memory: PacketMemory, length: number): void {
    const { inIp: ip, counters } = this.#environment;
    const udp = this.#udp;
    const verdict = decodeUdp(memory, ip, udp);
    if (verdict !== "ok") {
      counters[UDP_COUNTERS[verdict]]++;
      return;
    }
    let flow = this.#flows.find(path, ip, udp.destinationPort, udp.sourcePort);
    if (flow === null) {
      copyEnds(ip, this.#flowEnds, true);
      flow = this.#flows.open(path, this.#flowEnds, udp.destinationPort, udp.sourcePort);
      if (flow === null) return;
      flow.handler = this.#owner.onFlow(flow);
      if (flow.handler === null) {
        counters.udpRefusedByOwner++;
        this.#flows.end(flow, "closed");
        this.#answers.unreachable(path, ip, "port", memory, ip.offset, length);
        return;
      }
    }
    flow.lastPayloadBytes = udp.payloadBytes;
    this.#flows.touch(flow);
    flow.handler?.onDatagram(flow, memory, udp.payloadOffset, udp.payloadBytes);
  }
}
