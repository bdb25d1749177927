/**
 * When slow start ends before packets are lost: HyStart++ (RFC 9406). A round trip that takes clearly longer than the one before
 * says that a queue fills; then the window grows cautiously for some rounds, and if the delay stays, slow start is over.
 *
 *     eager ── round trips grow ──► cautious ── five rounds ──► over
 *       ▲                              │
 *       └───── they shrink again ◄─────┘
 *
 * There are no timestamps, so the times at which some segments of each round left are kept here; what was sent twice is not timed.
 */
import { distance, isBefore } from "./sequence.ts";

/** RFC 9406 §4.3. */
const THRESHOLD_MIN_MS = 4, THRESHOLD_MAX_MS = 16, THRESHOLD_DIVISOR = 8;
const SAMPLES_MIN = 8;
const CAUTIOUS_GROWTH_DIVISOR = 4, CAUTIOUS_ROUNDS = 5;
/** Segments that are timed at once; of each window so many. */
const TIMED_MAX = 32, TIMED_PER_WINDOW = 16;

export class SlowStart {
  readonly #sequences = new Int32Array(TIMED_MAX);
  readonly #sentMs = new Float64Array(TIMED_MAX);
  #head = 0;
  #count = 0;
  #roundEnd = 0;
  #hasRound = false;
  #roundMs = Infinity;
  #previousRoundMs = Infinity;
  #samples = 0;
  #baselineMs = Infinity;
  /** Rounds that were cautious; below zero while slow start is eager. */
  #cautiousRounds = -1;

  /** New data up to `end` left, of a window of `windowBytes`. */
  onSent(end: number, nowMs: number, windowBytes: number): void {
    if (this.#count === TIMED_MAX) return;
    const newest = this.#sequences[(this.#head + this.#count - 1) % TIMED_MAX] ?? 0;
    if (this.#count > 0 && distance(newest, end) < windowBytes / TIMED_PER_WINDOW) return;
    const at = (this.#head + this.#count++) % TIMED_MAX;
    this.#sequences[at] = end;
    this.#sentMs[at] = nowMs;
  }

  /** Everything before `una` was acknowledged, `next` is what will be sent next. Returns whether slow start is over. */
  onAcked(una: number, next: number, nowMs: number): boolean {
    if (!this.#hasRound) this.#beginRound(next);
    while (this.#count > 0 && !isBefore(una, this.#sequences[this.#head] ?? 0)) {
      this.#sample(nowMs - (this.#sentMs[this.#head] ?? nowMs));
      this.#head = (this.#head + 1) % TIMED_MAX;
      this.#count--;
    }
    if (isBefore(una, this.#roundEnd)) return false;
    if (this.#cautiousRounds >= 0 && ++this.#cautiousRounds >= CAUTIOUS_ROUNDS) return true;
    this.#previousRoundMs = this.#roundMs;
    this.#roundMs = Infinity;
    this.#samples = 0;
    this.#hasRound = false;
    // When acknowledgements come all at once nothing is on the way now: then the round begins with what is sent next.
    if (una !== next) this.#beginRound(next);
    return false;
  }

  /** By how much the window grows for so many acknowledged bytes. */
  growthOf(ackedBytes: number): number {
    return this.#cautiousRounds >= 0 ? ackedBytes / CAUTIOUS_GROWTH_DIVISOR : ackedBytes;
  }

  /** Something is sent again, or the next slow start is another one. */
  clear(): void {
    this.#count = 0;
    this.#hasRound = false;
    this.#roundMs = this.#previousRoundMs = this.#baselineMs = Infinity;
    this.#samples = 0;
    this.#cautiousRounds = -1;
  }

  #beginRound(next: number): void {
    this.#hasRound = true;
    this.#roundEnd = next;
  }

  #sample(roundTripMs: number): void {
    this.#roundMs = Math.min(this.#roundMs, roundTripMs);
    if (++this.#samples < SAMPLES_MIN || this.#previousRoundMs === Infinity) return;
    if (this.#cautiousRounds >= 0) {
      if (this.#roundMs < this.#baselineMs) {
        this.#cautiousRounds = -1;
        this.#baselineMs = Infinity;
      }
      return;
    }
    const thresholdMs = Math.max(THRESHOLD_MIN_MS, Math.min(this.#previousRoundMs / THRESHOLD_DIVISOR, THRESHOLD_MAX_MS));
    if (this.#roundMs < this.#previousRoundMs + thresholdMs) return;
    this.#baselineMs = this.#roundMs;
    this.#cautiousRounds = 0;
  }
}
