/**
 * All QUIC connections of one role: packets in, events to the handler, packets out.
 *
 *   handlePacket   finds the connection (or accepts one) and feeds the engine
 *   endTurn        lets the handler read what arrived, then writes what the connections have to send
 *
 * It reads no clock and opens no socket. Work is per connection that has something to do, never per connection that exists.
 */
import { Acceptor } from "./acceptor.ts";
import { Connection, endingOf, isMute, type PacketPath } from "./connection.ts";
import { type EndpointCounters, type EndpointOptions, zeroEndpointCounters } from "./endpoint_options.ts";
import type { Engine, EngineConnection, EngineProfile, ExpectedName } from "./engine.ts";
import { emptyLongHeader, firstPacketBytes, LOCAL_CID_BYTES, PacketType, readLongHeader } from "./header.ts";
import { LocalIds } from "./local_ids.ts";
import { Sending } from "./sending.ts";
import { isForeign } from "./steering.ts";

/** The shortest queue of received datagrams that an engine may have: who reads fewer at a time has missed none. */
const OVERFLOW_ROW = 256;

export class Endpoint {
  readonly counters: EndpointCounters = zeroEndpointCounters();
  readonly #options: EndpointOptions;
  readonly #engine: Engine;
  readonly #ids: LocalIds;
  readonly #acceptor: Acceptor;
  readonly #connections = new Set<Connection>();
  /** Those of them that we began. */
  readonly #dialled = new Set<Connection>();
  readonly #header = emptyLongHeader();
  readonly #sending: Sending;
  #attention: Connection[] = [];
  readonly #ready: number[] = [];
  #nextId: number;
  #handshakes = 0;
  readonly #touch = (connection: Connection) => this.#sending.add(connection);
  readonly #onTimer = (connection: Connection) => {
    connection.engine.onTimeout();
    this.#attend(connection);
  };

  readonly #onDeadline = (connection: Connection, nowMs: number) => {
    if (connection.isOver) return;
    if (connection.isEstablished) {
      this.#options.timers.setTimer(connection.deadline, this.#ids.rotate(connection, nowMs));
      return;
    }
    this.counters.handshakeTimeouts++;
    connection.close(0, "the handshake took too long");
  };

  constructor(options: EndpointOptions) {
    this.#options = options;
    this.#engine = options.engine;
    this.#nextId = 1 + (options.steering?.worker ?? 0);
    this.#ids = new LocalIds(options.entropy, options.resetHmac ?? null, options.rotation, options.steering);
    this.#sending = new Sending(options, (connection, nowMs) => this.#settle(connection, nowMs));
    const handshakes = () => this.handshakes;
    const connections = this.#connections;
    this.#acceptor = new Acceptor(options, this.counters, this.#ids, {
      get size() {
        return connections.size;
      },
      get handshakes() {
        return handshakes();
      },
      add: (engine, path, id) => this.#add(engine, true, path, id),
      replied: (path) => this.#sending.wrote(path),
    });
  }

  /** Live connections, handshaking ones included. */
  get size(): number {
    return this.#connections.size;
  }

  /** Of these, handshaking ones. */
  get handshakes(): number {
    return this.#handshakes;
  }

  get connections(): ReadonlySet<Connection> {
    return this.#connections;
  }

  /** Connection IDs of ours that packets may carry, and how many were issued by rotation. */
  get localIds(): { readonly size: number; readonly rotations: number } {
    return { size: this.#ids.table.size, rotations: this.#ids.rotations };
  }

  /** Accepts connections with `profile` from now on; null stops accepting. Live ones keep theirs. */
  accept(profile: EngineProfile | null): void {
    this.#acceptor.profile = profile;
  }

  /** Dials. Null when the engine refuses (its error is in the profile's material). */
  connect(path: PacketPath, profile: EngineProfile, expected: ExpectedName, peerAddress: number): Connection | null {
    const id = this.#ids.table.issue();
    const engine = this.#engine.connect(profile, expected, id, path.localAddress, peerAddress);
    if (engine === null) return null;
    // Dialling may happen before the first turn, which must not sleep then.
    this.#options.timers.again();
    const connection = this.#add(engine, false, path, id);
    connection.address.set(this.#engine.arena.view, peerAddress);
    this.#dialled.add(connection);
    return connection;
  }

  /** Step 2: takes in one UDP payload at `offset` of the arena, from the sockaddr in the slot `fromAddress`. */
  handlePacket(path: PacketPath, offset: number, length: number, fromAddress: number): void {
    const { view } = this.#engine.arena;
    const { steering } = this.#options;
    if (steering !== undefined && isForeign(steering, this.counters, view, path, offset, length, fromAddress)) return;
    let connection: Connection | undefined;
    if (length > LOCAL_CID_BYTES && (view.getUint8(offset) & 0x80) === 0) {
      connection = this.#fromShortHeader(path, offset, length, fromAddress);
    } else {
      connection = this.#fromLongHeader(path, offset, length, fromAddress);
    }
    if (connection === undefined) return;
    if (!connection.address.matches(view, fromAddress)) connection.watchesPath = true;
    if (connection.path !== path) this.#sending.sawPath(connection, path);
    this.#receive(connection, path, offset, length, fromAddress);
    if (!connection.needsAttention) this.#attend(connection);
  }

  /** Hands the packets of a payload over one by one: behind one that it has no use for, the engine looks at nothing more. */
  #receive(connection: Connection, path: PacketPath, offset: number, length: number, fromAddress: number): void {
    const { view } = this.#engine.arena;
    for (let at = offset, end = offset + length; at < end;) {
      const bytes = firstPacketBytes(view, at, end - at, this.#header);
      if (connection.engine.recv(at, bytes, fromAddress, path.localAddress) < 0) {
        this.counters.undecryptable++;
        return;
      }
      at += bytes;
    }
  }

  /** Steps 3 to 8 for everything that this turn touched: the handler reads, then packets leave. */
  endTurn(nowMs: number): void {
    // What the handler does may concern other connections, which join the list behind.
    for (let i = 0; i < this.#attention.length; i++) this.#process(this.#attention[i] as Connection, nowMs);
    this.#attention.length = 0;
    this.#sending.flush(nowMs);
  }

  /** Writes what a connection has to send before the turn ends: who gives it much at once need not hold it all. */
  sendNow(connection: Connection): void {
    this.#sending.sendNow(connection);
  }

  /** A path that had no room has some again. */
  pathWritable(): void {
    this.#options.timers.again();
  }

  /** Whether something that was sent on streams that are over has not arrived yet. */
  get isDelivering(): boolean {
    for (const connection of this.#connections) if (connection.isDelivering) return true;
    return false;
  }

  /** Closes every connection with an application code; they end by themselves after draining. */
  closeAll(code: number, reason: string): void {
    for (const connection of this.#connections) connection.close(code, reason);
  }

  #fromShortHeader(path: PacketPath, offset: number, length: number, fromAddress: number): Connection | undefined {
    const { view } = this.#engine.arena;
    const { table } = this.#ids;
    const key = table.keyAt(view, offset + 1);
    let connection = table.find(key);
    if (connection !== undefined && connection !== null && connection.currentId !== key) {
      // The peer changed over to another ID, or this is a late packet: what it has retired meanwhile is not its any more.
      this.#ids.reap(connection);
      connection = table.find(key);
      if (connection !== undefined && connection !== null) connection.currentId = key;
    }
    if (connection === null) this.counters.retiredId++;
    if (connection !== undefined) return connection ?? undefined;
    // A stateless reset carries no ID: only who dialled that address can recognise it (RFC 9000 §10.3.1).
    const dialled = this.#dialledTo(fromAddress);
    if (dialled === undefined) this.#acceptor.onUnknown(path, offset, length, fromAddress);
    return dialled;
  }

  #dialledTo(address: number): Connection | undefined {
    const { view } = this.#engine.arena;
    for (const connection of this.#dialled) if (connection.address.matches(view, address)) return connection;
    return undefined;
  }

  #fromLongHeader(path: PacketPath, offset: number, length: number, fromAddress: number): Connection | undefined {
    const { arena } = this.#engine;
    const header = this.#header;
    const { table } = this.#ids;
    const type = readLongHeader(arena.view, offset, length, header);
    if (type === PacketType.otherVersion && !this.#acceptor.onOtherVersion(path, header, length, fromAddress)) {
      this.counters.otherVersion++;
    }
    if (type < PacketType.initial || type > PacketType.retry) {
      if (type !== PacketType.otherVersion) this.counters.malformed++;
      return undefined;
    }
    if (header.destinationLength === LOCAL_CID_BYTES) {
      const known = table.find(table.keyAt(arena.view, header.destinationOffset));
      if (known !== undefined) return known ?? undefined;
    }
    const known = table.findInitial(arena.bytes, header.destinationOffset, header.destinationLength);
    if (known !== undefined) return known;
    if (type === PacketType.initial) return this.#acceptor.onInitial(path, header, length, fromAddress);
    this.counters.unknownConnection++;
    return undefined;
  }

  #add(engine: EngineConnection, isServerSide: boolean, path: PacketPath, id: Uint8Array): Connection {
    const rotation = this.#ids.rotationOf(id);
    const number = this.#nextId;
    this.#nextId += this.#options.steering?.workers ?? 1;
    const connection = new Connection(number, {
      engine,
      isServerSide,
      path,
      rotation,
      onTimer: this.#onTimer,
      onDeadline: this.#onDeadline,
      touch: this.#touch,
    });
    this.#ids.table.enter(id, connection);
    this.#connections.add(connection);
    this.#handshakes++;
    const { accepting, timers } = this.#options;
    if (isServerSide && accepting !== undefined) timers.setTimer(connection.deadline, timers.nowMs + accepting.handshakeMs);
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
    connection.heardMs = nowMs;
    if (!connection.isEstablished && engine.isEstablished()) {
      connection.isEstablished = true;
      connection.establishedMs = nowMs;
      this.#handshakes--;
      this.#options.timers.setTimer(connection.deadline, this.#ids.start(connection, nowMs));
      handler.onEstablished(connection, nowMs);
    }
    if (connection.watchesPath) this.#readPathEvents(connection, nowMs);
    const isEnding = engine.isClosed() || engine.isDraining();
    // What the peer said before it closed may have come with the close: it is heard first.
    if (connection.isEstablished && !connection.isClosing) this.#readDatagrams(connection, nowMs, isEnding);
    if (isEnding) {
      this.#end(connection, nowMs);
      return;
    }
    if (!connection.isEstablished || connection.isClosing) return;
    // First all names, then the work: a stream that is read in part is named again at once.
    const ready = this.#ready;
    for (let stream = engine.streamReadableNext(); stream >= 0; stream = engine.streamReadableNext()) ready.push(stream);
    for (let i = 0; i < ready.length && !connection.isClosing; i++) handler.onReadable(connection, ready[i] as number, nowMs);
    ready.length = 0;
    if (connection.isClosing) return;
    for (let stream = engine.streamWritableNext(); stream >= 0; stream = engine.streamWritableNext()) {
      handler.onWritable(connection, stream, nowMs);
    }
    handler.onHeard?.(connection, nowMs);
  }

  /** After a packet from elsewhere: tells the handler once the engine has validated that path and moved there. */
  #readPathEvents(connection: Connection, nowMs: number): void {
    const { engine } = connection;
    for (let event = engine.pathEvent(); event !== null; event = engine.pathEvent()) {
      if (event.kind !== "migrated") continue;
      const { peer } = event;
      connection.address.set(new DataView(peer.buffer, peer.byteOffset, peer.byteLength), 0);
      connection.watchesPath = false;
      this.counters.migrations++;
      if (connection.isEstablished) this.#options.handler.onMigrated?.(connection, nowMs);
    }
  }

  /** Those that wait in the engine, whose queue is bounded; without `all` no more than its share before the others have theirs. */
  #readDatagrams(connection: Connection, nowMs: number, all: boolean): void {
    const { datagramAt, limits, handler } = this.#options;
    for (let i = 0; all || i < limits.datagramsPerTurn; i++) {
      if (connection.isClosing) return;
      const length = connection.engine.datagramRecv(datagramAt, limits.datagramBytesMax);
      if (length < 0) {
        if (connection.datagramsInRow >= OVERFLOW_ROW) this.#countOverflow(connection);
        connection.datagramsInRow = 0;
        return;
      }
      connection.datagramsInRow++;
      connection.datagramsRead++;
      handler.onDatagram(connection, datagramAt, length, nowMs);
    }
    this.#attend(connection);
  }

  /** So many came in a row that the engine's queue may have been full: then the oldest are missing. */
  #countOverflow(connection: Connection): void {
    const lost = connection.engine.stats().datagramsReceived - connection.datagramsRead;
    this.counters.datagramsOverflowed += lost - connection.datagramsLost;
    connection.datagramsLost = lost;
  }

  /** After a connection has sent: is it over, and when must it be looked at again? */
  #settle(connection: Connection, nowMs: number): void {
    const { engine } = connection;
    if (engine.isClosed() || isMute(connection)) {
      this.#end(connection, nowMs);
      this.#free(connection);
      return;
    }
    // The close that we asked for has left: from now on it is nobody's peer, though the engine still answers for a while.
    if (connection.isClosing && engine.isDraining()) this.#end(connection, nowMs);
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
    this.#dialled.delete(connection);
    this.#options.timers.cancelTimer(connection.timer);
    this.#options.timers.cancelTimer(connection.deadline);
    if (connection.initialKey !== null) this.#ids.table.removeInitial(connection.initialKey);
    this.#ids.release(connection);
    connection.isFreed = true;
    connection.engine.free();
  }
}
