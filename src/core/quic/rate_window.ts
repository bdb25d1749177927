/**
 * A bound on what is done for anybody who asks, before it is known who it is: so many in one second, the rest is left. Coarse on
 * purpose, since it must cost nothing under a flood.
 */
const WINDOW_MS = 1_000;

export class RateWindow {
  readonly #max: number;
  #sinceMs = -Infinity;
  #count = 0;

  constructor(perSecondMax: number) {
    this.#max = perSecondMax;
  }

  take(nowMs: number): boolean {
    if (nowMs - this.#sinceMs >= WINDOW_MS) {
      this.#sinceMs = nowMs;
      this.#count = 0;
    }
    if (this.#count >= this.#max) return false;
    this.#count++;
    return true;
  }
}
