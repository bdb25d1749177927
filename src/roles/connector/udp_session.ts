/**
 * One UDP flow of an agent with a socket of its own, connected to the backend: what comes back can only be the flow's, and
 * leaves from the address that the agent sent to.
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
  readonly onBytes: (bytes: number) => void;
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
  /** The backend's address. */
  target: DialTarget | null = null;
  readonly #context: FlowContext;
  #socket: DatagramSocket | null = null;

  constructor(context: FlowContext, flow: UdpFlow, service: Service) {
    this.openedMs = context.reactor.nowMs;
    this.#context = context;
    this.flow = flow;
    this.service = service;
  }

  /** Opens the socket to the first of the targets that the kernel knows a way to. Returns 0 or the last errno. */
  open(targets: readonly DialTarget[]): number {
    const { reactor, addressSlot } = this.#context;
    let failure = ECONNREFUSED;
    for (const target of targets) {
      writeSockaddr(reactor.libc.arena, addressSlot, target);
      const socket = DatagramSocket.connect(reactor, addressSlot, this);
      if (typeof socket !== "number") {
        this.#socket = socket;
        this.target = target;
        return 0;
      }
      failure = socket;
    }
    return failure;
  }

  onDatagram(_flow: UdpFlow, memory: PacketMemory, offset: number, length: number): void {
    const { reactor, chunkAt } = this.#context;
    const { arena } = reactor.libc;
    let at = offset;
    if (memory.bytes.buffer !== arena.bytes.buffer) {
      arena.bytes.set(memory.bytes.subarray(offset, offset + length), chunkAt);
      at = chunkAt;
    }
    // An error of the datagram before is said by this one, which was not sent then: once more.
    let failure = this.#socket?.send(at, length) ?? DATAGRAM_AGAIN;
    if (failure === ECONNREFUSED) {
      this.onError(failure, reactor.nowMs);
      failure = this.#socket?.send(at, length) ?? DATAGRAM_AGAIN;
    }
    if (failure === 0) {
      this.bytesToBackend += length;
      this.#context.onBytes(length);
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
      const length = stack.frameDatagram(flow, arena, chunkAt, count, nowMs);
      if (length === 0) continue;
      this.bytesFromBackend += count;
      this.#context.onBytes(count);
      this.#context.sendPacket(flow, chunkAt, length);
    }
  }

  onError(errno: number, nowMs: number): void {
    if (errno === ECONNREFUSED) this.#context.stack.flowRefused(this.flow, nowMs);
    else if (errno !== EMSGSIZE) this.#context.onDropped();
  }

  onUnreachable(flow: UdpFlow): void {
    this.#context.stack.closeFlow(flow, this.#context.reactor.nowMs);
  }

  onEnd(_flow: UdpFlow, _why: FlowEndWhy): void {
    this.#socket?.close();
    this.#context.onEnd(this);
  }
}
