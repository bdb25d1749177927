/**
 * A worker of the server that carries connections and decides nothing: handshakes, packets and streams' flow control happen here, what
 * comes out of them goes to worker 0 by a ring, and what that has to say comes back by another.
 *
 *   packets ⇄ endpoint ⇄ CarriedStreams, datagrams ⇄ link ⇄ worker 0 (remote_connections.ts): who, may, where to
 */
import type { MetricCells } from "../../../base/mod.ts";
import {
  type AcceptPolicy,
  type Connection,
  type Ending,
  type Endpoint,
  type EndpointHandler,
  EngineError,
  type PacketPath,
  type RetryTokenProblem,
  steeringProgram,
} from "../../../core/quic/mod.ts";
import { ALPN_V2, CloseCode, PROOF_EXPORTER } from "../../../core/wire/mod.ts";
import { SOCKADDR_SLOT_BYTES, type UdpSocket } from "../../../io/mod.ts";
import {
  type Departures,
  GracefulEnd,
  HandshakeWatch,
  type Plane,
  type PlaneCommand,
  type RolePlane,
  SampledLog,
  type ServerPlan,
  socketAddressBytes,
  socketAddressText,
  WorkerCells,
  type WorkerGroup,
} from "../../control/mod.ts";
import { publishDepartures, publishTransport } from "../gauges.ts";
import { noteRefusedConnection } from "../identification.ts";
import * as limits from "../limits.ts";
import type { SERVER_METRICS, ServerMetric } from "../metrics.ts";
import { ServerRules } from "../rules.ts";
import { bindSockets, createDepartures, createEndpoint, payloadBytes } from "../transport.ts";
import { CarriedStreams } from "./carried_streams.ts";
import { LinkInbox, openLink, steeringOf } from "./group.ts";
import type { Link } from "./link.ts";
import {
  ASKED_AT,
  type Close,
  type Established,
  FACTS,
  KIND_MASK,
  packetRecord,
  RecordKind,
  STREAM_BEGINS,
  STREAM_ENDS,
} from "./records.ts";

/** Of a long header: flags, which differ in protected bits, version, the length of the destination ID, and the longest of those. */
const CLIENT_BYTES = 26;

interface Carried {
  readonly connection: Connection;
  readonly streams: CarriedStreams;
  datagramMax: number;
  streamsTotal: number;
  toldMs: number;
}

interface Packet {
  readonly socket: number;
  readonly offset: number;
  readonly length: number;
  /** It came by worker 0. */
  readonly isHandedOver: boolean;
}

export class CarrierPlane implements EndpointHandler, RolePlane, AcceptPolicy {
  readonly #plane: Plane;
  readonly #counters: MetricCells<typeof SERVER_METRICS>;
  readonly #rules: ServerRules;
  readonly #log: SampledLog;
  readonly #handshakes: HandshakeWatch;
  readonly #endpoint: Endpoint;
  readonly #departures: Departures;
  readonly #sockets: UdpSocket[];
  readonly #worker: number;
  readonly #cells: WorkerCells;
  readonly #link: Link;
  readonly #inbox: LinkInbox;
  readonly #end: GracefulEnd;
  readonly #carried = new Map<number, Carried>();
  /** Tickets of connections whose handshake has not ended. */
  readonly #tickets = new Map<Connection, number>();
  /** Clients for which worker 0 was asked a moment ago. */
  readonly #asked = new Set<string>();
  readonly #packetAt: number;
  readonly #addressAt: number;
  readonly #chunkAt: number;
  readonly #facts = new Float64Array(FACTS.length);
  /** The packet that the endpoint is looking at, and the ticket that came with it. */
  #packet: Packet = { socket: 0, offset: 0, length: 0, isHandedOver: false };
  #ticket = 0;
  #isAccepting = true;
  #publishedMs = 0;

  /** Throws a PosternError when it cannot bind, or the TLS material does not fit. */
  constructor(plane: Plane, plan: ServerPlan, counters: MetricCells<typeof SERVER_METRICS>, group: WorkerGroup) {
    this.#plane = plane;
    this.#counters = counters;
    const { layout, reactor, post } = plane.platform;
    this.#packetAt = layout.reserve(limits.SERVER_ENDPOINT.datagramBytesMax);
    this.#addressAt = layout.reserve(SOCKADDR_SLOT_BYTES);
    this.#chunkAt = layout.reserve(limits.STREAM_CHUNK_BYTES);
    this.#log = new SampledLog(plane, group.workers);
    const count = (metric: ServerMetric, amount = 1) => this.#add(metric, amount);
    this.#handshakes = new HandshakeWatch({ plane, log: this.#log, count });
    this.#rules = new ServerRules(plane, plan);
    this.#worker = group.worker;
    this.#cells = new WorkerCells(group.cells, group.worker);
    this.#link = openLink(reactor.libc, group, this.#cells, 0);
    this.#endpoint = createEndpoint(
      plane,
      plan,
      this,
      this.#rules,
      this,
      steeringOf(group, this.#cells, (...packet) => this.#handOver(...packet)),
    );
    this.#departures = createDepartures(plane, this.#endpoint, count);
    const sharing = { kind: "joins", program: steeringProgram(group.workers) } as const;
    this.#sockets = bindSockets(
      plane,
      plan,
      (...packet) => this.#onPacket(...packet),
      () => this.#endpoint.pathWritable(),
      sharing,
    );
    this.#inbox = new LinkInbox(reactor, this.#cells, [this.#link], () => this.#onRecord(), () => this.#resume());
    this.#end = new GracefulEnd(plane, () => !this.#endpoint.isDelivering, () => this.#finish());
    reactor.onTurnEnd((nowMs) => this.#endTurn(nowMs));
    this.#endpoint.accept(this.#rules.profile);
    post({ type: "ready", addresses: [] });
  }

  #onPacket(socket: UdpSocket, offset: number, length: number, from: number, isHandedOver = false): void {
    this.#packet = { socket: this.#sockets.indexOf(socket), offset, length, isHandedOver };
    this.#endpoint.handlePacket(socket, offset, length, from);
  }

  #handOver(worker: number, socket: PacketPath, offset: number, length: number, from: number): boolean {
    const { bytes } = this.#plane.platform.engine.arena;
    const record = packetRecord(bytes, this.#sockets.findIndex((one) => one === socket), offset, length, from);
    return this.#link.offer(RecordKind.packet, 0, worker, record, 0, record.length);
  }

  // Who may come in is asked of worker 0, with the packet: it comes back with a ticket, and nothing is kept meanwhile.

  addressOf(slot: number): Uint8Array {
    return socketAddressBytes(this.#plane.platform.engine.arena, slot);
  }

  admit(slot: number): boolean | "later" {
    if (this.#ticket !== 0) return true;
    const { bytes } = this.#plane.platform.engine.arena;
    const { socket, offset, length, isHandedOver } = this.#packet;
    const record = packetRecord(bytes, socket, offset, length, slot);
    const client = clientOf(record);
    // The second packet of a client's first flight goes after the first, and is not another client.
    const isSecond = !isHandedOver && this.#asked.has(client);
    if (isSecond) this.#link.offer(RecordKind.packet, 0, this.#worker, record, 0, record.length);
    else this.#link.offer(RecordKind.admission, 0, 0, record, 0, record.length);
    if (this.#asked.size < limits.LINK_ASKED_MAX) this.#asked.add(client);
    return "later";
  }

  /** A packet came back with its ticket. */
  #onAdmitted(): void {
    const ticket = this.#link.reader.argument;
    this.#ticket = ticket;
    this.#onHandedOver();
    if (this.#ticket !== 0) this.#link.send(RecordKind.release, 0, ticket);
    this.#ticket = 0;
  }

  /** A packet came by another worker. */
  #onHandedOver(): void {
    const record = this.#link.copy();
    const { bytes } = this.#plane.platform.engine.arena;
    bytes.set(record.subarray(ASKED_AT.address, ASKED_AT.packet), this.#addressAt);
    bytes.set(record.subarray(ASKED_AT.packet), this.#packetAt);
    const socket = this.#sockets[record[ASKED_AT.socket] ?? -1];
    if (socket !== undefined) this.#onPacket(socket, this.#packetAt, record.length - ASKED_AT.packet, this.#addressAt, true);
  }

  onAccepted(connection: Connection | null): void {
    if (connection === null) return;
    this.#tickets.set(connection, this.#ticket);
    this.#ticket = 0;
  }

  onTokenRefused(why: RetryTokenProblem, slot: number): void {
    const from = socketAddressText(this.#plane.platform.engine.arena, slot);
    this.#log.warn("retry-token-refused", `Invalid retry token from ${from}: ${why}`, { from, why });
  }

  // What the connections say goes up.

  onEstablished(connection: Connection, nowMs: number): void {
    const { engine } = connection;
    const certificate = engine.peerCertificate();
    const protocol = engine.applicationProtocol();
    const isV2 = protocol === ALPN_V2;
    const { bytes } = this.#plane.platform.engine.arena;
    engine.peerAddress(this.#addressAt);
    const exported = isV2 && certificate === null
      ? engine.exportKey(PROOF_EXPORTER.label, new Uint8Array(0), PROOF_EXPORTER.lengthBytes)
      : null;
    const established: Established = {
      certificate,
      authorities: engine.peerAuthorities(),
      protocol,
      serverName: engine.serverName(),
      tls: engine.tlsDescription(),
      exported: exported === null ? null : [...exported],
      address: [...bytes.subarray(this.#addressAt, this.#addressAt + SOCKADDR_SLOT_BYTES)],
      datagramMax: engine.datagramMax(),
      streamsLeft: engine.streamsLeft(),
    };
    this.#carried.set(connection.id, {
      connection,
      streams: new CarriedStreams(this.#plane.platform.engine, this.#link, connection, this.#chunkAt),
      datagramMax: established.datagramMax,
      streamsTotal: established.streamsLeft,
      toldMs: nowMs,
    });
    this.#link.tell(RecordKind.established, connection.id, this.#tickets.get(connection) ?? 0, established);
    this.#tickets.delete(connection);
  }

  onDatagram(connection: Connection, offset: number, length: number): void {
    this.#link.offer(RecordKind.datagram, connection.id, 0, this.#plane.platform.engine.arena.bytes, offset, length);
  }

  onReadable(connection: Connection, stream: number): void {
    this.#carried.get(connection.id)?.streams.onReadable(stream);
  }

  onWritable(connection: Connection, stream: number): void {
    this.#carried.get(connection.id)?.streams.onWritable(stream);
  }

  onMigrated(connection: Connection): void {
    if (!connection.engine.peerAddress(this.#addressAt)) return;
    const { bytes } = this.#plane.platform.engine.arena;
    this.#link.send(RecordKind.migrated, connection.id, 0, bytes, this.#addressAt, SOCKADDR_SLOT_BYTES);
  }

  onHeard(connection: Connection, nowMs: number): void {
    const carried = this.#carried.get(connection.id);
    if (carried === undefined) return;
    const { engine } = connection;
    const datagramMax = engine.datagramMax();
    const streamsTotal = engine.streamsLeft() + carried.streams.opened;
    const isNews = datagramMax !== carried.datagramMax || streamsTotal !== carried.streamsTotal;
    if (!isNews && nowMs - carried.toldMs < limits.LINK_FACTS_MS) return;
    Object.assign(carried, { datagramMax, streamsTotal, toldMs: nowMs });
    const facts = { datagramMax, streamsOpened: streamsTotal, ...engine.stats() };
    for (const [i, name] of FACTS.entries()) this.#facts[i] = facts[name];
    this.#link.send(RecordKind.facts, connection.id, 0, new Uint8Array(this.#facts.buffer));
  }

  onClosed(connection: Connection, ending: Ending): void {
    const carried = this.#carried.get(connection.id);
    if (carried === undefined) {
      const ticket = this.#tickets.get(connection) ?? 0;
      this.#tickets.delete(connection);
      if (ticket !== 0) this.#link.send(RecordKind.release, 0, ticket);
      const count = (metric: ServerMetric) => this.#add(metric, 1);
      return noteRefusedConnection({ plane: this.#plane, log: this.#log, handshakes: this.#handshakes, count }, connection, ending);
    }
    this.#carried.delete(connection.id);
    this.#add("droppedPeerGone", this.#departures.forget(connection));
    carried.streams.passRests();
    this.#link.tell(RecordKind.closed, connection.id, 0, ending);
  }

  // What worker 0 says comes down.

  #onRecord(): void {
    const { reader } = this.#link;
    const { kind, argument } = reader;
    if (kind === RecordKind.admission) return this.#onAdmitted();
    if (kind === RecordKind.packet) return this.#onHandedOver();
    if (kind === RecordKind.accept) return this.#accept(argument === 1);
    const carried = this.#carried.get(reader.connection);
    // It is over, and worker 0 did not know when it wrote this.
    if (carried === undefined) return kind === RecordKind.datagram ? this.#add("droppedPeerGone", 1) : undefined;
    const { connection, streams } = carried;
    switch (kind & KIND_MASK) {
      case RecordKind.datagram:
        return this.#sendDatagram(carried, argument, reader.at, reader.length);
      case RecordKind.stream:
        return streams.handleStream(argument, this.#link.copy(), (kind & STREAM_BEGINS) !== 0, (kind & STREAM_ENDS) !== 0);
      case RecordKind.credit:
        return streams.handleCredit(argument, this.#link.word());
      case RecordKind.shutdownRead:
        return streams.handleShutdown(argument, "read", this.#link.word());
      case RecordKind.shutdownWrite:
        return streams.handleShutdown(argument, "write", this.#link.word());
      case RecordKind.keepAlive:
        carried.toldMs = -Infinity;
        connection.engine.keepAlive();
        return connection.touch();
      case RecordKind.close:
        return close(connection, this.#link.heard() as Close);
    }
  }

  #sendDatagram(carried: Carried, sender: number, ringAt: number, length: number): void {
    const { bytes } = this.#plane.platform.engine.arena;
    const at = this.#packetAt;
    bytes.set(this.#link.reader.bytes.subarray(ringAt, ringAt + length), at);
    // What the server says itself is not relayed.
    if (sender === 0) return this.#say(carried.connection, at, length);
    const sent = this.#departures.send(carried.connection, sender, at, length);
    if (sent === EngineError.bufferTooShort) return this.#add("droppedTooLarge", 1);
    // What waits is counted when it leaves, what was refused there.
    if (sent !== 0) return;
    this.#add("relayedDatagrams", 1);
    this.#add("relayedBytes", payloadBytes(bytes, at, length));
  }

  #say(connection: Connection, at: number, length: number): void {
    connection.engine.datagramSend(at, length);
    connection.touch();
  }

  #accept(isAccepting: boolean): void {
    this.#isAccepting = isAccepting;
    this.#endpoint.accept(isAccepting ? this.#rules.profile : null);
  }

  #resume(): void {
    if (!this.#link.hasRoomAgain()) return;
    for (const { streams } of this.#carried.values()) streams.resume();
  }

  #endTurn(nowMs: number): void {
    this.#endpoint.endTurn(nowMs);
    this.#cells.tell(this.#endpoint.size, this.#endpoint.handshakes);
    this.#inbox.flush();
    if (nowMs - this.#publishedMs < limits.PUBLISH_INTERVAL_MS) return;
    this.#publishedMs = nowMs;
    this.#asked.clear();
    publishTransport(this.#counters, this.#endpoint, this.#sockets);
    publishDepartures(this.#counters, this.#departures);
    this.#counters.cells[this.#counters.index.droppedRing] = this.#link.dropped;
  }

  onCommand(command: PlaneCommand): void {
    if (command.type !== "reload" || command.plan.role !== "server") return;
    const problem = this.#rules.replace(command.plan);
    if (problem === null && this.#isAccepting) this.#endpoint.accept(this.#rules.profile);
    this.#plane.answer(command.id, 0, problem);
  }

  /** Worker 0 has ended: what it said last is heard, and has its time to arrive. */
  stop(nowMs: number): void {
    this.#accept(false);
    while (this.#link.take(() => this.#onRecord()));
    this.#end.begin(nowMs, limits.DRAIN_MS);
  }

  dispose(): void {
    for (const socket of this.#sockets) socket.close();
  }

  #finish(): void {
    this.#endpoint.closeAll(CloseCode.shuttingDown, "server shutting down");
    this.#plane.finish();
  }

  #add(key: ServerMetric, amount: number): void {
    const { cells, index } = this.#counters;
    const at = index[key];
    cells[at] = (cells[at] ?? 0) + amount;
  }
}

function close(connection: Connection, { isApplication, code, reason }: Close): void {
  if (isApplication) return connection.close(code, reason);
  connection.engine.close(false, code, reason);
  connection.touch();
}

/** Which client a first packet is of: the beginning of its long header, the same in every packet of its first flight. */
function clientOf(record: Uint8Array): string {
  return String.fromCharCode(...record.subarray(ASKED_AT.packet + 1, ASKED_AT.packet + CLIENT_BYTES));
}
