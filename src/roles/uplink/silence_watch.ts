/**
 * Notices that the server falls silent amid what it was sending. When a NAT on the way gives us a new address, what the server
 * sends goes to the old one, and the server finds us again only when we say something (RFC 9000 §9.3): who merely receives would
 * wait for the next keepalive. So every burst that ends is followed by one word of ours.
 */
import { Timer } from "../../base/mod.ts";
import { SILENCE_MS } from "./limits.ts";

/** The part of the reactor that is needed here. */
interface Timers {
  setTimer(timer: Timer, atMs: number): void;
  cancelTimer(timer: Timer): void;
}

export class SilenceWatch {
  readonly #timers: Timers;
  readonly #timer: Timer;
  #heardMs = 0;
  #isWaiting = false;

  /** `ask` says something that the server answers. */
  constructor(timers: Timers, ask: () => void) {
    this.#timers = timers;
    this.#timer = new Timer((nowMs) => {
      const silentAtMs = this.#heardMs + SILENCE_MS;
      if (nowMs < silentAtMs) return timers.setTimer(this.#timer, silentAtMs);
      this.#isWaiting = false;
      ask();
    });
  }

  /** Something of use came from the server; an answer to us alone is not. */
  heard(nowMs: number): void {
    this.#heardMs = nowMs;
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    this.#timers.setTimer(this.#timer, nowMs + SILENCE_MS);
  }

  stop(): void {
    this.#isWaiting = false;
    this.#timers.cancelTimer(this.#timer);
  }
}
