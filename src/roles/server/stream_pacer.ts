/**
 * Streams that wait because their agent's limits allow no more bytes at the moment. They are looked at together, in a ring: who got
 * something goes behind those who did not, so that a limit is shared.
 */
import { Timer } from "../../base/mod.ts";
import type { Reactor } from "../../io/mod.ts";
import { STREAM_PACE_MS } from "./limits.ts";

export interface PacedStream {
  /** Goes on as far as it may, and waits again if it has to. Returns whether it moved anything. */
  resumePaced(nowMs: number): boolean;
}

export class StreamPacer {
  readonly #reactor: Reactor;
  readonly #timer = new Timer((nowMs) => this.#look(nowMs));
  #waiting = new Set<PacedStream>();

  constructor(reactor: Reactor) {
    this.#reactor = reactor;
  }

  /** Lets a stream wait. Twice is once. */
  add(stream: PacedStream, nowMs: number): void {
    if (this.#waiting.size === 0) this.#reactor.setTimer(this.#timer, nowMs + STREAM_PACE_MS);
    this.#waiting.add(stream);
  }

  /** The stream is over. */
  remove(stream: PacedStream): void {
    this.#waiting.delete(stream);
  }

  #look(nowMs: number): void {
    const due = this.#waiting;
    this.#waiting = new Set();
    const served: PacedStream[] = [];
    for (const stream of due) {
      const hasMoved = stream.resumePaced(nowMs);
      if (hasMoved && this.#waiting.delete(stream)) served.push(stream);
    }
    for (const stream of served) this.#waiting.add(stream);
    if (this.#waiting.size > 0) this.#reactor.setTimer(this.#timer, nowMs + STREAM_PACE_MS);
  }
}
