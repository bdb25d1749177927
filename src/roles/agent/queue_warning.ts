/**
 * Tells the operator that packets are lost for want of room in a queue: once, with what to do, and not again while it goes on. Every loss
 * stands in the metrics.
 */
import type { LogFields } from "../../base/mod.ts";
import { QUEUE_WARNING_MS } from "./limits.ts";

/** Where a warning goes. */
type Warn = (event: "datagram-dropped", message: string, fields: LogFields) => void;

export class QueueWarning {
  readonly #warn: Warn;
  #lastMs = -Infinity;

  constructor(warn: Warn) {
    this.#warn = warn;
  }

  /** So many packets found no room in a queue of `max`; `reason` is that of `ztna_agent_datagrams_dropped_total`. */
  lost(reason: "queue" | "waiting", count: number, max: number, nowMs: number): void {
    if (count === 0) return;
    const isFirst = nowMs - this.#lastMs >= QUEUE_WARNING_MS;
    this.#lastMs = nowMs;
    if (!isFirst) return;
    const why = reason === "queue"
      ? "the connection to the server is slower than they come"
      : "the server has not registered their service yet";
    this.#warn("datagram-dropped", `Packets are dropped: ${why}; further ones are only counted`, { reason, queue_max: max });
  }
}
