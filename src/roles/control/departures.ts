/**
 * Where a datagram goes from: straight into its connection's engine while that sends what it is given, else through a queue of its
 * sender's, so that what one sends does not hold up or drive out what others send by the same connection. What is too much goes from
 * the front: of packets that come late the newest are worth most.
 *
 *   send ─► fewer than `atOnce` wait in the engine ─► the engine
 *       └─► it cannot send: the sender's queue ─► refill, as room comes, by deficit round robin ─► the engine
 */
import { type Backlog, type Connection, type Engine, EngineError } from "../../core/quic/mod.ts";
import { type FairQueue, type FairQueueLimits, FairQueues } from "../../core/sched/mod.ts";
import type { ArenaLayout } from "../../io/mod.ts";

export interface DepartureLimits {
  /** Datagrams that a connection is given before it sends: about what leaves as one train. */
  readonly atOnce: number;
  /** While it cannot send all that it is given: so many are in the engine's queue, where the first to come is the first to go. */
  readonly ahead: number;
  /** The largest datagram. */
  readonly bytesMax: number;
  readonly queues: FairQueueLimits;
}

export interface DeparturesOptions {
  readonly engine: Engine;
  readonly layout: ArenaLayout;
  readonly limits: DepartureLimits;
  /** Writes what the connection has to send now, as far as it may. */
  readonly sendNow: (connection: Connection) => void;
  /** One that waited lies in the engine now, and for a moment at `offset` of the arena. */
  readonly onLeft: (offset: number, length: number) => void;
  /** One that waited fitted when it came: meanwhile the path takes less. */
  readonly onTooLarge: () => void;
}

export class Departures {
  readonly queues: FairQueues;
  /** Datagrams for which an engine had no room. */
  refused = 0;
  readonly #options: DeparturesOptions;
  readonly #packetAt: number;
  /** Kept while its connection is there: it is asked for when the connection begins to wait. */
  readonly #backlogs = new Map<Connection, Waiting>();

  constructor(options: DeparturesOptions) {
    const { layout, limits } = options;
    this.#options = options;
    this.queues = new FairQueues(limits.queues);
    this.#packetAt = layout.reserve(limits.bytesMax);
  }

  /** How many were dropped for want of room. */
  get lost(): number {
    const { senderFull, memoryFull } = this.queues.counters;
    return senderFull + memoryFull + this.refused;
  }

  /** Sends a datagram of the arena. Returns 0; 1 when it waits; or the engine's error when it can never be sent. */
  send(connection: Connection, sender: number, offset: number, length: number): number {
    const { limits, sendNow } = this.#options;
    if (connection.backlog !== null) return this.#wait(connection, sender, offset, length);
    if (connection.queuedDatagrams >= limits.atOnce) {
      sendNow(connection);
      if (connection.queuedDatagrams > limits.ahead) return this.#wait(connection, sender, offset, length);
    }
    const sent = connection.engine.datagramSend(offset, length);
    if (sent < 0) {
      if (sent !== EngineError.bufferTooShort) this.refused++;
      return sent;
    }
    connection.queuedDatagrams++;
    connection.touch();
    return 0;
  }

  /** How many of a sender's datagrams wait for the connection. */
  waitingOf(connection: Connection, sender: number): number {
    return connection.backlog === null ? 0 : this.#backlogs.get(connection)?.queue.waitingOf(sender) ?? 0;
  }

  /** A connection is gone. Returns how many datagrams waited for it. */
  forget(connection: Connection): number {
    if (!(connection.backlog instanceof FarBacklog)) connection.backlog = null;
    const waiting = this.#backlogs.get(connection);
    if (waiting === undefined) return 0;
    this.#backlogs.delete(connection);
    return waiting.queue.clear();
  }

  #wait(connection: Connection, sender: number, offset: number, length: number): number {
    if (connection.backlog instanceof FarBacklog) return connection.backlog.send(sender, offset, length);
    const max = connection.engine.datagramMax();
    if (length > max) return max < 0 ? max : EngineError.bufferTooShort;
    let waiting = this.#backlogs.get(connection);
    if (waiting === undefined) {
      waiting = new Waiting(this, this.queues.create(), this.#options.limits.ahead);
      this.#backlogs.set(connection, waiting);
    }
    waiting.queue.push(sender, this.#options.engine.arena.bytes, offset, length);
    connection.backlog = waiting;
    connection.touch();
    return 1;
  }

  /** For {@linkcode Waiting}: the next one of a queue goes into the engine. Returns whether it is there. */
  sendNext(connection: Connection, queue: FairQueue): boolean {
    const { engine, onLeft, onTooLarge } = this.#options;
    const length = queue.take(engine.arena.bytes, this.#packetAt);
    if (connection.engine.datagramSend(this.#packetAt, length) < 0) {
      onTooLarge();
      return false;
    }
    onLeft(this.#packetAt, length);
    return true;
  }
}

/** Of a connection that another worker carries: everything goes there at once, and waits there if it must. */
export class FarBacklog implements Backlog {
  /** As {@linkcode Departures.send}. */
  readonly send: (sender: number, offset: number, length: number) => number;

  constructor(send: (sender: number, offset: number, length: number) => number) {
    this.send = send;
  }

  refill(): void {}
}

/** What waits for one connection. */
class Waiting implements Backlog {
  readonly queue: FairQueue;
  readonly #departures: Departures;
  readonly #ahead: number;

  constructor(departures: Departures, queue: FairQueue, ahead: number) {
    this.#departures = departures;
    this.queue = queue;
    this.#ahead = ahead;
  }

  refill(connection: Connection): void {
    let queued = connection.engine.datagramQueueLength();
    while (queued < this.#ahead && !this.queue.isEmpty) {
      if (this.#departures.sendNext(connection, this.queue)) queued++;
    }
    connection.queuedDatagrams = queued;
    if (this.queue.isEmpty) connection.backlog = null;
  }
}
