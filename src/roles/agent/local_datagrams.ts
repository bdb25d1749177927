/**
 * Local UDP: the sockets on which clients of this machine send datagrams, and the way back to them. Every client has a flow of its own
 * (`udp_forward`, `proxy`), which lives while datagrams pass. Nothing is queued here: what a full socket does not take is
 * dropped and counted, as UDP is.
 */
import type { UdpFlow } from "../../core/netstack/mod.ts";
import type { PacketMemory } from "../../core/wire/mod.ts";
import { type IpEndpoint, SOCKADDR_SLOT_BYTES, UdpSocket } from "../../io/mod.ts";
import type { Plane } from "../control/mod.ts";
import type { UdpClient } from "./client_table.ts";
import { LOCAL_UDP_SOCKET } from "./limits.ts";
import type { AgentMetric } from "./metrics.ts";
import type { PacketEnd } from "./packet_end.ts";

/** What all local UDP sockets share. */
export interface DatagramContext {
  readonly plane: Plane;
  readonly packets: PacketEnd;
  readonly count: (metric: AgentMetric, amount: number) => void;
  /** A flow of a local client began (1) or ended (-1). */
  readonly onFlows: (change: 1 | -1) => void;
}

/** One local UDP socket. */
export class LocalDatagrams {
  readonly #context: DatagramContext;
  readonly #socket: UdpSocket;
  readonly #toSlot: number;
  #hasUnsent = false;

  /** `onDatagram` gets the offset and length of the payload and the slot of the sender's address, valid during the call. */
  constructor(context: DatagramContext, listen: IpEndpoint, onDatagram: (offset: number, length: number, from: number) => void) {
    const { reactor, layout } = context.plane.platform;
    this.#context = context;
    this.#toSlot = layout.reserve(SOCKADDR_SLOT_BYTES);
    const receive = (_socket: UdpSocket, offset: number, length: number, from: number) => onDatagram(offset, length, from);
    this.#socket = new UdpSocket(reactor, layout, listen, LOCAL_UDP_SOCKET, receive, () => {});
    context.plane.noteBuffers(this.#socket, LOCAL_UDP_SOCKET.kernelBufferBytes);
    reactor.onTurnEnd(() => this.#flush());
  }

  get bound(): IpEndpoint {
    return this.#socket.bound;
  }

  /** Sends a payload that came from a service to the client, behind `prefix`. */
  reply(client: UdpClient, prefix: Uint8Array, memory: PacketMemory, offset: number, length: number): void {
    const { arena } = this.#context.plane.platform.engine;
    const at = this.#socket.room(prefix.length + length);
    if (at < 0) return this.#context.count("droppedLocal", 1);
    arena.bytes.set(prefix, at);
    if (memory.bytes.buffer === arena.bytes.buffer) arena.bytes.copyWithin(at + prefix.length, offset, offset + length);
    else arena.bytes.set(memory.bytes.subarray(offset, offset + length), at + prefix.length);
    for (let i = 0; i < SOCKADDR_SLOT_BYTES; i += 4) arena.view.setInt32(this.#toSlot + i, client.address.getInt32(i));
    this.#socket.commit(prefix.length + length, this.#toSlot);
    this.#context.count("datagramBytesReceived", length);
    this.#hasUnsent = true;
  }

  /** Sends a payload of a local client on its flow. */
  send(flow: UdpFlow, offset: number, length: number): void {
    const { packets, plane, count } = this.#context;
    if (packets.sendDatagram(flow, offset, length, plane.platform.reactor.nowMs)) count("datagramBytesSent", length);
  }

  close(): void {
    this.#socket.close();
  }

  #flush(): void {
    if (!this.#hasUnsent) return;
    this.#hasUnsent = false;
    this.#socket.flush();
  }
}
