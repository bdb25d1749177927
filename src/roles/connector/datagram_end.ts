/**
 * Where the packets of agents end: the network stack turns them into TCP sessions, UDP flows and echo requests, and those go
 * to the backends of the service that the packet belongs to, and nowhere else.
 *
 *   DATAGRAM ─► which service? ─► NetStack ─► SYN: tcp_session ─► backend
 *                                    │         first datagram: udp_session ─► backend
 *   connection ◄── end of the turn ◄─┘
 */
import {
  NetStack,
  type NetStackOwner,
  type PacketPath,
  type SynRefusedWhy,
  type TcpSession,
  type UdpFlow,
} from "../../core/netstack/mod.ts";
import { type Connection, EngineError } from "../../core/quic/mod.ts";
import {
  classifyFrame,
  copyEnds,
  endText,
  FrameKind,
  type IpEnds,
  IpHeader,
  IpProtocol,
  ROUTED_ID_AT,
  routedIdLength,
} from "../../core/wire/mod.ts";
import type { PacketTimesPlan, Plane } from "../control/mod.ts";
import { PacketPump, senderOfFlow, senderOfPath, SESSION_CHUNK_BYTES, type UplinkHub } from "../uplink/mod.ts";
import type { ConnectorMetric } from "./metrics.ts";
import * as limits from "./limits.ts";
import { type LinkOwner, type PacketLink, PacketLinks } from "./packet_links.ts";
import {
  destinationsText,
  isDestination,
  lackOfTargets,
  serves,
  type Service,
  type ServiceTable,
  targetsOf,
  udpTargetsOf,
} from "./services.ts";
import { SessionLog } from "./session_log.ts";
import { BackendSession, type SessionContext } from "./tcp_session.ts";
import { BackendFlow, type FlowContext } from "./udp_session.ts";

export interface DatagramEndOptions {
  readonly plane: Plane;
  readonly services: ServiceTable;
  readonly addressSlot: number;
  /** Null: those of the network stack. */
  readonly times: PacketTimesPlan | null;
  readonly count: (metric: ConnectorMetric, amount: number) => void;
  readonly hub: UplinkHub;
}

/** By what and from whom packets came: the connection to the server, or that of an agent. */
export interface PacketSource {
  /** The one agent behind it; null when packets of several come by it. */
  readonly owner: LinkOwner;
  /** Of its UDP flows: they are never shared with others that are answered the same way, as TCP sessions may be. */
  readonly flowOwner: LinkOwner;
  /** The service of packets that name none; null when they cannot be told. */
  serviceOfBare(view: DataView, offset: number, length: number): Service | null;
  mayReach(service: Service): boolean;
  /** Where replies go and in which form; null when there is no way back. */
  wayBack(service: Service, isWrapped: boolean): WayBack | null;
}

export interface WayBack {
  readonly connection: Connection;
  readonly isWrapped: boolean;
}

const ENTROPY_BYTES = 16;

/** Takes packets that are for the connector itself. */
export interface OwnPackets {
  /** A packet of an agent, at `offset` of the arena, that the server brought over the connection. Returns whether it was one. */
  take(connection: Connection, service: Service, offset: number, length: number, nowMs: number): boolean;
}

export class DatagramEnd implements NetStackOwner {
  readonly stack: NetStack;
  /** Null: there are none. */
  own: OwnPackets | null = null;
  readonly #options: DatagramEndOptions;
  readonly #links: PacketLinks;
  readonly #sessions = new Map<number, BackendSession>();
  readonly #flows = new Set<BackendFlow>();
  readonly #context: SessionContext & FlowContext;
  readonly #log: SessionLog;
  /** Where a packet is written before it is queued. */
  readonly #packetAt: number;
  readonly #echoEnds: IpEnds = new IpHeader();
  readonly #pump: PacketPump<readonly PacketLink[]>;

  constructor(options: DatagramEndOptions) {
    const { plane, addressSlot, count } = options;
    const { layout, reactor, entropy } = plane.platform;
    this.#options = options;
    this.#log = new SessionLog(plane);
    const seed = new Uint8Array(ENTROPY_BYTES);
    entropy(seed);
    this.stack = new NetStack(this, { entropy: seed, limits: limits.stackLimits(options.times), holdsData: true });
    this.#links = new PacketLinks(this.stack);
    this.#pump = new PacketPump({
      stack: this.stack,
      reactor,
      flush: (nowMs) => options.hub.endpoint.endTurn(nowMs),
      queueSome: (connection, links, most, nowMs) => this.#queueSome(connection, links, most, nowMs),
    });
    this.#packetAt = layout.reserve(2 * SESSION_CHUNK_BYTES);
    this.#context = {
      reactor,
      addressSlot,
      stack: this.stack,
      chunkAt: layout.reserve(2 * SESSION_CHUNK_BYTES),
      onBytes: (_fromSocket, bytes) => count("forwardedBytes", bytes),
      onDialled: () => count("tcpSessions", 1),
      onDialFailed: (session, failure) => {
        count("tcpErrors", 1);
        this.#log.dialFailed(session, failure);
      },
      onClosed: (session, why) => {
        this.#sessions.delete(session.session.id);
        if (why === "reset" || why === "timeout" || why === "unfinished") count("tcpErrors", 1);
        this.#log.closed(session, why);
      },
      sendPacket: (flow, offset, length) => {
        const link = this.#links.of(flow.path);
        if (link !== undefined) this.#send(link, senderOfFlow(flow), offset, length);
      },
      onDropped: () => count("droppedBackend", 1),
      onEnd: (flow) => void this.#flows.delete(flow),
    };
    reactor.onTurnEnd((nowMs) => this.#endTurn(nowMs));
  }

  get sessionCount(): number {
    return this.#sessions.size;
  }

  sessions(): Iterable<BackendSession> {
    return this.#sessions.values();
  }

  get flowCount(): number {
    return this.#flows.size;
  }

  flows(): Iterable<BackendFlow> {
    return this.#flows;
  }

  /** How many TCP sessions of a service there are. */
  sessionsOf(service: Service): number {
    let count = 0;
    for (const session of this.#sessions.values()) if (session.service === service) count++;
    return count;
  }

  /** How many TCP sessions have their packets carried by this connection. */
  sessionsOn(connection: Connection): number {
    let count = 0;
    for (const { session } of this.#sessions.values()) if (this.#links.of(session.path)?.connection === connection) count++;
    return count;
  }

  /** A DATAGRAM of a kind that carries packets. */
  onDatagram(source: PacketSource, offset: number, length: number, nowMs: number): void {
    const { services, count, plane } = this.#options;
    const { arena } = plane.platform.engine;
    const { bytes } = arena;
    const isWrapped = classifyFrame(bytes, offset, length) === FrameKind.routed;
    let headerBytes = 0;
    let service: Service | null;
    if (isWrapped) {
      const idLength = routedIdLength(bytes, offset, length);
      if (idLength === 0) return count("droppedMalformed", 1);
      headerBytes = ROUTED_ID_AT + idLength;
      service = services.named(bytes, offset + ROUTED_ID_AT, idLength);
    } else service = source.serviceOfBare(arena.view, offset, length);
    if (service === null) return count("droppedUnknownService", 1);
    if (!source.mayReach(service)) return count("droppedUnauthorised", 1);
    const back = source.wayBack(service, isWrapped);
    if (back === null) return count("droppedNoWayBack", 1);
    const isOwn = isWrapped && source.owner.agentKey === null &&
      this.own?.take(back.connection, service, offset + headerBytes, length - headerBytes, nowMs);
    if (isOwn === true) return;
    const isUdp = isUdpPacket(bytes, offset + headerBytes, length - headerBytes);
    const link = this.#links.open(back.connection, service, back.isWrapped, isUdp ? source.flowOwner : source.owner);
    this.stack.handlePacket(link.path, arena, offset + headerBytes, length - headerBytes, nowMs);
  }

  /** The connection is gone, and with it the sessions and flows whose packets went by it. */
  onDown(connection: Connection, nowMs: number): void {
    this.#links.close(connection, nowMs);
  }

  /** Ends what is left of a service that is offered no more. */
  endService(service: Service, nowMs: number): void {
    for (const one of [...this.#sessions.values()]) if (one.service === service) this.stack.abort(one.session, nowMs);
    this.#pumpAll(nowMs);
    this.#links.closeService(service, nowMs);
  }

  /** Ends every session with RST, and lets that leave. */
  abortAll(nowMs: number): void {
    for (const { session } of [...this.#sessions.values()]) this.stack.abort(session, nowMs);
    this.#pumpAll(nowMs);
  }

  onSyn(session: TcpSession): BackendSession | null {
    const { plane, count } = this.#options;
    const link = this.#links.of(session.path);
    if (link === undefined || plane.isStopping || !link.service.isOffered) return null;
    const { service } = link;
    if (!serves(service, "tcp") || !isDestination(service, session.ends, session.localPort)) {
      const dialled = endText(session.ends, "source");
      this.#log.refused(
        service,
        `TCP SYN to unexpected destination ${dialled}, expected ${destinationsText(service)}. Sending RST.`,
      );
      return null;
    }
    const targets = targetsOf(service);
    if (targets.length === 0) {
      count("tcpErrors", 1);
      this.#log.refused(service, `TCP SYN for ${service.id} refused: ${lackOfTargets(service)}`);
      return null;
    }
    const joined = new BackendSession(this.#context, session, service, targets);
    joined.start(plane.platform.reactor.nowMs);
    if (joined.isOver) return null;
    this.#sessions.set(session.id, joined);
    return joined;
  }

  onSynRefused(path: PacketPath, packet: IpEnds, _port: number, why: SynRefusedWhy): void {
    const service = this.#links.of(path)?.service;
    if (service !== undefined) this.#log.synRefused(service, packet, why, this.stack.limits);
  }

  onFlow(flow: UdpFlow): BackendFlow | null {
    const service = this.#links.of(flow.path)?.service;
    if (service === undefined || !service.isOffered) return null;
    if (!serves(service, "udp") || !isDestination(service, flow.ends, flow.localPort)) {
      this.#log.refused(service, `UDP datagram to unexpected destination ${endText(flow.ends, "source")}`);
      return null;
    }
    const { nowMs } = this.#options.plane.platform.reactor;
    const backend = new BackendFlow(this.#context, flow, service, udpTargetsOf(service, nowMs));
    if (!backend.open()) return null;
    this.#flows.add(backend);
    return backend;
  }

  answersEcho(path: PacketPath, packet: IpEnds): boolean {
    const service = this.#links.of(path)?.service;
    if (service === undefined) return false;
    copyEnds(packet, this.#echoEnds, true);
    return isDestination(service, this.#echoEnds, null);
  }

  onPathReady(_path: PacketPath): void {
    // Every turn ends with a look at all paths, of which there are few.
  }

  #endTurn(nowMs: number): void {
    this.stack.deliver(nowMs);
    this.#pumpAll(nowMs);
    this.#pump.endTurn();
  }

  /** Gives packets to the connections as long as they send them on. */
  #pumpAll(nowMs: number): void {
    for (const connection of this.#links.connections) {
      if (connection.isOver || !this.#links.hasWork(connection)) continue;
      this.#links.resize(connection);
      this.#pump.pump(connection, this.#links.linksOf(connection), nowMs);
    }
  }

  /** Queues up to `most` packets, of each path in turn, and returns how many. */
  #queueSome(connection: Connection, links: readonly PacketLink[], most: number, nowMs: number): number {
    const { arena } = this.#options.plane.platform.engine;
    let queued = 0;
    for (const { path, header } of links) {
      if (!path.isReady) continue;
      arena.bytes.set(header, this.#packetAt);
      const at = this.#packetAt + header.length;
      const sender = senderOfPath(path);
      while (queued < most && !this.#options.hub.holdsBack(connection, sender)) {
        const length = this.stack.pollPacket(path, arena, at, SESSION_CHUNK_BYTES, nowMs);
        if (length === 0) break;
        this.#options.hub.sendDatagram(connection, sender, this.#packetAt, header.length + length);
        queued++;
      }
    }
    return queued;
  }

  /** Queues a packet that was not polled. It is a datagram: it may be lost. */
  #send(link: PacketLink, sender: number, offset: number, length: number): void {
    const { connection, header } = link;
    if (connection.isOver) return;
    const { arena } = this.#options.plane.platform.engine;
    let from = offset;
    if (header.length > 0) {
      arena.bytes.set(header, this.#packetAt);
      arena.bytes.copyWithin(this.#packetAt + header.length, offset, offset + length);
      from = this.#packetAt;
    }
    const sent = this.#options.hub.sendDatagram(connection, sender, from, header.length + length);
    if (sent === EngineError.bufferTooShort) this.#options.count("droppedTooLarge", 1);
  }
}

const V4_PROTOCOL_AT = 9, V6_PROTOCOL_AT = 6;

/** Whether it looks like UDP; the network stack checks the rest. */
function isUdpPacket(bytes: Uint8Array, offset: number, length: number): boolean {
  const at = (bytes[offset] ?? 0) >> 4 === 4 ? V4_PROTOCOL_AT : V6_PROTOCOL_AT;
  return length > at && bytes[offset + at] === IpProtocol.udp;
}
