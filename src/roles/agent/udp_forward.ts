/**
 * A local UDP port that leads to one port of a service: every client, told by its address and port, has a flow of its own, which ends
 * when it was idle.
 *
 *   client ─► UDP port ─► its flow ─► packets to the service        service ─► flow ─► the client that began it
 */
import type { FlowEndWhy, FlowHandler, UdpFlow } from "../../core/netstack/mod.ts";
import type { PacketMemory } from "../../core/wire/mod.ts";
import type { IpEndpoint } from "../../io/mod.ts";
import type { ForwardPlan } from "../control/mod.ts";
import { ClientTable, copyAddress, type UdpClient } from "./client_table.ts";
import { type DatagramContext, LocalDatagrams } from "./local_datagrams.ts";

const NOTHING = new Uint8Array(0);

export class UdpForward {
  readonly service: string;
  readonly #context: DatagramContext;
  readonly #datagrams: LocalDatagrams;
  readonly #port: number;
  readonly #clients: ClientTable<ForwardClient>;

  /** Binds. Throws a PosternError that names the address. */
  constructor(context: DatagramContext, forward: ForwardPlan) {
    this.#context = context;
    this.service = forward.service;
    this.#clients = new ClientTable(Math.floor(context.plane.platform.random() * 0x7fff_ffff));
    this.#datagrams = new LocalDatagrams(context, forward.listen, (offset, length, from) => this.#take(offset, length, from));
    this.#port = forward.servicePort ?? this.bound.port;
  }

  get bound(): IpEndpoint {
    return this.#datagrams.bound;
  }

  close(): void {
    this.#datagrams.close();
  }

  #take(offset: number, length: number, from: number): void {
    const { view } = this.#context.plane.platform.engine.arena;
    const client = this.#clients.find(view, from) ?? this.#open(view, from);
    if (client !== null) this.#datagrams.send(client.flow, offset, length);
  }

  #open(view: DataView, from: number): ForwardClient | null {
    const { packets, plane, count, onFlows } = this.#context;
    const address = copyAddress(view, from);
    const handler: FlowHandler = {
      onDatagram: (_flow, memory: PacketMemory, at, bytes) => this.#datagrams.reply(client, NOTHING, memory, at, bytes),
      onUnreachable: (flow) => packets.stack.closeFlow(flow, plane.platform.reactor.nowMs),
      onEnd: (_flow: UdpFlow, _why: FlowEndWhy) => {
        this.#clients.remove(client);
        onFlows(-1);
      },
    };
    const flow = packets.openFlow(this.service, this.#port, handler, plane.platform.reactor.nowMs);
    if (flow === null) {
      count("droppedTooManyFlows", 1);
      return null;
    }
    const client: ForwardClient = { address, flow, nextClient: null };
    this.#clients.add(client);
    onFlows(1);
    return client;
  }
}

interface ForwardClient extends UdpClient {
  readonly flow: UdpFlow;
}
