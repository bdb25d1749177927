/**
 * The connections that other workers carry, as worker 0 sees them: records become calls of the same handler that its own connections
 * call, and admissions that were asked for are answered.
 */
import {
  CidRotation,
  Connection,
  type Ending,
  type EndpointHandler,
  type Engine,
  type PacketPath,
  type Steering,
} from "../../../core/quic/mod.ts";
import type { PeerLimiter } from "../../../core/ratelimit/mod.ts";
import { SOCKADDR_SLOT_BYTES } from "../../../io/mod.ts";
import { type Admission, FarBacklog, type Plane, WorkerCells, type WorkerGroup } from "../../control/mod.ts";
import { ROTATION, ROUTED_HEADROOM_BYTES, SERVER_ENDPOINT } from "../limits.ts";
import { LinkInbox, openLink, steeringOf } from "./group.ts";
import type { Link } from "./link.ts";
import {
  ASKED_AT,
  type Established,
  FACTS,
  type Facts,
  KIND_MASK,
  packetRecord,
  RecordKind,
  STREAM_BEGINS,
  STREAM_ENDS,
} from "./records.ts";
import { RemoteEngine } from "./remote_engine.ts";

/** The endpoint of this worker, by the numbers of its sockets. */
export interface OwnEndpoint {
  socketOf(path: PacketPath): number;
  handle(socket: number, offset: number, length: number, from: number): void;
}

interface Remote {
  readonly connection: Connection;
  readonly engine: RemoteEngine;
  readonly link: Link;
}

/** It leaves by another worker's sockets. */
const NO_PATH: PacketPath = { localAddress: 0, room: () => -1, commit: () => {}, flush: () => {} };

export class RemoteConnections {
  readonly steering: Steering;
  readonly #engine: Engine;
  readonly #plane: Plane;
  readonly #handler: EndpointHandler;
  readonly #admission: Admission;
  readonly #endpoint: OwnEndpoint;
  readonly #cells: WorkerCells;
  readonly #workers: number;
  readonly #links: Link[] = [];
  readonly #inbox: LinkInbox;
  readonly #remotes = new Map<number, Remote>();
  readonly #tickets = new Map<number, PeerLimiter>();
  readonly #datagramAt: number;
  readonly #addressAt: number;
  #nextTicket = 1;

  constructor(plane: Plane, group: WorkerGroup, handler: EndpointHandler, admission: Admission, endpoint: OwnEndpoint) {
    this.#plane = plane;
    this.#handler = handler;
    this.#admission = admission;
    this.#endpoint = endpoint;
    const { engine, layout, reactor } = plane.platform;
    this.#engine = engine;
    this.#workers = group.workers;
    this.#datagramAt = layout.reserve(ROUTED_HEADROOM_BYTES + SERVER_ENDPOINT.datagramBytesMax) + ROUTED_HEADROOM_BYTES;
    this.#addressAt = layout.reserve(SOCKADDR_SLOT_BYTES);
    this.#cells = new WorkerCells(group.cells, 0);
    this.steering = steeringOf(group, this.#cells, (...packet) => this.#handOver(...packet));
    for (let other = 1; other < group.workers; other++) this.#links.push(openLink(reactor.libc, group, this.#cells, other));
    this.#inbox = new LinkInbox(
      reactor,
      this.#cells,
      this.#links,
      (link) => this.#onRecord(link),
      () => this.#resume(),
    );
  }

  /** Datagrams that found a ring full. */
  get dropped(): number {
    return this.#links.reduce((sum, link) => sum + link.dropped, 0);
  }

  /** Handshakes of the other workers. */
  get handshakes(): number {
    let sum = 0;
    for (let worker = 1; worker < this.#workers; worker++) sum += this.#cells.handshakesOf(worker);
    return sum;
  }

  /** Whether something that was sent on streams that are over has not reached the worker that carries it. */
  get isDelivering(): boolean {
    for (const { connection } of this.#remotes.values()) if (connection.isDelivering) return true;
    return this.#links.some((link) => link.hasWaiting);
  }

  /** Has the others take no further connections. */
  refuse(): void {
    for (const link of this.#links) link.send(RecordKind.accept, 0, 0);
  }

  /** The turn is over: `connections` and `handshakes` are those of this worker. */
  endTurn(connections: number, handshakes: number): void {
    this.#cells.tell(connections, handshakes);
    this.#inbox.flush();
  }

  #onRecord(link: Link): void {
    const { reader } = link;
    const { nowMs } = this.#plane.platform.reactor;
    switch (reader.kind) {
      case RecordKind.admission:
        return this.#admit(link, nowMs);
      case RecordKind.packet:
        return this.#passOn(link);
      case RecordKind.release:
        return this.#release(reader.argument);
      case RecordKind.established:
        return this.#establish(link, nowMs);
    }
    const remote = this.#remotes.get(reader.connection);
    if (remote !== undefined) this.#onRemote(remote, link, nowMs);
  }

  #handOver(worker: number, socket: PacketPath, offset: number, length: number, from: number): boolean {
    const record = packetRecord(this.#engine.arena.bytes, this.#endpoint.socketOf(socket), offset, length, from);
    return this.#links[worker - 1]?.offer(RecordKind.packet, 0, worker, record, 0, record.length) ?? false;
  }

  /** A packet that the kernel gave to another worker: it is for this one, or for a third. */
  #passOn(link: Link): void {
    const record = link.copy();
    const worker = link.reader.argument;
    if (worker > 0) return void this.#links[worker - 1]?.offer(RecordKind.packet, 0, worker, record, 0, record.length);
    const { bytes } = this.#engine.arena;
    bytes.set(record.subarray(ASKED_AT.address, ASKED_AT.packet), this.#addressAt);
    bytes.set(record.subarray(ASKED_AT.packet), this.#datagramAt);
    this.#endpoint.handle(record[ASKED_AT.socket] ?? -1, this.#datagramAt, record.length - ASKED_AT.packet, this.#addressAt);
  }

  #admit(link: Link, nowMs: number): void {
    const record = link.copy();
    const { bytes } = this.#engine.arena;
    bytes.set(record.subarray(ASKED_AT.address, ASKED_AT.packet), this.#addressAt);
    const limiter = this.#admission.reserve(this.#addressAt, nowMs);
    if (limiter === null) return;
    const ticket = this.#nextTicket++;
    this.#tickets.set(ticket, limiter);
    link.send(RecordKind.admission, 0, ticket, record);
  }

  #release(ticket: number): void {
    const limiter = this.#tickets.get(ticket);
    if (limiter === undefined) return;
    this.#tickets.delete(ticket);
    this.#admission.limiter.release(limiter);
  }

  #establish(link: Link, nowMs: number): void {
    const { argument: ticket, connection: id } = link.reader;
    const established = link.heard() as Established;
    const engine = new RemoteEngine(this.#engine, link, id, established);
    const connection = new Connection(id, {
      engine,
      isServerSide: true,
      path: NO_PATH,
      rotation: new CidRotation(ROTATION, []),
      onTimer: () => {},
      onDeadline: () => {},
      touch: () => {},
    });
    connection.backlog = new FarBacklog((sender, offset, length) => engine.sendDatagramOf(sender, offset, length));
    engine.peerAddress(this.#addressAt);
    connection.address.set(this.#engine.arena.view, this.#addressAt);
    connection.isEstablished = true;
    connection.establishedMs = nowMs;
    connection.heardMs = nowMs;
    this.#remotes.set(id, { connection, engine, link });
    const limiter = this.#tickets.get(ticket);
    this.#tickets.delete(ticket);
    if (limiter !== undefined) this.#admission.adopt(connection, limiter);
    this.#handler.onEstablished(connection, nowMs);
  }

  #onRemote(remote: Remote, link: Link, nowMs: number): void {
    const { connection, engine } = remote;
    const { kind, argument, at, length } = link.reader;
    connection.heardMs = nowMs;
    switch (kind & KIND_MASK) {
      case RecordKind.datagram:
        if (connection.isClosing) return;
        this.#engine.arena.bytes.set(link.reader.bytes.subarray(at, at + length), this.#datagramAt);
        return this.#handler.onDatagram(connection, this.#datagramAt, length, nowMs);
      case RecordKind.stream: {
        const isNews = engine.streams.handleStream(argument, link.copy(), (kind & STREAM_BEGINS) !== 0, (kind & STREAM_ENDS) !== 0);
        return isNews ? this.#readable(remote, argument, nowMs) : undefined;
      }
      case RecordKind.reset:
        return engine.streams.handleReset(argument, link.word()) ? this.#readable(remote, argument, nowMs) : undefined;
      case RecordKind.stopped:
        return engine.streams.handleStopped(argument) ? this.#handler.onWritable(connection, argument, nowMs) : undefined;
      case RecordKind.credit:
        engine.streams.handleCredit(argument, link.word());
        return this.#writable(remote, nowMs);
      case RecordKind.gone:
        return engine.streams.handleGone(argument);
      case RecordKind.facts:
        return engine.handleFacts(factsOf(link.copy()));
      case RecordKind.migrated:
        return this.#migrated(remote, link.copy(), nowMs);
      case RecordKind.closed:
        return this.#closed(remote, link.heard() as Ending, nowMs);
    }
  }

  #readable({ connection }: Remote, stream: number, nowMs: number): void {
    if (!connection.isClosing) this.#handler.onReadable(connection, stream, nowMs);
  }

  #writable({ connection, engine }: Remote, nowMs: number): void {
    if (connection.isClosing) return;
    for (const stream of engine.streams.takeWritable()) this.#handler.onWritable(connection, stream, nowMs);
  }

  #migrated({ connection, engine }: Remote, address: Uint8Array, nowMs: number): void {
    engine.handleAddress(address);
    connection.address.set(new DataView(address.buffer, address.byteOffset, address.byteLength), 0);
    this.#handler.onMigrated?.(connection, nowMs);
  }

  #closed({ connection, engine }: Remote, ending: Ending, nowMs: number): void {
    this.#remotes.delete(connection.id);
    engine.handleClosed(ending);
    connection.isOver = true;
    this.#handler.onClosed(connection, ending, nowMs);
    connection.isFreed = true;
    engine.free();
  }

  #resume(): void {
    const { nowMs } = this.#plane.platform.reactor;
    for (const link of this.#links) {
      if (!link.hasRoomAgain()) continue;
      for (const remote of this.#remotes.values()) if (remote.link === link) this.#writable(remote, nowMs);
    }
  }
}

function factsOf(bytes: Uint8Array<ArrayBuffer>): Facts {
  const values = new Float64Array(bytes.buffer);
  return Object.fromEntries(FACTS.map((name, i) => [name, values[i] ?? 0])) as Facts;
}
