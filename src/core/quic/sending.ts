/**
 * Step 8 of a packet's way: the connections of an endpoint that have something to send, and the sockets that it leaves by.
 *
 *   add ─► in rounds (deficit round robin over bytes): refill from the backlog ─► engine writes a packet ─► the path's train ─► flush
 *
 * In a round each connection sends as much as any other, so that one with much to send does not hold up the packet of one with little.
 */
import type { Connection, PacketPath } from "./connection.ts";
import type { EndpointOptions } from "./endpoint_options.ts";
import { PeerAddress } from "./peer_address.ts";

/** What a connection sends before the others have had as much: what fits in one GSO train. */
const ROUND_BYTES = 64 * 1024;

export class Sending {
  readonly #options: EndpointOptions;
  /** After a connection has sent all that it could, or all that it may in this turn. */
  readonly #onSent: (connection: Connection, nowMs: number) => void;
  #unsent: Connection[] = [];
  #spare: Connection[] = [];
  /** Every socket that packets came over. */
  readonly #paths: PacketPath[] = [];
  /** Those that hold packets although none of the connections in the list sends by them. */
  readonly #written: PacketPath[] = [];
  readonly #sentFrom = new PeerAddress();

  constructor(options: EndpointOptions, onSent: (connection: Connection, nowMs: number) => void) {
    this.#options = options;
    this.#onSent = onSent;
  }

  /** A connection may have something to send. To be called once until it has. */
  add(connection: Connection): void {
    connection.needsFlush = true;
    this.#unsent.push(connection);
  }

  /** Somebody else wrote a packet. */
  wrote(path: PacketPath): void {
    if (!this.#written.includes(path)) this.#written.push(path);
  }

  /** Packets of a connection may come over several of our sockets; which one it sends from is the engine's choice. */
  sawPath(connection: Connection, path: PacketPath): void {
    connection.hasOtherPath = true;
    for (const one of [connection.path, path]) if (!this.#paths.includes(one)) this.#paths.push(one);
  }

  /** Writes one connection's packets at once. They leave with the others, at the end of the turn or when the socket's memory is full. */
  sendNow(connection: Connection): void {
    if (connection.isFreed || connection.isOver || connection.isClosing) return;
    connection.touch();
    const { credit } = connection;
    connection.credit = ROUND_BYTES;
    this.#write(connection);
    connection.credit = credit;
  }

  /** At the end of a turn: everything leaves. */
  flush(nowMs: number): void {
    if (this.#unsent.length > 0) this.#flushConnections(nowMs);
    if (this.#written.length === 0) return;
    for (const path of this.#written) path.flush();
    this.#written.length = 0;
  }

  #flushConnections(nowMs: number): void {
    const due = this.#unsent;
    this.#unsent = this.#spare;
    this.#spare = due;
    const { limits, timers } = this.#options;
    for (let left = due.length, roundsBytes = ROUND_BYTES; left > 0; roundsBytes += ROUND_BYTES) {
      let more = 0;
      for (let i = 0; i < left; i++) {
        const connection = due[i] as Connection;
        if (connection.isFreed) continue;
        connection.needsFlush = false;
        connection.credit += ROUND_BYTES;
        if (!this.#write(connection)) {
          connection.credit = 0;
        } else if (roundsBytes < limits.bytesPerTurn) {
          connection.needsFlush = true;
          due[i] = due[more] as Connection;
          due[more++] = connection;
          continue;
        } else {
          connection.touch();
          timers.again();
        }
        this.#onSent(connection, nowMs);
      }
      left = more;
    }
    for (const connection of due) connection.path.flush();
    due.length = 0;
  }

  /** Writes what a connection has to send, as far as its credit goes. Returns whether it went no further. */
  #write(connection: Connection): boolean {
    const { engine } = connection;
    const { packetBytesMax } = this.#options.limits;
    const to = this.#options.engine.sendTo;
    let hasMore = true;
    while (connection.credit > 0) {
      const { path } = connection;
      const at = path.room(packetBytesMax);
      if (at < 0) {
        connection.touch();
        hasMore = false;
        break;
      }
      connection.backlog?.refill(connection);
      const length = engine.send(at, packetBytesMax);
      if (length <= 0) {
        hasMore = false;
        break;
      }
      if (connection.hasOtherPath && this.#leavesElsewhere(connection)) this.#sendElsewhere(connection, at, length);
      else path.commit(length, to);
      connection.credit -= length;
    }
    if (connection.queuedDatagrams > 0) connection.queuedDatagrams = engine.datagramQueueLength();
    return hasMore;
  }

  #leavesElsewhere(connection: Connection): boolean {
    const { engine } = this.#options;
    this.#sentFrom.set(engine.arena.view, engine.sendFrom);
    return !this.#sentFrom.matches(engine.arena.view, connection.path.localAddress);
  }

  /** Moves a packet to the socket that the engine wrote it for; the next ones are written there. */
  #sendElsewhere(connection: Connection, at: number, length: number): void {
    const { arena, sendTo } = this.#options.engine;
    const path = this.#paths.find((one) => this.#sentFrom.matches(arena.view, one.localAddress));
    const room = path?.room(length) ?? -1;
    if (path === undefined || room < 0) return;
    arena.bytes.copyWithin(room, at, at + length);
    path.commit(length, sendTo);
    this.wrote(connection.path);
    connection.path = path;
  }
}
