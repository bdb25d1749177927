/**
 * Tells the operator that packets are lost for want of room in a queue: once, with what is too slow, and not again while it goes on.
 * Every loss stands in the metrics.
 */
import type { LogFields } from "../../base/mod.ts";
import { QUEUE_WARNING_MS } from "./limits.ts";

/** Where a warning goes. */
type Warn = (event: "datagram-dropped", message: string, fields: LogFields) => void;

/** Which queue it was, and what its being full means. */
const MEANINGS = {
  send: "a connection is slower than they come",
  receive: "they come faster than they are read",
  registration: "the server has not registered their service yet",
} as const;

export class QueueWarning {
  readonly #warn: Warn;
  #lastMs = -Infinity;

  constructor(warn: Warn) {
    this.#warn = warn;
  }

  /** So many packets found no room in a queue of `max`; `reason` is that of the role's counter of dropped datagrams. */
  lost(queue: keyof typeof MEANINGS, reason: string, count: number, max: number, nowMs: number): void {
    if (count === 0) return;
    const isFirst = nowMs - this.#lastMs >= QUEUE_WARNING_MS;
    this.#lastMs = nowMs;
    if (!isFirst) return;
    this.#warn("datagram-dropped", `Packets are dropped: ${MEANINGS[queue]}; further ones are only counted`, {
      reason,
      queue_max: max,
    });
  }
}
