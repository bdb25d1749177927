/**
 * Connections of connectors whose place a newer connection of their identity took: is anybody still there? A process that was killed
 * and started again comes with a new connection while the old one seems to live until its idle time is over. So the old one is asked
 * for a sign of life.
 *
 *   replaced ──► asked ──sign of life──► there: closed behind its last stream; two that live are counted by the pool (WIRE 4.6)
 *                  └──silence──────────► gone: closed at once, so that its streams are told, and the replacement counts for nothing
 */
import { Timer } from "../../base/mod.ts";
import type { Registry } from "../../core/registry/mod.ts";
import { CloseCode } from "../../core/wire/mod.ts";
import type { Plane } from "../control/mod.ts";
import { REPLACED_ASK_MS, REPLACED_LOOK_MS, REPLACED_SILENCE_MS } from "./limits.ts";
import type { ServerMetric } from "./metrics.ts";
import type { Peer } from "./peer.ts";

export interface ReplacedConnectorsOptions {
  readonly plane: Plane;
  readonly registry: Registry;
  readonly peers: ReadonlyMap<number, Peer>;
  readonly count: (metric: ServerMetric) => void;
}

/** One that is asked. There are never more than connections. */
interface Asked {
  readonly peer: Peer;
  readonly heardBefore: number;
  readonly sinceMs: number;
  readonly timer: Timer;
  /** What it lost, and when. */
  readonly lost: { readonly service: string; readonly atMs: number }[];
  askedMs: number;
}

export class ReplacedConnectors {
  readonly #options: ReplacedConnectorsOptions;
  readonly #asked = new Map<number, Asked>();

  constructor(options: ReplacedConnectorsOptions) {
    this.#options = options;
  }

  /** A newer connection took the service from the one with this number. */
  replaced(id: number, service: string, nowMs: number): void {
    const peer = this.#options.peers.get(id);
    if (peer === undefined || peer.connection.isOver) return;
    let asked = this.#asked.get(id);
    if (asked === undefined) {
      const timer: Timer = new Timer((now) => this.#look(id, now));
      asked = { peer, heardBefore: heard(peer), sinceMs: nowMs, timer, lost: [], askedMs: nowMs };
      this.#asked.set(id, asked);
      ask(peer);
      this.#options.plane.platform.reactor.setTimer(timer, nowMs + REPLACED_LOOK_MS);
    }
    asked.lost.push({ service, atMs: nowMs });
  }

  /** A connection that serves nothing any more, because a newer one of its identity does, is closed behind its last stream. */
  closeIfIdle(id: number): void {
    const peer = this.#options.peers.get(id);
    if (peer !== undefined && peer.streams.size === 0 && !this.#asked.has(id)) this.#close(peer);
  }

  #look(id: number, nowMs: number): void {
    const asked = this.#asked.get(id);
    if (asked === undefined) return;
    const { peer, timer } = asked;
    if (peer.connection.isOver) {
      this.#asked.delete(id);
      return;
    }
    if (heard(peer) > asked.heardBefore) {
      this.#asked.delete(id);
      return this.closeIfIdle(id);
    }
    if (nowMs - asked.sinceMs >= REPLACED_SILENCE_MS) {
      this.#asked.delete(id);
      for (const { service, atMs } of asked.lost) this.#options.registry.forgiveReplacement(id, service, atMs);
      return this.#close(peer);
    }
    if (nowMs - asked.askedMs >= REPLACED_ASK_MS) {
      asked.askedMs = nowMs;
      ask(peer);
    }
    this.#options.plane.platform.reactor.setTimer(timer, nowMs + REPLACED_LOOK_MS);
  }

  #close(peer: Peer): void {
    const { registry, count } = this.#options;
    const { connection } = peer;
    if (connection.isOver || registry.roleOf(connection.id) !== "connector" || registry.servicesOf(connection.id).length > 0) {
      return;
    }
    count("closedReplaced");
    connection.close(CloseCode.replaced, "replaced by a newer connection of the same identity");
  }
}

/** Has the peer acknowledge something, if it is there. */
function ask({ connection }: Peer): void {
  connection.engine.keepAlive();
  connection.touch();
}

function heard({ connection }: Peer): number {
  return connection.engine.stats().packetsReceived;
}
