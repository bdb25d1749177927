/**
 * How packets of a network stack leave at the end of a turn, on either side of the tunnel: in short rows, so that the queue of the
 * connection stays short and losses are seen soon, and not more in one turn than leaves the others theirs.
 */
import { Timer } from "../../base/mod.ts";
import type { NetStack, PacketPath, UdpFlow } from "../../core/netstack/mod.ts";
import type { Connection } from "../../core/quic/mod.ts";
import type { Reactor } from "../../io/mod.ts";
import { PACKETS_PER_FLUSH, PACKETS_PER_TURN } from "./limits.ts";

/** `Links`: whatever says which packets go by a connection. */
export interface PacketPumpOptions<Links> {
  readonly stack: NetStack;
  readonly reactor: Pick<Reactor, "setTimer" | "cancelTimer" | "again">;
  /** Lets the connection's packets leave now. */
  readonly flush: (nowMs: number) => void;
  /** Queues up to `most` packets on the connection and returns how many. */
  readonly queueSome: (connection: Connection, links: Links, most: number, nowMs: number) => number;
}

/** Neither a path nor a flow: the interface of this machine, and what goes to the other end of a direct path behind the server. */
export const GUEST_SENDER = -1, DETOUR_SENDER = -2;

/** Who sends, among those who share a connection: all sessions of a path together, for they can be held back, and each flow for itself. */
export function senderOfPath(path: PacketPath): number {
  return 2 * path.id;
}

export function senderOfFlow(flow: UdpFlow): number {
  return 2 * flow.id + 1;
}

export class PacketPump<Links> {
  readonly #options: PacketPumpOptions<Links>;
  readonly #timer: Timer;

  constructor(options: PacketPumpOptions<Links>) {
    this.#options = options;
    this.#timer = new Timer((nowMs) => options.stack.handleTimeout(nowMs));
  }

  /** Gives packets to the connection as long as it sends them on. What is left then has another turn. */
  pump(connection: Connection, links: Links, nowMs: number): void {
    const { queueSome, flush, reactor } = this.#options;
    for (let left = PACKETS_PER_TURN; left > 0;) {
      const queued = queueSome(connection, links, Math.min(left, PACKETS_PER_FLUSH), nowMs);
      if (queued === 0) return;
      connection.touch();
      flush(nowMs);
      if (connection.isOver) return;
      left -= queued;
    }
    reactor.again();
  }

  /** Behind everything that a turn does with the stack: has it called when it wants to be. */
  endTurn(): void {
    const { stack, reactor } = this.#options;
    const nextMs = stack.nextTimeoutMs();
    if (nextMs === this.#timer.deadlineMs) return;
    if (nextMs === Infinity) reactor.cancelTimer(this.#timer);
    else reactor.setTimer(this.#timer, nextMs);
  }
}
