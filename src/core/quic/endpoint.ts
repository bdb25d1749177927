/**
 * All QUIC connections of one role: packets in, events to the handler, packets out.
 *
 *   handlePacket   finds the connection (or accepts one) and feeds the engine
 *   endTurn        lets the handler read what arrived, then writes what the connections have to send
 *
 * It reads no clock and opens no socket. Work is per connection that has something to do, never per connection that exists.
 */
import type { Engine, EngineConnection, EngineProfile, ExpectedName } from "./engine.ts";
import { CidTable } from "./cid_table.ts";
import { Connection, type Ending, type PacketPath } from "./connection.ts";
import { emptyLongHeader, INITIAL_BYTES_MIN, LOCAL_CID_BYTES, PacketType, readLongHeader } from "./header.ts";
import type { Timer } from "../../base/mod.ts";

/** What the role does with its connections. Offsets are valid during the call. */
export interface EndpointHandler {
  onEstablished(connection: Connection, nowMs: number): void;
  onDatagram(connection: Connection, offset: number, length: number, nowMs: number): void;
  onReadable(connection: Connection, stream: number, nowMs: number): void;
  onWritable(connection: Connection, stream: number, nowMs: number): void;
  /** Called once, also for connections that were never established. The engine's state is still readable. */
  onClosed(connection: Connection, ending: Ending, nowMs: number): void;
}

/** Where deadlines are kept; the reactor is one. */
export interface TimerService {
  setTimer(timer: Timer, deadlineMs: number): void;
  cancelTimer(timer: Timer): void;
  /** Asks for another turn at once. */
  again(): void;
}

export interface EndpointLimits {
  readonly connectionsMax: number;
  /** Connections whose handshake has not ended. */
  readonly handshakesMax: number;
  readonly packetBytesMax: number;
  readonly datagramBytesMax: number;
  /** Datagrams handed over, and bytes sent, per connection and turn: then the others have theirs. */
  readonly datagramsPerTurn: number;
  readonly bytesPerTurn: number;
}

/** Why a packet went nowhere. The role maps these to its counters. */
export interface EndpointCounters {
  malformed: number;
  unknownConnection: number;
  shortInitial: number;
  overConnectionLimit: number;
  overHandshakeLimit: number;
  undecryptable: number;
  versionNegotiations: number;
  accepted: number;
}

export interface EndpointOptions {
  readonly engine: Engine;
  readonly timers: TimerService;
  readonly entropy: (bytes: Uint8Array) => void;
  readonly handler: EndpointHandler;
  readonly limits: EndpointLimits;
  /** Offset of `datagramBytesMax` bytes for received datagrams. */
  readonly datagramAt: number;
}

export class Endpoint {
  readonly counters: EndpointCounters = {
    malformed: 0,
    unknownConnection: 0,
    shortInitial: 0,
    overConnectionLimit: 0,
    overHandshakeLimit: 0,
    undecryptable: 0,
    versionNegotiations: 0,
    accepted: 0,
  };
  readonly #options: EndpointOptions;
  readonly #engine: Engine;
  readonly #ids: CidTable<Connection>;
  readonly #connections = new Set<Connection>();
  readonly #header = emptyLongHeader();
  #attention: Connection[] = [];
  #unsent: Connection[] = [];
  #spare: Connection[] = [];
  readonly #ready: number[] = [];
  #nextId = 1;
  #handshakes = 0;
  /** What incoming connections are accepted with; null: none are. */
  #acceptProfile: EngineProfile | null = null;
  readonly #touch = (connection: Connection) => {
    connection.needsFlush = true;
    this.#unsent.push(connection);
  };
  readonly #onTimer = (connection: Connection) => {
    connection.engine.onTimeout();
    this.#attend(connection);
  };

  constructor(options: EndpointOptions) {
    this.#options = options;
    this.#engine = options.engine;
    this.#ids = new CidTable(options.entropy);
  }

  /** Live connections, handshaking ones included. */
  get size(): number {
    return this.#connections.size;
  }

  get connections(): ReadonlySet<Connection> {
    return this.#connections;
  }

  /** Accepts connections with `profile` from now on; null stops accepting. Live ones keep theirs. */
  accept(profile: EngineProfile | null): void {
    this.#acceptProfile = profile;
  }

  /** Dials. Null when the engine refuses (its error is in the profile's material). */
  connect(path: PacketPath, profile: EngineProfile, expected: ExpectedName, peerAddress: number): Connection | null {
    const id = this.#ids.issue();
    const engine = this.#engine.connect(profile, expected, id, path.localAddress, peerAddress);
    if (engine === null) return null;
    // Dialling may happen before the first turn, which must not sleep then.
    this.#options.timers.again();
    return this.#add(engine, false, path, id);
  }

  /** Step 2: takes in one UDP payload at `offset` of the arena, from the sockaddr in the slot `fromAddress`. */
  handlePacket(path: PacketPath, offset: number, length: number, fromAddress: number): void {
    const { view } = this.#engine.arena;
    let connection: Connection | undefined;
    if (length > LOCAL_CID_BYTES && (view.getUint8(offset) & 0x80) === 0) {
      connection = this.#ids.find(view, offset + 1);
    } else {
      connection = this.#fromLongHeader(path, offset, length, fromAddress);
      if (connection === undefined) return;
    }
    if (connection === undefined) {
      this.counters.unknownConnection++;
      return;
    }
    if (connection.path !== path) connection.path = path;
    if (connection.engine.recv(offset, length, fromAddress, path.localAddress) < 0) this.counters.undecryptable++;
    if (!connection.needsAttention) this.#attend(connection);
  }

  /** Steps 3 to 8 for everything that this turn touched: the handler reads, then packets leave. */
  endTurn(nowMs: number): void {
    // What the handler does may concern other connections, which join the list behind.
    for (let i = 0; i < this.#attention.length; i++) this.#process(this.#attention[i] as Connection, nowMs);
    this.#attention.length = 0;
    if (this.#unsent.length > 0) this.#flushAll(nowMs);
  }

  /** A path that had no room has some again. */
  pathWritable(): void {
    this.#options.timers.again();
  }

  /** Closes every connection with an application code; they end by themselves after draining. */
  closeAll(code: number, reason: string): void {
    for (const connection of this.#connections) connection.close(code, reason);
  }

  #fromLongHeader(path: PacketPath, offset: number, length: number, fromAddress: number): Connection | undefined {
    const { arena } = this.#engine;
    const header = this.#header;
    const type = readLongHeader(arena.view, offset, length, header);
    if (type === PacketType.otherVersion) this.#negotiateVersion(path, length, fromAddress);
    if (type < PacketType.initial || type > PacketType.retry) {
      if (type !== PacketType.otherVersion) this.counters.malformed++;
      return undefined;
    }
    if (header.destinationLength === LOCAL_CID_BYTES) {
      const known = this.#ids.find(arena.view, header.destinationOffset);
      if (known !== undefined) return known;
    }
    const known = this.#ids.findInitial(arena.bytes, header.destinationOffset, header.destinationLength);
    if (known !== undefined) return known;
    if (type !== PacketType.initial || this.#acceptProfile === null) {
      this.counters.unknownConnection++;
      return undefined;
    }
    return this.#acceptInitial(this.#acceptProfile, path, length, fromAddress);
  }

  #acceptInitial(profile: EngineProfile, path: PacketPath, length: number, fromAddress: number): Connection | undefined {
    const { limits } = this.#options;
    const header = this.#header;
    if (length < INITIAL_BYTES_MIN || header.destinationLength < 8) {
      this.counters.shortInitial++;
      return undefined;
    }
    if (this.#connections.size >= limits.connectionsMax) {
      this.counters.overConnectionLimit++;
      return undefined;
    }
    if (this.#handshakes >= limits.handshakesMax) {
      this.counters.overHandshakeLimit++;
      return undefined;
    }
    const id = this.#ids.issue();
    const engine = this.#engine.accept(profile, id, null, path.localAddress, fromAddress);
    if (engine === null) {
      this.counters.malformed++;
      return undefined;
    }
    this.counters.accepted++;
    const connection = this.#add(engine, true, path, id);
    // A repeated first packet finds the same connection instead of making a second one.
    const { bytes } = this.#engine.arena;
    connection.initialKey = this.#ids.addInitial(bytes, header.destinationOffset, header.destinationLength, connection);
    return connection;
  }

  #negotiateVersion(path: PacketPath, length: number, fromAddress: number): void {
    const header = this.#header;
    // RFC 9000 §5.2.2, §6.1: only for packets long enough to have been a first one, and never more than was received.
    if (length < INITIAL_BYTES_MIN || this.#acceptProfile === null) return;
    const { bytes } = this.#engine.arena;
    const at = path.room(this.#options.limits.packetBytesMax);
    if (at < 0) return;
    const destination = bytes.slice(header.destinationOffset, header.destinationOffset + header.destinationLength);
    const source = bytes.slice(header.sourceOffset, header.sourceOffset + header.sourceLength);
    const written = this.#engine.writeVersionNegotiation(at, this.#options.limits.packetBytesMax, destination, source);
    if (written <= 0) return;
    path.commit(written, fromAddress);
    path.flush();
    this.counters.versionNegotiations++;
  }

  #add(engine: EngineConnection, isServerSide: boolean, path: PacketPath, id: Uint8Array): Connection {
    const connection = new Connection(this.#nextId++, engine, isServerSide, path, this.#onTimer, this.#touch);
    connection.localIds.push(id);
    this.#ids.enter(id, connection);
    this.#connections.add(connection);
    this.#handshakes++;
    this.#attend(connection);
    return connection;
  }

  #attend(connection: Connection): void {
    if (!connection.needsAttention) {
      connection.needsAttention = true;
      this.#attention.push(connection);
    }
    connection.touch();
  }

  #process(connection: Connection, nowMs: number): void {
    connection.needsAttention = false;
    const { engine } = connection;
    const { handler } = this.#options;
    if (connection.isOver) return;
    if (!connection.isEstablished && engine.isEstablished()) {
      connection.isEstablished = true;
      this.#handshakes--;
      handler.onEstablished(connection, nowMs);
    }
    if (engine.isClosed() || engine.isDraining()) {
      this.#end(connection, nowMs);
      return;
    }
    if (!connection.isEstablished) return;
    this.#readDatagrams(connection, nowMs);
    // First all names, then the work: a stream that is read in part is named again at once.
    const ready = this.#ready;
    for (let stream = engine.streamReadableNext(); stream >= 0; stream = engine.streamReadableNext()) ready.push(stream);
    for (let i = 0; i < ready.length; i++) handler.onReadable(connection, ready[i] as number, nowMs);
    ready.length = 0;
    for (let stream = engine.streamWritableNext(); stream >= 0; stream = engine.streamWritableNext()) {
      handler.onWritable(connection, stream, nowMs);
    }
  }

  #readDatagrams(connection: Connection, nowMs: number): void {
    const { datagramAt, limits, handler } = this.#options;
    for (let i = 0; i < limits.datagramsPerTurn; i++) {
      const length = connection.engine.datagramRecv(datagramAt, limits.datagramBytesMax);
      if (length < 0) return;
      handler.onDatagram(connection, datagramAt, length, nowMs);
    }
    this.#options.timers.again();
    this.#attend(connection);
  }

  #flushAll(nowMs: number): void {
    const due = this.#unsent;
    this.#unsent = this.#spare;
    this.#spare = due;
    for (const connection of due) {
      connection.needsFlush = false;
      this.#flush(connection, nowMs);
    }
    for (const connection of due) connection.path.flush();
    due.length = 0;
  }

  #flush(connection: Connection, nowMs: number): void {
    const { engine, path } = connection;
    const { packetBytesMax, bytesPerTurn } = this.#options.limits;
    const to = this.#engine.sendTo;
    for (let sent = 0;;) {
      const at = path.room(packetBytesMax);
      if (at < 0) {
        connection.touch();
        break;
      }
      const length = engine.send(at, packetBytesMax);
      if (length <= 0) break;
      path.commit(length, to);
      sent += length;
      if (sent >= bytesPerTurn) {
        connection.touch();
        this.#options.timers.again();
        break;
      }
    }
    if (engine.isClosed()) {
      this.#end(connection, nowMs);
      this.#free(connection);
      return;
    }
    const timeoutMs = engine.timeoutMs();
    if (timeoutMs < 0) this.#options.timers.cancelTimer(connection.timer);
    else this.#options.timers.setTimer(connection.timer, nowMs + timeoutMs);
  }

  /** Tells the handler once; the engine's state goes when it has drained. */
  #end(connection: Connection, nowMs: number): void {
    if (connection.isOver) return;
    connection.isOver = true;
    if (!connection.isEstablished) this.#handshakes--;
    this.#options.handler.onClosed(connection, endingOf(connection), nowMs);
  }

  #free(connection: Connection): void {
    if (!this.#connections.delete(connection)) return;
    this.#options.timers.cancelTimer(connection.timer);
    if (connection.initialKey !== null) this.#ids.removeInitial(connection.initialKey);
    for (const id of connection.localIds) this.#ids.remove(id);
    connection.isFreed = true;
    connection.engine.free();
  }
}

function endingOf(connection: Connection): Ending {
  const { engine } = connection;
  const fromPeer = engine.peerError();
  if (fromPeer !== null) return { by: "peer", info: fromPeer };
  const local = engine.localError();
  if (local !== null) return { by: connection.isEstablished ? "local" : "refused", info: local };
  return { by: "timeout", info: null };
}
