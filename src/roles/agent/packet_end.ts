/**
 * The agent's end of what travels in packets: the network stack makes packets of datagrams and bytes for a service's inner address,
 * and takes those that come back. They leave on the one connection to the server, for services that are registered there (WIRE 4);
 * until the server has answered, a few packets of each service wait.
 *
 *   datagram, bytes ─► NetStack ─► waiting (not registered yet) ─► DATAGRAM
 *   local client ◄── flow, session ◄── NetStack ◄── which service? ◄── DATAGRAM
 */
import {
  type FlowHandler,
  NetStack,
  type NetStackOwner,
  type PacketPath,
  type SessionHandler,
  type TcpSession,
  type UdpFlow,
} from "../../core/netstack/mod.ts";
import { type Connection, EngineError } from "../../core/quic/mod.ts";
import { ALPN_V2, ROUTED_ID_AT, routedIdLength, udpHeadroomBytes } from "../../core/wire/mod.ts";
import type { Plane } from "../control/mod.ts";
import {
  GUEST_SENDER,
  PacketPump,
  Registrar,
  REGISTRATION_FRAME_BYTES,
  type RegistrationReport,
  senderOfFlow,
  senderOfPath,
  type UplinkHub,
} from "../uplink/mod.ts";
import * as limits from "./limits.ts";
import type { AgentMetric } from "./metrics.ts";
import { DirectPackets } from "./direct_packets.ts";
import { type PacketLink, PacketLinks } from "./packet_links.ts";
import type { AgentService, AgentServices } from "./services.ts";

export interface PacketEndOptions {
  readonly plane: Plane;
  readonly services: AgentServices;
  readonly count: (metric: AgentMetric, amount: number) => void;
  readonly hub: UplinkHub;
  /** The server has answered a registration. */
  readonly onAnswered: (isAcknowledged: boolean, nowMs: number) => void;
}

/** Takes packets that are not for our own network stack. */
export interface PacketGuest {
  /** A packet of the service, at `offset` of the arena. Returns whether it was the guest's. */
  take(service: AgentService, offset: number, length: number): boolean;
  /** The connection's packets may have another size now. */
  fit(connection: Connection): void;
}

/** Takes packets of connectors themselves. */
export interface OwnPackets {
  /** A packet of the service, at `offset` of the arena. Returns whether it was one. */
  take(service: AgentService, offset: number, length: number, nowMs: number): boolean;
}

const ENTROPY_BYTES = 16;
/** Ports of our own side (RFC 6335 §6). */
const PORT_FIRST = 49_152, PORTS = 16_384;
/** So many taken ports in a row are passed over. */
const PORT_TRIES = 64;
const IPV4_SOURCE_AT = 12, IPV4_HEADER_BYTES = 20;

export class PacketEnd implements NetStackOwner {
  readonly stack: NetStack;
  /** Null while nobody but our own stack has packets. */
  guest: PacketGuest | null = null;
  /** Null while no connector has anything to tell us. */
  own: OwnPackets | null = null;
  readonly #options: PacketEndOptions;
  readonly #registrar: Registrar;
  readonly #links: PacketLinks;
  readonly #byPath = new Map<PacketPath, PacketLink>();
  /** What goes to connectors themselves. */
  readonly direct: DirectPackets;
  /** Where a packet is written before it is queued. */
  readonly #packetAt: number;
  readonly #pump: PacketPump<PacketLinks>;
  #connection: Connection | null = null;
  #nextPort: number;

  constructor(options: PacketEndOptions) {
    const { plane, onAnswered } = options;
    const { layout, reactor, entropy, random } = plane.platform;
    this.#options = options;
    const seed = new Uint8Array(ENTROPY_BYTES);
    entropy(seed);
    this.stack = new NetStack(this, {
      entropy: seed,
      // One agent, one inner source: what bounds others' agents would bound ours twice.
      limits: {
        sessionsMax: limits.CONNECTIONS_MAX,
        sessionsPerAgentMax: limits.CONNECTIONS_MAX,
        udpFlowsMax: limits.UDP_FLOWS_MAX,
        udpFlowsPerAgentMax: limits.UDP_FLOWS_MAX,
      },
    });
    this.#registrar = new Registrar({
      plane,
      role: "agent",
      frameAt: layout.reserve(REGISTRATION_FRAME_BYTES),
      onAnswered: (isAcknowledged, nowMs) => {
        onAnswered(isAcknowledged, nowMs);
        this.#releaseWaiting();
      },
    });
    this.#links = new PacketLinks(this.stack, this.#byPath);
    this.direct = new DirectPackets(this.stack, this.#byPath);
    this.#pump = new PacketPump({
      stack: this.stack,
      reactor,
      flush: (nowMs) => options.hub.endpoint.endTurn(nowMs),
      queueSome: (connection, links, most, nowMs) => this.#queueSome(connection, links, most, nowMs),
    });
    this.#packetAt = layout.reserve(limits.PACKET_MAX_BYTES);
    this.#nextPort = Math.floor(random() * PORTS);
    reactor.onTurnEnd((nowMs) => this.#endTurn(nowMs));
  }

  /** How far the service's registration is; null when nobody asked for it. */
  registrationOf(service: string): RegistrationReport | null {
    return this.#registrar.reportOf(service);
  }

  /** The service should be registered, now and on every later connection. False when there are too many services. */
  register(service: string, nowMs: number): boolean {
    if (this.#options.services.keep(service) === null) return false;
    this.#registrar.add(service, nowMs);
    return true;
  }

  /** The service should be registered as long as there is room. False when there is none. */
  request(service: string, nowMs: number): boolean {
    return this.#linkTo(service, nowMs) !== null;
  }

  /** A connection to the server stands; what it says may still be that it refuses us. */
  begin(connection: Connection, nowMs: number): void {
    this.#connection = connection;
    this.#links.begin(connection);
    this.#registrar.begin(connection, nowMs);
  }

  /** The connection is gone. Sessions and flows outlive it: they go on over the next one. */
  end(): void {
    this.#connection = null;
    this.#registrar.end();
    this.#options.count("droppedWaiting", this.#links.forgetWaiting());
  }

  /** An ACK or NACK. */
  onReply(offset: number, length: number, nowMs: number): void {
    this.#registrar.onReply(offset, length, nowMs);
  }

  /** A DATAGRAM of a kind that carries packets. Returns whether it was one of a service of ours. */
  onDatagram(isRouted: boolean, offset: number, length: number, nowMs: number): boolean {
    const { services, plane } = this.#options;
    const { arena } = plane.platform.engine;
    let headerBytes = 0;
    let service = null;
    if (isRouted) {
      const idLength = routedIdLength(arena.bytes, offset, length);
      if (idLength > 0) service = services.named(arena.bytes, offset + ROUTED_ID_AT, idLength);
      headerBytes = ROUTED_ID_AT + idLength;
    } else if (length >= IPV4_HEADER_BYTES) service = services.at(arena.view.getInt32(offset + IPV4_SOURCE_AT));
    if (service === null) return false;
    if (isRouted && this.own?.take(service, offset + headerBytes, length - headerBytes, nowMs) === true) return true;
    if (this.guest?.take(service, offset + headerBytes, length - headerBytes) === true) {
      this.#options.count("packetsReceived", 1);
      return true;
    }
    const link = this.#links.find(service);
    if (link === undefined) return false;
    this.#options.count("packetsReceived", 1);
    this.stack.handlePacket(link.path, arena, offset + headerBytes, length - headerBytes, nowMs);
    return true;
  }

  /** The connection by which packets that name the service can go both ways now (WIRE 5.5); null when there is none. */
  wayOf(id: string): { readonly connection: Connection; readonly service: AgentService } | null {
    const service = this.#options.services.open(id);
    const connection = this.#connection;
    if (service === null || connection === null || this.#registrar.stateOf(id) !== "registered") return null;
    if (connection.engine.applicationProtocol() !== ALPN_V2) return null;
    return { connection, service };
  }

  /** A DATAGRAM with a packet on a direct connection. Returns whether it was one of a flow of ours. */
  onDirectDatagram(connection: Connection, offset: number, length: number, nowMs: number): boolean {
    const { arena } = this.#options.plane.platform.engine;
    const idLength = routedIdLength(arena.bytes, offset, length);
    const service = idLength === 0 ? null : this.#options.services.named(arena.bytes, offset + ROUTED_ID_AT, idLength);
    const link = service === null ? undefined : this.direct.moved(connection, nowMs)?.links.find(service);
    if (link === undefined) return false;
    this.#options.count("packetsReceived", 1);
    const headerBytes = ROUTED_ID_AT + idLength;
    this.stack.handlePacket(link.path, arena, offset + headerBytes, length - headerBytes, nowMs);
    return true;
  }

  /** Whether packets of the guest can leave now; without a connection they are dropped, so that their senders notice. */
  get hasRoom(): boolean {
    return this.#connection === null || this.#connection.isOver || !this.#options.hub.holdsBack(this.#connection, GUEST_SENDER);
  }

  /** Whether the server has refused the service. */
  isDenied(service: AgentService): boolean {
    return this.#registrar.stateOf(service.id) === "denied";
  }

  /** Sends the guest's packet at `offset`, in front of which there is room for a ROUTED header. */
  forward(service: AgentService, offset: number, length: number): boolean {
    const link = this.#links.open(service);
    return this.#offer(link, GUEST_SENDER, offset - link.header.length, length);
  }

  /** Begins a UDP flow to a port of the service. Null when a bound is reached. */
  openFlow(id: string, port: number, handler: FlowHandler, nowMs: number): UdpFlow | null {
    const relayed = this.#linkTo(id, nowMs);
    if (relayed === null) return null;
    const { service } = relayed;
    if (this.#isRegistered(relayed)) this.direct.ways?.accepted(id, nowMs);
    const { path } = this.direct.linkFor(service, nowMs) ?? relayed;
    return this.#withPort((own) => this.stack.openFlow(path, service.ends, own, port, handler, nowMs));
  }

  /** Begins a TCP connection to a port of the service. Null when a bound is reached. */
  connect(id: string, port: number, handler: SessionHandler, nowMs: number): TcpSession | null {
    const link = this.#linkTo(id, nowMs);
    if (link === null) return null;
    const { path, service } = link;
    return this.#withPort((own) => this.stack.connect(path, service.ends, own, port, handler, nowMs));
  }

  /** Sends one datagram of a flow, whose payload lies at `offset` of the arena. What cannot be sent is dropped and counted. */
  sendDatagram(flow: UdpFlow, offset: number, length: number, nowMs: number): boolean {
    const link = this.#byPath.get(flow.path);
    if (link === undefined) return false;
    const { arena } = this.#options.plane.platform.engine;
    const packetAt = this.#packetAt + link.header.length;
    const payloadAt = packetAt + udpHeadroomBytes(flow.ends.isIpv4);
    if (payloadAt + length > this.#packetAt + limits.PACKET_MAX_BYTES) return this.#drop("droppedTooLarge");
    arena.bytes.copyWithin(payloadAt, offset, offset + length);
    const packetBytes = this.stack.frameDatagram(flow, arena, packetAt, length, nowMs);
    return packetBytes === 0 ? this.#drop("droppedTooLarge") : this.#offer(link, senderOfFlow(flow), this.#packetAt, packetBytes);
  }

  onSyn(): null {
    return null;
  }

  onSynRefused(): void {
    // Nobody may dial an agent.
  }

  onFlow(): null {
    return null;
  }

  answersEcho(): boolean {
    return false;
  }

  onPathReady(_path: PacketPath): void {
    // Every turn ends with a look at all paths, of which there are few.
  }

  #linkTo(id: string, nowMs: number): PacketLink | null {
    const { services } = this.#options;
    const service = services.open(id) ?? (this.#forgetDenied(nowMs) ? services.open(id) : null);
    if (service === null) return null;
    this.#registrar.add(id, nowMs);
    return this.#links.open(service);
  }

  /** Local programs may name what they like: what the server denied makes room for the next. Returns whether there was such a one. */
  #forgetDenied(nowMs: number): boolean {
    const { services } = this.#options;
    for (const service of services.all()) {
      if (services.isKept(service) || this.#registrar.stateOf(service.id) !== "denied") continue;
      this.#registrar.remove(service.id);
      this.#links.close(service, nowMs);
      this.direct.forget(service, nowMs);
      services.forget(service);
      return true;
    }
    return false;
  }

  #withPort<T>(open: (port: number) => T | null): T | null {
    for (let i = 0; i < PORT_TRIES; i++) {
      const port = PORT_FIRST + this.#nextPort;
      this.#nextPort = (this.#nextPort + 1) % PORTS;
      const opened = open(port);
      if (opened !== null) return opened;
    }
    return null;
  }

  #isRegistered({ service }: PacketLink): boolean {
    return this.#connection !== null && this.#registrar.stateOf(service.id) === "registered";
  }

  /** Sends the packet that lies behind the room for its header at `at`, or has it wait for the answer to the registration. */
  #offer(link: PacketLink, sender: number, at: number, packetBytes: number): boolean {
    if (link.connection !== null || this.#isRegistered(link)) return this.#send(link, sender, at, packetBytes);
    const { arena } = this.#options.plane.platform.engine;
    if (this.#connection === null) return this.#drop("droppedNoUplink");
    if (this.#registrar.stateOf(link.service.id) !== "pending") return this.#drop("droppedDenied");
    this.#options.count("droppedWaiting", this.#links.wait(link, arena.bytes, at + link.header.length, packetBytes));
    return true;
  }

  #send(link: PacketLink, sender: number, at: number, packetBytes: number): boolean {
    const connection = link.connection ?? this.#connection;
    if (connection === null || connection.isOver) return this.#drop("droppedNoUplink");
    if (link.connection !== null) {
      this.direct.moved(connection, this.#options.plane.platform.reactor.nowMs);
      this.#options.count("packetsDirect", 1);
    }
    this.#options.plane.platform.engine.arena.bytes.set(link.header, at);
    const sent = this.#options.hub.sendDatagram(connection, sender, at, link.header.length + packetBytes);
    if (sent === EngineError.bufferTooShort) return this.#drop("droppedTooLarge");
    // What waits is counted when it leaves, and what finds no room by who has none.
    if (sent === 0) this.#options.count("packetsSent", 1);
    return sent >= 0;
  }

  #drop(reason: AgentMetric): false {
    this.#options.count(reason, 1);
    return false;
  }

  /** The server has answered: what waited for a service leaves, or is lost. */
  #releaseWaiting(): void {
    const { arena } = this.#options.plane.platform.engine;
    for (const link of this.#links.all()) {
      if (link.waiting.count === 0 || this.#registrar.stateOf(link.service.id) === "pending") continue;
      const isRegistered = this.#isRegistered(link);
      if (isRegistered) this.direct.ways?.accepted(link.service.id, this.#options.plane.platform.reactor.nowMs);
      while (link.waiting.count > 0) {
        const length = link.waiting.take(arena, this.#packetAt + link.header.length, limits.PACKET_MAX_BYTES - link.header.length);
        if (isRegistered && length > 0) this.#send(link, senderOfPath(link.path), this.#packetAt, length);
        else this.#drop("droppedDenied");
      }
    }
  }

  #endTurn(nowMs: number): void {
    const connection = this.#connection;
    if (connection !== null && !connection.isOver) {
      this.#links.resize(connection);
      this.guest?.fit(connection);
      this.#pump.pump(connection, this.#links, nowMs);
    }
    for (const { connection, links } of this.direct.all()) {
      if (connection.isOver) continue;
      links.resize(connection);
      this.#pump.pump(connection, links, nowMs);
    }
    this.#pump.endTurn();
  }

  /** Queues up to `most` packets, of each path in turn, and returns how many. */
  #queueSome(connection: Connection, links: PacketLinks, most: number, nowMs: number): number {
    const { arena } = this.#options.plane.platform.engine;
    let queued = 0;
    for (const link of links.all()) {
      if (!link.path.isReady || link.connection === null && !this.#isRegistered(link)) continue;
      const room = limits.PACKET_MAX_BYTES - link.header.length;
      const sender = senderOfPath(link.path);
      while (queued < most && !this.#options.hub.holdsBack(connection, sender)) {
        const length = this.stack.pollPacket(link.path, arena, this.#packetAt + link.header.length, room, nowMs);
        if (length === 0) break;
        this.#send(link, sender, this.#packetAt, length);
        queued++;
      }
    }
    return queued;
  }
}
