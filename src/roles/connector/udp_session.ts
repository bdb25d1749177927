/**
 * One UDP flow of an agent with a socket of its own, connected to the backend: what comes back can only be the flow's, and
 * leaves from the address that the agent sent to. A backend that refuses hands the flow over to the next of the service; when all
 * have refused, the agent hears it.
 */
import type { FlowEndWhy, FlowHandler, NetStack, UdpFlow } from "../../core/netstack/mod.ts";
import { type PacketMemory, udpHeadroomBytes } from "../../core/wire/mod.ts";
import { DATAGRAM_AGAIN, type DatagramOwner, DatagramSocket, writeSockaddr } from "../../io/mod.ts";
import type { DialContext } from "./backend_dial.ts";
import { FLOW_TURN_DATAGRAMS, UDP_PAYLOAD_MAX_BYTES } from "./limits.ts";
import type { DialTarget, Service } from "./services.ts";

const ECONNREFUSED = 111, EMSGSIZE = 90;

/** What all flows share. */
export interface FlowContext extends DialContext {
  readonly stack: NetStack;
  /** Offset of a chunk that is used within one call only. */
  readonly chunkAt: number;
  readonly onBytes: (fromSocket: boolean, bytes: number) => void;
  /** Offers a packet that lies at `offset` for the flow's path. What cannot be sent now is dropped. */
  readonly sendPacket: (flow: UdpFlow, offset: number, length: number) => void;
  readonly onDropped: () => void;
  readonly onEnd: (flow: BackendFlow) => void;
}

export class BackendFlow implements FlowHandler, DatagramOwner {
  readonly flow: UdpFlow;
  readonly service: Service;
  readonly openedMs: number;
  bytesToBackend = 0;
  bytesFromBackend = 0;
  readonly #context: FlowContext;
  readonly #targets: readonly DialTarget[];
  #next = 0;
  /** Targets that have refused since one answered. */
  #refusals = 0;
  #socket: DatagramSocket | null = null;

  /** `targets`: best first. */
  constructor(context: FlowContext, flow: UdpFlow, service: Service, targets: readonly DialTarget[]) {
    this.openedMs = context.reactor.nowMs;
    this.#context = context;
    this.#targets = targets;
    this.flow = flow;
    this.service = service;
  }

  /** The backend's address that datagrams go to. */
  get target(): DialTarget | null {
    return this.#targets[this.#next] ?? null;
  }

  /** Opens the socket to the first of the targets that the kernel knows a way to. False when there is none. */
  open(): boolean {
    for (; this.#next < this.#targets.length; this.#next++) if (this.#connect()) return true;
    return false;
  }

  onDatagram(_flow: UdpFlow, memory: PacketMemory, offset: number, length: number): void {
    const { reactor, chunkAt } = this.#context;
    const { arena } = reactor.libc;
    let at = offset;
    if (memory.bytes.buffer !== arena.bytes.buffer) {
      arena.bytes.set(memory.bytes.subarray(offset, offset + length), chunkAt);
      at = chunkAt;
    }
    let failure = this.#socket?.send(at, length) ?? DATAGRAM_AGAIN;
    // An error of the datagram before is said by this one, which was not sent then: once more, to whom the flow belongs now.
    if (failure === ECONNREFUSED) {
      this.onError(failure, reactor.nowMs);
      failure = this.#socket?.send(at, length) ?? DATAGRAM_AGAIN;
    }
    if (failure === 0) {
      this.bytesToBackend += length;
      this.#context.onBytes(false, length);
    } else this.#context.onDropped();
  }

  onReadable(nowMs: number): void {
    const { stack, reactor, chunkAt } = this.#context;
    const { arena } = reactor.libc;
    const { flow } = this;
    const payloadAt = chunkAt + udpHeadroomBytes(flow.ends.isIpv4);
    for (let i = 0; i < FLOW_TURN_DATAGRAMS; i++) {
      const count = this.#socket?.receive(payloadAt, UDP_PAYLOAD_MAX_BYTES, nowMs) ?? -1;
      if (count < 0) return;
      this.#answered();
      const length = stack.frameDatagram(flow, arena, chunkAt, count, nowMs);
      if (length === 0) continue;
      this.bytesFromBackend += count;
      this.#context.onBytes(true, count);
      this.#context.sendPacket(flow, chunkAt, length);
    }
  }

  onError(errno: number, nowMs: number): void {
    if (errno === ECONNREFUSED) this.#refused(nowMs);
    else if (errno !== EMSGSIZE) this.#context.onDropped();
  }

  onUnreachable(flow: UdpFlow): void {
    this.#context.stack.closeFlow(flow, this.#context.reactor.nowMs);
  }

  onEnd(_flow: UdpFlow, _why: FlowEndWhy): void {
    this.#socket?.close();
    this.#context.onEnd(this);
  }

  /** Nobody listens there: the next one, and after the last of them the first again. */
  #refused(nowMs: number): void {
    const { stack } = this.#context;
    const { target } = this;
    if (target !== null) target.backend.udpRefusedMs = nowMs;
    this.#context.onDropped();
    this.#refusals++;
    if (this.#refusals >= this.#targets.length) {
      this.#refusals = 0;
      stack.flowRefused(this.flow, nowMs);
    }
    if (this.#targets.length === 1) return;
    this.#socket?.close();
    this.#socket = null;
    for (let tries = this.#targets.length; tries > 0; tries--) {
      this.#next = (this.#next + 1) % this.#targets.length;
      if (this.#connect()) return;
    }
    stack.closeFlow(this.flow, nowMs);
  }

  #answered(): void {
    if (this.#refusals === 0) return;
    this.#refusals = 0;
    const { target } = this;
    if (target !== null) target.backend.udpRefusedMs = -Infinity;
  }

  #connect(): boolean {
    const { reactor, addressSlot } = this.#context;
    const { target } = this;
    if (target === null) return false;
    writeSockaddr(reactor.libc.arena, addressSlot, target);
    const socket = DatagramSocket.connect(reactor, addressSlot, this);
    if (typeof socket === "number") return false;
    this.#socket = socket;
    return true;
  }
}
