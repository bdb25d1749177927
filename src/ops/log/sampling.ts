/**
 * Keeps a flood of one event from hiding the others: a token bucket for each event name, and a count of what was left out, which
 * is handed out as soon as the event may speak again (or when {@linkcode LogSampler.takeDropped} is called by the clock).
 */
import type { LogEvent, LogLevel } from "../../base/mod.ts";

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
  dropped: number;
}

/** What was left out of one event since the last report. */
export interface DroppedCount {
  readonly event: LogEvent;
  readonly count: number;
}

export class LogSampler {
  readonly #limits: SamplingLimits;
  /** At most one entry for each name of the closed set of events. */
  readonly #buckets = new Map<LogEvent, Bucket>();

  constructor(limits: SamplingLimits) {
    this.#limits = limits;
  }

  /** Whether the record may be written. The last words of a process always may. */
  admits(event: LogEvent, level: LogLevel, nowMs: number): boolean {
    if (level === "fatal") return true;
    const bucket = this.#bucket(event, nowMs);
    if (bucket.tokens < 1) {
      bucket.dropped++;
      return false;
    }
    bucket.tokens--;
    return true;
  }

  /** The counts since the last call, for events that may be reported now: one token is there again, or `force` is set. */
  takeDropped(nowMs: number, force: boolean): DroppedCount[] {
    const counts: DroppedCount[] = [];
    for (const [event, bucket] of this.#buckets) {
      if (bucket.dropped === 0) continue;
      if (!force && this.#bucket(event, nowMs).tokens < 1) continue;
      counts.push({ event, count: bucket.dropped });
      bucket.dropped = 0;
    }
    return counts;
  }

  #bucket(event: LogEvent, nowMs: number): Bucket {
    const { burst, perSecond } = this.#limits;
    const bucket = this.#buckets.get(event);
    if (bucket === undefined) {
      const fresh = { tokens: burst, filledMs: nowMs, dropped: 0 };
      this.#buckets.set(event, fresh);
      return fresh;
    }
    const elapsedMs = Math.max(0, nowMs - bucket.filledMs);
    bucket.tokens = Math.min(burst, bucket.tokens + elapsedMs * perSecond / 1000);
    bucket.filledMs = nowMs;
    return bucket;
  }
}
