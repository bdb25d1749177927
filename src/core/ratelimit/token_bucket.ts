/**
 * So many per second on average, and a burst at once. The arithmetic is in whole thousandths of a token, so that nothing is
 * lost to rounding however often it is asked. `nowMs` is a clock that does not go back; if it does, no time has passed.
 */

import { assert } from "../../base/mod.ts";

export interface Rate {
  /** A whole number, at least 1. */
  readonly perSecond: number;
  /** What may be taken at once after a pause; a whole number, at least 1. */
  readonly burst: number;
}

export class TokenBucket {
  #rate: Rate;
  #milliTokens: number;
  #atMs: number;

  /** A new bucket is full. */
  constructor(rate: Rate, nowMs: number) {
    assertRate(rate);
    this.#rate = rate;
    this.#milliTokens = rate.burst * 1000;
    this.#atMs = Math.floor(nowMs);
  }

  /** Takes `count` tokens if there are so many, else none. A count above the burst is never granted. */
  take(count: number, nowMs: number): boolean {
    if (!this.has(count, nowMs)) return false;
    this.spend(count);
    return true;
  }

  /** Whether {@linkcode take} would grant `count`. */
  has(count: number, nowMs: number): boolean {
    this.#refill(nowMs);
    return this.#milliTokens >= count * 1000;
  }

  /** Whole tokens that are there. */
  available(nowMs: number): number {
    this.#refill(nowMs);
    return Math.floor(this.#milliTokens / 1000);
  }

  /** Takes `count` tokens that {@linkcode has} just found to be there. */
  spend(count: number): void {
    this.#milliTokens -= count * 1000;
    assert(this.#milliTokens >= 0, "tokens were spent that were not there");
  }

  /** Milliseconds until `count` tokens will be there; Infinity when they never will. */
  waitMs(count: number, nowMs: number): number {
    if (count > this.#rate.burst) return Infinity;
    this.#refill(nowMs);
    return Math.max(0, Math.ceil((count * 1000 - this.#milliTokens) / this.#rate.perSecond));
  }

  /** Whether forgetting the bucket would change nothing. */
  isFull(nowMs: number): boolean {
    this.#refill(nowMs);
    return this.#milliTokens === this.#rate.burst * 1000;
  }

  /** Changes the rate; what was saved up is kept, up to the new burst. */
  setRate(rate: Rate, nowMs: number): void {
    assertRate(rate);
    this.#refill(nowMs);
    this.#rate = rate;
    this.#milliTokens = Math.min(this.#milliTokens, rate.burst * 1000);
  }

  #refill(nowMs: number): void {
    const elapsedMs = Math.floor(nowMs) - this.#atMs;
    if (elapsedMs <= 0) return;
    this.#atMs += elapsedMs;
    // One token per second is one thousandth per millisecond.
    this.#milliTokens = Math.min(this.#rate.burst * 1000, this.#milliTokens + elapsedMs * this.#rate.perSecond);
  }
}

function assertRate(rate: Rate): void {
  const isWhole = Number.isSafeInteger(rate.perSecond) && Number.isSafeInteger(rate.burst * 1000);
  assert(isWhole && rate.perSecond >= 1 && rate.burst >= 1, "a rate is not made of whole numbers from 1");
}
