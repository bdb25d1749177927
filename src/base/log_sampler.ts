/**
 * Keeps a flood of one event from hiding the others, and from costing more than the flood itself: a token bucket for each event name,
 * asked where the record arises and once more where all isolates' records meet.
 */
import type { LogEvent, LogLevel } from "./log.ts";

export interface SamplingLimits {
  /** Records of one event that may come at once. */
  readonly burst: number;
  /** Records of one event a second, after the burst. */
  readonly perSecond: number;
}

export const DEFAULT_SAMPLING: SamplingLimits = { burst: 200, perSecond: 20 };

interface Bucket {
  tokens: number;
  filledMs: number;
}

export class LogSampler {
  readonly #limits: SamplingLimits;
  /** At most one entry for each name of the closed set of events. */
  readonly #buckets = new Map<LogEvent, Bucket>();

  constructor(limits: SamplingLimits = DEFAULT_SAMPLING) {
    this.#limits = limits;
  }

  /** Whether the record may be written. The last words of a process always may. */
  admits(event: LogEvent, level: LogLevel, nowMs: number): boolean {
    if (level === "fatal") return true;
    const bucket = this.#bucket(event, nowMs);
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }

  /** Whether the event may speak now. */
  hasRoom(event: LogEvent, nowMs: number): boolean {
    return this.#bucket(event, nowMs).tokens >= 1;
  }

  #bucket(event: LogEvent, nowMs: number): Bucket {
    const { burst, perSecond } = this.#limits;
    const bucket = this.#buckets.get(event);
    if (bucket === undefined) {
      const fresh = { tokens: burst, filledMs: nowMs };
      this.#buckets.set(event, fresh);
      return fresh;
    }
    const elapsedMs = Math.max(0, nowMs - bucket.filledMs);
    bucket.tokens = Math.min(burst, bucket.tokens + elapsedMs * perSecond / 1000);
    bucket.filledMs = nowMs;
    return bucket;
  }
}
