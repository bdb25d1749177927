/**
 * How the window grows when congestion is to be avoided: CUBIC (RFC 9438). Fast at first, flat around the window at which packets
 * were lost, then ever faster; never slower than Reno would be.
 */

/** RFC 9438 §4.6, §4.1: what is left of a window after a loss, and how bold the curve is (segments per second cubed). */
export const CUBIC_BETA = 0.7;
const CUBIC_C = 0.4;
/** RFC 9438 §4.3: Reno's growth with this beta, in segments a round trip. */
const RENO_ALPHA = 3 * (1 - CUBIC_BETA) / (1 + CUBIC_BETA);
/** RFC 9438 §4.2: half a window a round trip at most. */
const TARGET_MAX = 1.5;

export class Cubic {
  /** The window before the last loss; 0 when there was none. */
  #mostBytes = 0;
  /** When the curve began, NaN while it has not; what was idle since then does not count. */
  #epochMs = NaN;
  #lastMs = 0;
  /** Where the curve is flat, in bytes, and after how many seconds. */
  #originBytes = 0;
  #flatAfterSeconds = 0;
  /** What Reno would have by now. */
  #renoBytes = 0;

  /** A loss at this window. Returns what is left of it. */
  reduce(windowBytes: number): number {
    // RFC 9438 §4.7: a window that did not come back to where it was gives way to newer flows.
    this.#mostBytes = windowBytes < this.#mostBytes ? windowBytes * (1 + CUBIC_BETA) / 2 : windowBytes;
    this.#epochMs = NaN;
    return windowBytes * CUBIC_BETA;
  }

  /** After a time-out (RFC 9438 §4.8), and when slow start ended by itself, the curve begins where the window is. */
  forget(): void {
    this.#mostBytes = 0;
    this.#epochMs = NaN;
  }

  /** The window was not used: that time is not the curve's. */
  pause(nowMs: number): void {
    this.#epochMs += nowMs - this.#lastMs;
    this.#lastMs = nowMs;
  }

  /** The window after an acknowledgement of so many bytes, in a round trip of `roundTripMs`. */
  grown(windowBytes: number, ackedBytes: number, segmentBytes: number, roundTripMs: number, nowMs: number): number {
    if (Number.isNaN(this.#epochMs)) this.#begin(windowBytes, segmentBytes, nowMs);
    this.#lastMs = nowMs;
    const alpha = this.#renoBytes < this.#mostBytes ? RENO_ALPHA : 1;
    this.#renoBytes += alpha * ackedBytes * segmentBytes / windowBytes;
    const seconds = (nowMs - this.#epochMs) / 1_000;
    if (this.#curve(seconds, segmentBytes) < this.#renoBytes) return Math.max(windowBytes, this.#renoBytes);
    const target = this.#curve(seconds + roundTripMs / 1_000, segmentBytes);
    const bounded = Math.min(Math.max(target, windowBytes), TARGET_MAX * windowBytes);
    return windowBytes + (bounded - windowBytes) * ackedBytes / windowBytes;
  }

  #begin(windowBytes: number, segmentBytes: number, nowMs: number): void {
    this.#epochMs = this.#lastMs = nowMs;
    this.#renoBytes = windowBytes;
    this.#originBytes = Math.max(this.#mostBytes, windowBytes);
    this.#flatAfterSeconds = Math.cbrt((this.#originBytes - windowBytes) / segmentBytes / CUBIC_C);
  }

  #curve(seconds: number, segmentBytes: number): number {
    return this.#originBytes + CUBIC_C * (seconds - this.#flatAfterSeconds) ** 3 * segmentBytes;
  }
}
