/**
 * Exponential backoff with full jitter. It grows with each {@linkcode Backoff.next} and starts again only when the caller
 * saw real success ({@linkcode Backoff.reset}), never merely because an attempt began.
 */
export interface BackoffLimits {
  readonly firstMs: number;
  readonly maxMs: number;
}

export class Backoff {
  #attempt = 0;
  readonly #limits: BackoffLimits;

  constructor(limits: BackoffLimits) {
    this.#limits = limits;
  }

  /** How many delays were given since the last reset. */
  get attempts(): number {
    return this.#attempt;
  }

  /** The next delay in milliseconds, between half and all of the current step. `random` is in [0, 1). */
  next(random: number): number {
    const step = Math.min(this.#limits.maxMs, this.#limits.firstMs * 2 ** Math.min(this.#attempt, 30));
    this.#attempt++;
    return Math.round(step / 2 + random * step / 2);
  }

  reset(): void {
    this.#attempt = 0;
  }
}
