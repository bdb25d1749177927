/**
 * Where a relayed datagram goes from: straight into the connection's engine while that sends what it is given, else through a queue
 * of its sender's, so that what one peer sends does not hold up or drive out what others send to the same connection.
 *
 *   send ─► fewer than DATAGRAMS_AT_ONCE wait in the engine ─► the engine
 *       └─► it cannot send: the sender's queue ─► refill, as room comes, by deficit round robin ─► the engine
 */
import type { Backlog, Connection, Endpoint, Engine } from "../../core/quic/mod.ts";
import { EngineError } from "../../core/quic/mod.ts";
import { type FairQueue, FairQueues } from "../../core/sched/mod.ts";
import { ROUTED_ID_AT, routedIdLength } from "../../core/wire/mod.ts";
import type { ArenaLayout } from "../../io/mod.ts";
import * as limits from "./limits.ts";
import type { ServerMetric } from "./metrics.ts";
import type { Peer } from "./peer.ts";

export interface DeparturesOptions {
  readonly engine: Engine;
  readonly layout: ArenaLayout;
  readonly endpoint: Endpoint;
  readonly count: (metric: ServerMetric, amount: number) => void;
}

export class Departures {
  readonly queues = new FairQueues(limits.FAIR_QUEUES);
  /** Datagrams for which an engine had no room. */
  refused = 0;
  readonly #options: DeparturesOptions;
  readonly #packetAt: number;

  constructor(options: DeparturesOptions) {
    this.#options = options;
    this.#packetAt = options.layout.reserve(limits.SERVER_TRANSPORT.udpPayloadSendMaxBytes);
  }

  /** Sends a datagram of the arena. Returns 0; 1 when it waits; or the engine's error when it can never be sent. */
  send(from: Peer, to: Peer, offset: number, length: number): number {
    const { connection } = to;
    if (connection.backlog !== null) return this.#wait(from, to, offset, length);
    if (connection.queuedDatagrams >= limits.DATAGRAMS_AT_ONCE) {
      this.#options.endpoint.sendNow(connection);
      if (connection.queuedDatagrams > limits.DATAGRAMS_AHEAD) return this.#wait(from, to, offset, length);
    }
    const sent = connection.engine.datagramSend(offset, length);
    if (sent < 0) return sent;
    connection.queuedDatagrams++;
    connection.touch();
    return 0;
  }

  /** A peer is gone. Returns how many datagrams waited for it. */
  forget(peer: Peer): number {
    peer.connection.backlog = null;
    return peer.backlog?.queue.clear() ?? 0;
  }

  #wait(from: Peer, to: Peer, offset: number, length: number): number {
    const { connection } = to;
    const max = connection.engine.datagramMax();
    if (length > max) return max < 0 ? max : EngineError.bufferTooShort;
    to.backlog ??= new Backlogged(this, this.queues.create(), to.isV2);
    to.backlog.queue.push(from.id, this.#options.engine.arena.bytes, offset, length);
    connection.backlog = to.backlog;
    connection.touch();
    return 1;
  }

  /** For {@linkcode Backlogged}: the next one of a queue goes into the engine. Returns whether it is there. */
  sendNext(connection: Connection, queue: FairQueue, isV2: boolean): boolean {
    const { engine, count } = this.#options;
    const { bytes } = engine.arena;
    const length = queue.take(bytes, this.#packetAt);
    if (connection.engine.datagramSend(this.#packetAt, length) < 0) {
      // It fitted when it came: meanwhile the path takes less.
      count("droppedTooLarge", 1);
      return false;
    }
    count("relayedDatagrams", 1);
    count("relayedBytes", isV2 ? length - ROUTED_ID_AT - routedIdLength(bytes, this.#packetAt, length) : length);
    return true;
  }
}

/** What waits for one connection. */
export class Backlogged implements Backlog {
  readonly queue: FairQueue;
  readonly #departures: Departures;
  /** Its datagrams are ROUTED frames. */
  readonly #isV2: boolean;

  constructor(departures: Departures, queue: FairQueue, isV2: boolean) {
    this.#departures = departures;
    this.queue = queue;
    this.#isV2 = isV2;
  }

  refill(connection: Connection): void {
    let queued = connection.engine.datagramQueueLength();
    while (queued < limits.DATAGRAMS_AHEAD && !this.queue.isEmpty) {
      if (this.#departures.sendNext(connection, this.queue, this.#isV2)) queued++;
    }
    connection.queuedDatagrams = queued;
    if (this.queue.isEmpty) connection.backlog = null;
  }
}
