/**
 * UDP flows: one for each pair of ends and ports, so that replies leave from the address and port that the agent sent to.
 * A flow lives while datagrams pass, and is bounded in number as a whole and for each agent. Datagrams are never copied
 * here: the owner gets them where they lie in the packet, and replies get their headers written in front of them.
 */
import { Timer } from "../../base/mod.ts";
import { copyEnds, encodeUdp, type IpEnds, IpHeader, type PacketMemory, udpHeadroomBytes } from "../wire/mod.ts";
import type { Account, Accounts } from "./accounts.ts";
import type { TcpEnvironment } from "./environment.ts";
import { FlowTable } from "./flow_table.ts";
import type { PacketPath } from "./path.ts";
import type { FlowNode } from "./tcp_session.ts";

export type FlowEndWhy = "idle" | "evicted" | "closed" | "path-closed";

/** What the owner of a flow is told. Calls may come from within any call to the stack; none may throw. */
export interface FlowHandler {
  /** One datagram's payload, possibly empty. Only valid during the call. */
  onDatagram(flow: UdpFlow, memory: PacketMemory, offset: number, length: number): void;
  /** The other end says that nobody listens there. */
  onUnreachable(flow: UdpFlow): void;
  /** The flow is over; said once and last. */
  onEnd(flow: UdpFlow, why: FlowEndWhy): void;
}

export class UdpFlow implements FlowNode {
  /** Never used twice. */
  readonly id: number;
  readonly path: PacketPath;
  /** From us to the agent: the source is the address that the agent sent to. */
  readonly ends: IpEnds = new IpHeader();
  readonly localPort: number;
  readonly remotePort: number;
  hash = 0;
  nextInBucket: FlowNode | null = null;
  handler: FlowHandler | null = null;
  account: Account | null = null;
  /** Neighbours in the account's order. */
  older: UdpFlow | null = null;
  newer: UdpFlow | null = null;
  readonly timer: Timer;
  lastMs: number;
  /** Payload bytes of the last datagram that came: what an ICMP error quotes. */
  lastPayloadBytes = 0;
  isEnded = false;

  constructor(id: number, path: PacketPath, ends: IpEnds, localPort: number, remotePort: number, nowMs: number, table: UdpFlows) {
    this.id = id;
    this.path = path;
    copyEnds(ends, this.ends, false);
    this.localPort = localPort;
    this.remotePort = remotePort;
    this.lastMs = nowMs;
    this.timer = new Timer((at) => table.onTimer(this, at));
  }
}

export class UdpFlows {
  readonly #table: FlowTable<UdpFlow>;
  readonly #environment: TcpEnvironment;
  readonly #accounts: Accounts;
  #nextId = 1;

  constructor(environment: TcpEnvironment, accounts: Accounts, seed: number) {
    this.#environment = environment;
    this.#accounts = accounts;
    this.#table = new FlowTable(environment.limits.udpFlowsMax, seed);
  }

  get size(): number {
    return this.#table.size;
  }

  find(path: PacketPath, packet: IpEnds, localPort: number, remotePort: number): UdpFlow | null {
    return this.#table.find(path, packet, localPort, remotePort);
  }

  /** A new flow, from us to the other end as `ends` say; null, and counted, when there is no room. */
  open(path: PacketPath, ends: IpEnds, localPort: number, remotePort: number): UdpFlow | null {
    const { limits, counters, nowMs } = this.#environment;
    const flow = new UdpFlow(this.#nextId, path, ends, localPort, remotePort, nowMs, this);
    copyEnds(ends, scratchEnds, true);
    const account = this.#accounts.open(path, scratchEnds);
    if (account !== null && account.flows >= limits.udpFlowsPerAgentMax && account.flowFirst !== null) {
      counters.udpFlowsEvicted++;
      this.end(account.flowFirst, "evicted");
    }
    if (account === null || this.#table.size >= limits.udpFlowsMax) {
      counters.udpRefusedFlows++;
      if (account !== null) this.#accounts.close(account);
      return null;
    }
    this.#nextId++;
    flow.account = account;
    account.flows++;
    append(account, flow);
    this.#table.add(flow);
    counters.udpFlowsOpened++;
    this.#environment.timers.set(flow.timer, nowMs + limits.udpFlowIdleMs);
    return flow;
  }

  /** A datagram passed, in either direction. */
  touch(flow: UdpFlow): void {
    flow.lastMs = this.#environment.nowMs;
    const { account } = flow;
    if (account === null || account.flowLast === flow) return;
    unlink(account, flow);
    append(account, flow);
  }

  end(flow: UdpFlow, why: FlowEndWhy): void {
    if (flow.isEnded) return;
    flow.isEnded = true;
    this.#environment.timers.cancel(flow.timer);
    this.#table.remove(flow);
    const { account } = flow;
    if (account !== null) {
      unlink(account, flow);
      account.flows--;
      flow.account = null;
      this.#accounts.close(account);
    }
    flow.handler?.onEnd(flow, why);
  }

  /** The flow's timer is not moved with every datagram: when it fires it looks how long the flow was really idle. */
  onTimer(flow: UdpFlow, nowMs: number): void {
    this.#environment.nowMs = nowMs;
    const idleAtMs = flow.lastMs + this.#environment.limits.udpFlowIdleMs;
    if (idleAtMs > nowMs) {
      this.#environment.timers.set(flow.timer, idleAtMs);
      return;
    }
    this.#environment.counters.udpFlowsExpired++;
    this.end(flow, "idle");
  }

  endAll(path: PacketPath): void {
    for (const flow of this.#table.all()) {
      if (flow.path === path) this.end(flow, "path-closed");
    }
  }

  /**
   * Writes the headers of a reply at `packetOffset`; its payload lies {@linkcode udpHeadroomBytes} behind. Returns the packet's
   * length, or 0, counted, when the flow is over or the packet is larger than its path carries.
   */
  frame(flow: UdpFlow, memory: PacketMemory, packetOffset: number, payloadBytes: number): number {
    const { counters } = this.#environment;
    if (flow.isEnded || flow.path.isClosed) return 0;
    if (udpHeadroomBytes(flow.ends.isIpv4) + payloadBytes > flow.path.maxBytes) {
      counters.udpTooBig++;
      return 0;
    }
    this.touch(flow);
    counters.packetsSent++;
    return encodeUdp(memory, packetOffset, flow.ends, flow.localPort, flow.remotePort, payloadBytes);
  }
}

const scratchEnds = new IpHeader();

function append(account: Account, flow: UdpFlow): void {
  flow.older = account.flowLast;
  flow.newer = null;
  if (account.flowLast === null) account.flowFirst = flow;
  else account.flowLast.newer = flow;
  account.flowLast = flow;
}

function unlink(account: Account, flow: UdpFlow): void {
  if (flow.older === null) account.flowFirst = flow.newer;
  else flow.older.newer = flow.newer;
  if (flow.newer === null) account.flowLast = flow.older;
  else flow.newer.older = flow.older;
  flow.older = flow.newer = null;
}
