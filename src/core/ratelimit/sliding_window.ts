/**
 * At most `limit` events in any window of `windowMs`, exactly: the times of the last `limit` events in a ring. For limits of
 * up to some hundreds; a token bucket is smaller and cheaper where a burst may be followed by another soon.
 */

import { assert } from "../../base/mod.ts";

export class SlidingWindow {
  readonly #windowMs: number;
  readonly #times: Float64Array;
  #next = 0;

  constructor(limit: number, windowMs: number) {
    assert(Number.isSafeInteger(limit) && limit >= 1 && windowMs > 0, "a sliding window needs a limit and a length");
    this.#windowMs = windowMs;
    this.#times = new Float64Array(limit).fill(-Infinity);
  }

  /** Counts an event at `nowMs` if it is within the limit. Refused events do not count. */
  take(nowMs: number): boolean {
    if (this.waitMs(nowMs) > 0) return false;
    this.#times[this.#next] = nowMs;
    this.#next = (this.#next + 1) % this.#times.length;
    return true;
  }

  /** Milliseconds until the next event is within the limit. */
  waitMs(nowMs: number): number {
    const oldest = this.#times[this.#next] ?? -Infinity;
    return Math.max(0, oldest + this.#windowMs - nowMs);
  }

  /** Events in the window that ends at `nowMs`. */
  count(nowMs: number): number {
    let count = 0;
    for (const time of this.#times) if (time > nowMs - this.#windowMs) count++;
    return count;
  }

  /** Whether forgetting the window would change nothing. */
  isEmpty(nowMs: number): boolean {
    const latest = this.#times[(this.#next + this.#times.length - 1) % this.#times.length] ?? -Infinity;
    return latest <= nowMs - this.#windowMs;
  }
}
