/**
 * How long the peer's acknowledgement takes, and how long to wait for it before sending again: RFC 6298. One segment is timed
 * at a time, and none that was sent twice (Karn's algorithm, RFC 6298 §3).
 */
import type { NetStackLimits } from "./limits.ts";

export class RttEstimator {
  /** Smoothed round trip in milliseconds. */
  smoothedMs = 0;
  variationMs = 0;
  hasSample = false;
  /** Time-outs in a row without an acknowledgement. */
  backoff = 0;
  #baseMs: number;
  readonly #minMs: number;
  readonly #maxMs: number;

  constructor(limits: NetStackLimits) {
    this.#baseMs = limits.rtoInitialMs;
    this.#minMs = limits.rtoMinMs;
    this.#maxMs = limits.rtoMaxMs;
  }

  /** RFC 6298 §2.2, §2.3. The least is added to the round trip, not compared with it: the peer may delay its ACK so long. */
  sample(elapsedMs: number): void {
    const roundTripMs = Math.max(elapsedMs, 0);
    if (this.hasSample) {
      this.variationMs += (Math.abs(this.smoothedMs - roundTripMs) - this.variationMs) / 4;
      this.smoothedMs += (roundTripMs - this.smoothedMs) / 8;
    } else {
      this.hasSample = true;
      this.smoothedMs = roundTripMs;
      this.variationMs = roundTripMs / 2;
    }
    this.#baseMs = Math.min(this.smoothedMs + Math.max(this.#minMs, 4 * this.variationMs), this.#maxMs);
  }

  /** RFC 6298 §5.7: a handshake that timed out says that the first guess was too short. */
  handshakeTimedOut(): void {
    if (!this.hasSample) this.#baseMs = Math.min(3 * this.#baseMs, this.#maxMs);
  }

  /** The time-out now, doubled for each one in a row (RFC 6298 §5.5). */
  get timeoutMs(): number {
    return Math.min(this.#baseMs * 2 ** Math.min(this.backoff, 16), this.#maxMs);
  }
}
