/**
 * Tells when the machine has slept: the clock of the day went on meanwhile, the one that timers use did not. A clock that was set
 * forward looks the same, which does no harm: all that follows is a question to the server.
 */
import { Timer } from "../../base/mod.ts";
import { SLEEP_MS, WAKE_LOOK_MS } from "./limits.ts";

/** The part of the reactor that is needed here. */
interface Timers {
  readonly clockMs: number;
  setTimer(timer: Timer, atMs: number): void;
  cancelTimer(timer: Timer): void;
}

export class WakeWatch {
  readonly #timers: Timers;
  readonly #timer: Timer;

  /** `wallClockMs` is the clock of the day. */
  constructor(timers: Timers, wallClockMs: () => number, onWake: (sleptMs: number, nowMs: number) => void) {
    this.#timers = timers;
    const ahead = () => wallClockMs() - timers.clockMs;
    let before = ahead();
    this.#timer = new Timer((nowMs) => {
      const now = ahead(), sleptMs = now - before;
      before = now;
      timers.setTimer(this.#timer, nowMs + WAKE_LOOK_MS);
      if (sleptMs >= SLEEP_MS) onWake(sleptMs, nowMs);
    });
    timers.setTimer(this.#timer, timers.clockMs + WAKE_LOOK_MS);
  }

  stop(): void {
    this.#timers.cancelTimer(this.#timer);
  }
}
